// From JSON bodies and query strings to the fields of calls about sagas. Pure; as in request-checks.ts (P7).
//
// Only the JSON is judged here. What makes steps a saga (how many, on which entities, what undoes them) is `encodeSagaSteps`'s
// to say, for every door alike; paths count the steps as it does, through all stages.
import { limits } from "@heddle/kernel";
import type { SagaQuery } from "@heddle/protocol";
import {
  encodeSagaSteps,
  type SagaAct,
  type SagaFields,
  type SagaOperateFields,
  type SagaStepFields,
  sagaEntity,
  sagaTimeoutMsMax,
} from "@heddle/protocol/internal";
import {
  asObject,
  join,
  kindOfValue,
  readName,
  readStorable,
  readText,
  refusal,
  unknownField,
} from "./check-values.ts";
import { type Content, readContent, readMs } from "./content-checks.ts";
import { readQuery, readWhole } from "./query-checks.ts";
import { readEntityAt } from "./request-checks.ts";

/** `{ steps }` or `{ name, input }`, with `timeoutMs?` and `stepTimeoutMs?`. `saga` is the id. */
export function readSaga(body: unknown, saga: string): SagaFields {
  const entity = sagaEntity(saga);
  const object = asObject(body, "");
  const { steps, name, input } = object;
  let timeoutMs: number | undefined;
  let stepTimeoutMs: number | undefined;
  for (const key in object) {
    if (key === "timeoutMs") timeoutMs = readMs(object[key], key, sagaTimeoutMsMax);
    else if (key === "stepTimeoutMs") stepTimeoutMs = readMs(object[key], key, sagaTimeoutMsMax);
    else if (!contentKeys.has(key)) throw unknownField(key, -1, "steps, name, input, timeoutMs, stepTimeoutMs");
  }
  if (steps !== undefined) {
    if (name !== undefined) throw refusal("name", "wanted either steps, or name and input; found both");
    if (input !== undefined) throw refusal("input", "it goes with the name of a saga of the domain module");
    return { entity, timeoutMs, stepTimeoutMs, steps: encodeSagaSteps(saga, readStages(steps)) };
  }
  if (name === undefined) throw refusal("steps", "missing; wanted steps, or name and input");
  if (input === undefined) throw refusal("input", "missing; write {} or null for a saga that takes none");
  const named = { name: readName(name, -1, "name"), input: readStorable(input, -1, "input") };
  return { entity, timeoutMs, stepTimeoutMs, named };
}

const contentKeys: ReadonlySet<string> = new Set(["steps", "name", "input"]);

function readStages(value: unknown): SagaStepFields[][] {
  if (!Array.isArray(value)) throw refusal("steps", `wanted an array, found ${kindOfValue(value)}`);
  const count = value.reduce((sum: number, stage) => sum + (Array.isArray(stage) ? stage.length : 1), 0);
  if (count > limits.sagaStepsMax) throw refusal("steps", `${count} steps, at most ${limits.sagaStepsMax} are allowed`);
  let index = 0;
  return value.map((stage: unknown) =>
    Array.isArray(stage) ? stage.map((step) => readStep(step, index++)) : [readStep(stage, index++)],
  );
}

function readStep(value: unknown, index: number): SagaStepFields {
  const path = `steps.${index}`;
  const object = asObject(value, path);
  let aggregate = "";
  let timeoutMs: number | undefined;
  let schemaVsn: number | undefined;
  for (const key in object) {
    const at = join(path, key);
    if (key === "aggregate") aggregate = readText(object[key], -1, at, limits.nameBytesMax);
    else if (key === "timeoutMs") timeoutMs = readMs(object[key], at, sagaTimeoutMsMax);
    else if (key === "schemaVsn") schemaVsn = readSchemaVersion(object[key], at);
    else if (key !== "entity" && key !== "forward" && key !== "back") {
      throw refusal(at, "unknown; known: entity, aggregate, forward, back, timeoutMs, schemaVsn");
    }
  }
  const { forward, back } = object;
  if (back === undefined) {
    const undo = "missing; wanted what undoes the step, or null for a last step that nothing undoes";
    throw refusal(join(path, "back"), undo);
  }
  return {
    entity: readStepEntity(object["entity"], join(path, "entity")),
    aggregate,
    forward: asAct(readContent(forward, join(path, "forward"))),
    back: back === null ? null : asAct(readContent(back, join(path, "back"))),
    timeoutMs,
    schemaVsn,
  };
}

// Ids of Heddle's own entities are refused by the encoder, which says why.
function readStepEntity(value: unknown, path: string): string {
  if (value === undefined) throw refusal(path, "missing; wanted kind/name");
  return typeof value === "string" && value.startsWith("$") ? value : readEntityAt(value, path);
}

function asAct(content: Content): SagaAct {
  return "command" in content ? content : content.events;
}

function readSchemaVersion(value: unknown, path: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 0xffff) return value as number;
  throw refusal(path, `wanted the version of a schema, a whole number from 1 to 65535, found ${kindOfValue(value)}`);
}

/** A saga's id in a path, as the entity that it is. */
export function readSagaId(id: string): { readonly entity: string } {
  return { entity: sagaEntity(id) };
}

/** `{ reason, by? }`. */
export function readRetry(body: unknown, saga: string): SagaOperateFields {
  return { ...readOperation(body, saga, ["reason", "by"]), as: undefined };
}

/** `{ as: "COMMITTED" | "COMPENSATED", reason, by? }`. */
export function readResolve(body: unknown, saga: string): SagaOperateFields {
  const { as } = asObject(body, "");
  if (as !== "COMMITTED" && as !== "COMPENSATED") {
    const found = typeof as === "string" ? JSON.stringify(as.slice(0, 40)) : kindOfValue(as);
    throw refusal("as", `wanted COMMITTED or COMPENSATED, found ${found}`);
  }
  return { ...readOperation(body, saga, ["as", "reason", "by"]), as };
}

function readOperation(body: unknown, saga: string, known: readonly string[]): Omit<SagaOperateFields, "as"> {
  const entity = sagaEntity(saga);
  const object = asObject(body, "");
  for (const key in object) if (!known.includes(key)) throw unknownField(key, -1, known.join(", "));
  const { reason, by } = object;
  if (reason === undefined) throw refusal("reason", "missing; it is kept in the saga's history");
  return {
    entity,
    reason: readText(reason, -1, "reason", operatorTextBytesMax),
    by: by === undefined ? "" : readText(by, -1, "by", operatorTextBytesMax),
  };
}

const operatorTextBytesMax = 4_096;

/** `only` (`all`, `unfinished`, `stuck`), `limit` (default 100), `cursor`. */
export function readSagaQuery(query: unknown): SagaQuery {
  const { only = "all", limit, cursor } = readQuery(query, ["only", "limit", "cursor"]);
  if (only !== "all" && only !== "unfinished" && only !== "stuck") {
    throw refusal("only", `wanted all, unfinished or stuck, found ${JSON.stringify(only.slice(0, 40))}`);
  }
  return {
    only,
    limit: limit === undefined ? sagaLimitDefault : readWhole(limit, "limit", 1, limits.listEntitiesMax),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

export const sagaLimitDefault = 100;
