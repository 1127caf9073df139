// From JSON and query strings to the fields of a call. Pure; the one place where HTTP input is checked (P7).
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
// `refusal` is also how the rest of the HTTP side says `INVALID_REQUEST`.
import { type EntityId, entityIdProblem, HeddleError, limits, parseEntityId } from "@heddle/kernel";
import { utf8Length } from "@heddle/kernel/internal";
import {
  type AppendFields,
  type ExecuteFields,
  type GetFields,
  type HistoryFields,
  u48Max,
} from "@heddle/protocol/internal";

/** `{ aggregate?, type, payload }` or `{ aggregate?, events }`, both with `expectedSeq?`, `id?`, `metadata?`. */
export function readAppend(body: unknown, entity: EntityId, idempotencyKey?: string): AppendFields {
  return readAppendFields(body, -1, entity, idempotencyKey);
}

/** `{ aggregate?, command, input, expectedSeq?, id?, metadata? }`. */
export function readExecute(body: unknown, entity: EntityId, idempotencyKey?: string): ExecuteFields {
  const object = asObject(body, "");
  let aggregate = "";
  let command: string | undefined;
  let input: unknown;
  let expectedSeq: number | undefined;
  let id = idempotencyKey;
  let metadata: unknown;
  for (const key in object) {
    const value = object[key];
    if (key === "aggregate") aggregate = readName(value, -1, key);
    else if (key === "command") command = readName(value, -1, key);
    else if (key === "input") input = readStorable(value, -1, key);
    else if (key === "expectedSeq") expectedSeq = readSeq(value, -1, key);
    else if (key === "id") id = readId(value, -1, idempotencyKey);
    else if (key === "metadata") metadata = readStorable(value, -1, key);
    else throw unknownField(key, -1, "aggregate, command, input, expectedSeq, id, metadata");
  }
  if (command === undefined) throw refusal("command", "missing; wanted the name of a command");
  if (input === undefined) throw refusal("input", "missing; write {} or null for a command that takes none");
  return { entity, aggregate, command, input, expectedSeq, id, metadata };
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

export function readGet(query: unknown, entity: EntityId): GetFields {
  const { aggregate = "" } = readQuery(query, ["aggregate"]);
  return { entity, aggregate: aggregate === "" ? "" : readName(aggregate, -1, "aggregate") };
}

/** `limit` (default 100), `from` (inclusive), `direction` (`forward`, or `backward` from the newest), `aggregate`. */
export function readHistory(query: unknown, entity: EntityId): HistoryFields {
  const { aggregate = "", limit, from, direction = "forward" } = readQuery(query, historyParameters);
  if (direction !== "forward" && direction !== "backward") {
    throw refusal("direction", `wanted forward or backward, found ${JSON.stringify(direction)}`);
  }
  return {
    entity,
    aggregate: aggregate === "" ? "" : readName(aggregate, -1, "aggregate"),
    from: from === undefined ? 0 : readWhole(from, "from", 0, u48Max),
    limit: limit === undefined ? historyLimitDefault : readWhole(limit, "limit", 1, limits.historyEventsMax),
    direction,
  };
}

export const historyLimitDefault = 100;
const historyParameters = ["aggregate", "limit", "from", "direction"];

export function readExport(query: unknown): void {
  readQuery(query, []);
}

/** The header of that name, which means the same as `id` in the body. */
export function readIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const id = String(header);
  if (!/^[\x20-\x7e]*$/.test(id)) throw refusal("Idempotency-Key", "wanted ASCII; write other ids as id in the body");
  return readText(id, -1, "Idempotency-Key", limits.appendIdBytesMax);
}

