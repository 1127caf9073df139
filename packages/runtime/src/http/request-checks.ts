// From JSON bodies to the fields of a call; query strings: query-checks.ts. Pure; where HTTP input is checked (P7).
//
// The input is anything that JSON can say; the outcome is fields in which every type and bound holds, or `INVALID_REQUEST`
// or `INVALID_ENTITY_ID` naming the place, what was wanted and what was found. What only a shard can judge (whether the
// aggregate exists, whether the payload fits its schema) is not looked at here.
//
// - Unknown fields are refused: `expectedseq` would otherwise switch a check off without a word.
// - Values that could not be stored as they are get refused: a key `__proto__` (the codec would rename it), half of a
//   surrogate pair (has no UTF-8 form), nesting beyond the bound. A key such as `constructor` is only data.
//
// Written by hand, as one loop over the fields that are there: `append-many` runs it for each of a thousand items.
import { type EntityId, entityIdProblem, HeddleError, limits, parseAnyEntityId } from "@heddle/kernel";
import type { Moment } from "@heddle/protocol";
import type { AppendFields, ExecuteFields, RestoreFields } from "@heddle/protocol/internal";
import {
  asObject,
  join,
  kindOfValue,
  place,
  readFlag,
  readId,
  readName,
  readSeq,
  readStorable,
  readText,
  readTime,
  refusal,
  unknownField,
} from "./check-values.ts";

/** `{ aggregate?, type, payload }` or `{ aggregate?, events }`, with `expectedSeq?`, `id?`, `metadata?`, `newLife?`. */
export function readAppend(body: unknown, entity: EntityId, idempotencyKey?: string): AppendFields {
  return readAppendFields(body, -1, entity, idempotencyKey);
}

/** `{ aggregate?, command, input, expectedSeq?, id?, metadata?, newLife? }`. */
export function readExecute(body: unknown, entity: EntityId, idempotencyKey?: string): ExecuteFields {
  const object = asObject(body, "");
  let aggregate = "";
  let command: string | undefined;
  let input: unknown;
  let expectedSeq: number | undefined;
  let id = idempotencyKey;
  let metadata: unknown;
  let newLife: boolean | undefined;
  for (const key in object) {
    const value = object[key];
    if (key === "aggregate") aggregate = readName(value, -1, key);
    else if (key === "command") command = readName(value, -1, key);
    else if (key === "input") input = readStorable(value, -1, key);
    else if (key === "expectedSeq") expectedSeq = readSeq(value, -1, key);
    else if (key === "id") id = readId(value, -1, idempotencyKey);
    else if (key === "metadata") metadata = readStorable(value, -1, key);
    else if (key === "newLife") newLife = readFlag(value, -1, key);
    else throw unknownField(key, -1, "aggregate, command, input, expectedSeq, id, metadata, newLife");
  }
  if (command === undefined) throw refusal("command", "missing; wanted the name of a command");
  if (input === undefined) throw refusal("input", "missing; write {} or null for a command that takes none");
  return { entity, aggregate, command, input, expectedSeq, id, metadata, newLife };
}

/** `{ items: [{ entity, … as in an append }] }`. One fault refuses the whole call, before anything is written. */
export function readAppendMany(body: unknown): AppendFields[] {
  const object = asObject(body, "");
  for (const key in object) if (key !== "items") throw unknownField(key, -1, "items");
  const { items } = object;
  if (!Array.isArray(items)) throw refusal("items", `wanted an array, found ${kindOfValue(items)}`);
  if (items.length > limits.appendManyItemsMax) {
    throw refusal("items", `${items.length} items in one call, at most ${limits.appendManyItemsMax} are allowed`);
  }
  const fields = new Array<AppendFields>(items.length);
  for (let i = 0; i < items.length; i++) fields[i] = readAppendFields(items[i], i, undefined, undefined);
  return fields;
}

/** `{ seq }` or `{ time }`, with `expectedSeq?` and `id?`. */
export function readRestore(body: unknown, entity: EntityId, idempotencyKey?: string): RestoreFields {
  const object = asObject(body, "");
  let expectedSeq: number | undefined;
  let id = idempotencyKey;
  for (const key in object) {
    if (key === "expectedSeq") expectedSeq = readSeq(object[key], -1, key);
    else if (key === "id") id = readId(object[key], -1, idempotencyKey);
    else if (key !== "seq" && key !== "time") throw unknownField(key, -1, "seq, time, expectedSeq, id");
  }
  const at = readMoment(object);
  if (at === undefined) throw refusal("seq", "missing; wanted seq or time");
  return { entity, at, expectedSeq, id };
}

/** `{ entity }`, the new entity's id, with `seq` or `time`; neither means all of the history. */
export function readFork(body: unknown): { readonly entity: EntityId; readonly at: Moment | undefined } {
  const object = asObject(body, "");
  for (const key in object) {
    if (key !== "entity" && key !== "seq" && key !== "time") throw unknownField(key, -1, "entity, seq, time");
  }
  if (object["entity"] === undefined) throw refusal("entity", "missing; wanted the id of the new entity, kind/name");
  return { entity: readItemEntity(object["entity"], -1), at: readMoment(object) };
}