/** The kind and name of a path, decoded, as an entity id. */
export function readEntity(kind: string, name: string): EntityId {
  return parseEntityId(`${kind}/${name}`);
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
  for (const key in object) {
    const value = object[key];
    if (key === "entity" && given === undefined) entity = readItemEntity(value, index);
    else if (key === "aggregate") aggregate = readName(value, index, key);
    else if (key === "type") type = readName(value, index, key);
    else if (key === "payload") payload = readStorable(value, index, key);
    else if (key === "events") events = readEvents(value, index);
    else if (key === "expectedSeq") expectedSeq = readSeq(value, index, key);
    else if (key === "id") id = readId(value, index, idempotencyKey);
    else if (key === "metadata") metadata = readStorable(value, index, key);
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
  return { entity, aggregate, events, expectedSeq, id, metadata };
}

const appendFieldNames = "aggregate, type, payload, events, expectedSeq, id, metadata";
const missingPayload = "missing; write {} for an event that carries nothing";

function readEvents(value: unknown, index: number): AppendFields["events"] {
  if (!Array.isArray(value)) throw refusal(place(index, "events"), `wanted an array, found ${kindOfValue(value)}`);
  if (value.length === 0) throw refusal(place(index, "events"), "wanted at least one event, found none");
  if (value.length > limits.appendEventsMax) {
    const problem = `${value.length} events in one append, at most ${limits.appendEventsMax} are allowed`;
    throw refusal(place(index, "events"), problem);
  }
  return value.map((event: unknown, i) => readEvent(event, place(index, `events.${i}`)));
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

function readItemEntity(value: unknown, index: number): string {
  const problem = entityIdProblem(value);
  if (problem === undefined) return value as string;
  // The code says what is wrong, and the path is needed to find it among a thousand items.
  const found = `${place(index, "entity")} = ${JSON.stringify(value)?.slice(0, 80)}`;
  throw new HeddleError("INVALID_ENTITY_ID", { found, problem });
}

function readName(value: unknown, index: number, field: string): string {
  return readText(value, index, field, limits.nameBytesMax);
}

function readId(value: unknown, index: number, idempotencyKey: string | undefined): string {
  const id = readText(value, index, "id", limits.appendIdBytesMax);
  if (idempotencyKey !== undefined && idempotencyKey !== id) {
    throw refusal("id", "differs from the header Idempotency-Key, which means the same; send one of them");
  }
  return id;
}

function readText(value: unknown, index: number, field: string, bytesMax: number): string {
  if (typeof value !== "string") throw refusal(place(index, field), `wanted a string, found ${kindOfValue(value)}`);
  if (value === "") throw refusal(place(index, field), "it is empty");
  if (value.length * 3 > bytesMax && utf8Length(value) > bytesMax) {
    throw refusal(place(index, field), `it has ${utf8Length(value)} bytes, at most ${bytesMax} are allowed`);
  }
  if (!value.isWellFormed()) throw refusal(place(index, field), halfSurrogate);
  return value;
}

function readSeq(value: unknown, index: number, field: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= u48Max) return value as number;
  const found = typeof value === "number" ? value : kindOfValue(value);
  throw refusal(place(index, field), `wanted a whole number from 0 to ${u48Max}, found ${found}`);
}

function readStorable(value: unknown, index: number, field: string): unknown {
  const fault = storageFault(value, limits.payloadDepthMax);
  if (fault !== undefined) throw refusal(join(place(index, field), fault.path), fault.problem);
  return value;
}

interface Fault {
  readonly path: string;
  readonly problem: string;
}

const halfSurrogate = "it holds half of a surrogate pair, which has no UTF-8 form";

/** Says what keeps a JSON value from being stored as it is. Recursion is bounded by `levels`. */
function storageFault(value: unknown, levels: number): Fault | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : { path: "", problem: halfSurrogate };
  if (typeof value !== "object" || value === null) return undefined;
  if (levels === 0) return { path: "", problem: `nested more than ${limits.payloadDepthMax} levels deep` };
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const fault = storageFault(value[i], levels - 1);
      if (fault !== undefined) return { path: join(String(i), fault.path), problem: fault.problem };
    }
    return undefined;
  }
  const fields = value as Record<string, unknown>;
  for (const key in fields) {
    if (key === "__proto__") return { path: key, problem: "a key of this name cannot be stored" };
    if (!key.isWellFormed()) return { path: key.toWellFormed(), problem: halfSurrogate };
    const fault = storageFault(fields[key], levels - 1);
    if (fault !== undefined) return { path: join(key, fault.path), problem: fault.problem };
  }
  return undefined;
}

function readQuery(query: unknown, known: readonly string[]): Partial<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [key, value] of Object.entries(query as Record<string, unknown>)) {
    if (!known.includes(key)) {
      const list = known.length === 0 ? "this route takes no parameters" : `known: ${known.join(", ")}`;
      throw refusal(key, `unknown; ${list}`);
    }
    if (typeof value !== "string") throw refusal(key, "given more than once");
    found[key] = value;
  }
  return found;
}

function readWhole(text: string, field: string, min: number, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw refusal(field, `wanted a whole number from ${min} to ${max}, found ${JSON.stringify(text.slice(0, 40))}`);
}

function asObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refusal(path, `wanted an object, found ${kindOfValue(value)}`);
}

function unknownField(key: string, index: number, known: string): HeddleError {
  return refusal(place(index, key), `unknown; known: ${known}`);
}

function place(index: number, field: string): string {
  return index < 0 ? field : `items.${index}.${field}`;
}

function join(path: string, field: string): string {
  if (path === "") return field;
  return field === "" ? path : `${path}.${field}`;
}

function kindOfValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Keys come from outside and may be as long as a body: the path shows their start. */
export function refusal(path: string, problem: string): HeddleError<"INVALID_REQUEST"> {
  if (path === "") return new HeddleError("INVALID_REQUEST", { problem });
  const shown = path.length <= pathCharactersMax ? path : `${path.slice(0, pathCharactersMax)}…`;
  return new HeddleError("INVALID_REQUEST", { problem, path: shown });
}

const pathCharactersMax = 300;