function readMoment({ seq, time }: Record<string, unknown>): Moment | undefined {
  if (seq !== undefined && time !== undefined) throw refusal("time", "wanted either seq or time, found both");
  if (time !== undefined) return { time: readTime(time, "time") };
  return seq === undefined ? undefined : { seq: readSeq(seq, -1, "seq") };
}

/** The header of that name, which means the same as `id` in the body. */
export function readIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const id = String(header);
  if (!/^[\x20-\x7e]*$/.test(id)) throw refusal("Idempotency-Key", "wanted ASCII; write other ids as id in the body");
  return readText(id, -1, "Idempotency-Key", limits.appendIdBytesMax);
}

/** The kind and name of a path, decoded, as an entity id; also one of Heddle's own, which only readers may name. */
export function readEntity(kind: string, name: string): EntityId {
  return parseAnyEntityId(`${kind}/${name}`);
}

// `index` is the item's in a call of many, or -1; `given` is the entity when the path has named it.
function readAppendFields(
  body: unknown,
  index: number,
  given: EntityId | undefined,
  idempotencyKey: string | undefined,
): AppendFields {
  const object = asObject(body, index < 0 ? "" : `items.${index}`);
  let entity: string | undefined = given;
  let aggregate = "";
  let type: string | undefined;
  let payload: unknown;
  let events: AppendFields["events"] | undefined;
  let expectedSeq: number | undefined;
  let id = idempotencyKey;
  let metadata: unknown;
  let newLife: boolean | undefined;
  for (const key in object) {
    const value = object[key];
    if (key === "entity" && given === undefined) entity = readItemEntity(value, index);
    else if (key === "aggregate") aggregate = readName(value, index, key);
    else if (key === "type") type = readName(value, index, key);
    else if (key === "payload") payload = readStorable(value, index, key);
    else if (key === "events") events = readEventsAt(value, place(index, key));
    else if (key === "expectedSeq") expectedSeq = readSeq(value, index, key);
    else if (key === "id") id = readId(value, index, idempotencyKey);
    else if (key === "metadata") metadata = readStorable(value, index, key);
    else if (key === "newLife") newLife = readFlag(value, index, key);
    else throw unknownField(key, index, `${index < 0 ? "" : "entity, "}${appendFieldNames}`);
  }
  if (entity === undefined) throw refusal(place(index, "entity"), "missing; wanted kind/name");
  if (events === undefined) {
    if (type === undefined) throw refusal(place(index, "type"), "missing; wanted type and payload, or events");
    if (payload === undefined) throw refusal(place(index, "payload"), missingPayload);
    events = [{ type, payload }];
  } else if (type !== undefined || payload !== undefined) {
    throw refusal(place(index, "events"), "wanted either events, or type and payload; found both");
  }
  return { entity, aggregate, events, expectedSeq, id, metadata, newLife };
}

const appendFieldNames = "aggregate, type, payload, events, expectedSeq, id, metadata, newLife";
const missingPayload = "missing; write {} for an event that carries nothing";

/** `[{ type, payload }]`: what one append takes. */
export function readEventsAt(value: unknown, path: string): AppendFields["events"] {
  if (!Array.isArray(value)) throw refusal(path, `wanted an array, found ${kindOfValue(value)}`);
  if (value.length === 0) throw refusal(path, "wanted at least one event, found none");
  if (value.length > limits.appendEventsMax) {
    throw refusal(path, `${value.length} events in one append, at most ${limits.appendEventsMax} are allowed`);
  }
  return value.map((event: unknown, i) => readEvent(event, `${path}.${i}`));
}

function readEvent(value: unknown, path: string): AppendFields["events"][number] {
  const object = asObject(value, path);
  let type: string | undefined;
  let payload: unknown;
  for (const key in object) {
    if (key === "type") type = readText(object[key], -1, `${path}.type`, limits.nameBytesMax);
    else if (key === "payload") payload = readStorable(object[key], -1, `${path}.payload`);
    else throw refusal(join(path, key), "unknown; an event has type and payload");
  }
  if (type === undefined) throw refusal(`${path}.type`, "missing; wanted the name of an event");
  if (payload === undefined) throw refusal(`${path}.payload`, missingPayload);
  return { type, payload };
}

function readItemEntity(value: unknown, index: number): EntityId {
  return readEntityAt(value, place(index, "entity"));
}

export function readEntityAt(value: unknown, path: string): EntityId {
  const problem = entityIdProblem(value);
  if (problem === undefined) return value as EntityId;
  // The code says what is wrong, and the path is needed to find it among a thousand items.
  const found = `${path} = ${JSON.stringify(value)?.slice(0, 80)}`;
  throw new HeddleError("INVALID_ENTITY_ID", { found, problem });
}
