// From JSON bodies to the fields of calls about queries and projections. Pure; as in request-checks.ts (P7).
//
// Only the JSON is judged here. What SQL may say, and whether parameters fit it, the projection thread knows.
import { limits } from "@heddle/kernel";
import type { LogPlace, QueryConsistency, QueryParameters } from "@heddle/protocol";
import {
  type ProjectionAction,
  type ProjectionOperateFields,
  type QueryFields,
  queryFields,
  u48Max,
} from "@heddle/protocol/internal";
import { asObject, kindOfValue, readName, readText, refusal, unknownField } from "./check-values.ts";

/** `{ sql, params?, after?, sink?, rowsMax?, timeoutMs?, consistency? }`. */
export function readSqlQuery(body: unknown): QueryFields {
  const object = asObject(body, "");
  for (const key in object) if (!queryKeys.includes(key)) throw unknownField(key, -1, queryKeys.join(", "));
  const { sql, params, after, sink, rowsMax, timeoutMs, consistency } = object;
  if (sql === undefined) throw refusal("sql", "missing; wanted a SELECT");
  if (typeof sql !== "string") throw refusal("sql", `wanted a string, found ${kindOfValue(sql)}`);
  return queryFields(sql, readParameters(params), {
    after: after === undefined ? undefined : readPlaces(after),
    sink: sink === undefined ? undefined : readText(sink, -1, "sink", sinkBytesMax),
    rowsMax: rowsMax as number | undefined,
    timeoutMs: timeoutMs as number | undefined,
    consistency: consistency as QueryConsistency | undefined,
  });
}

const queryKeys = ["sql", "params", "after", "sink", "rowsMax", "timeoutMs", "consistency"];
const sinkBytesMax = 255;

function readParameters(value: unknown): QueryParameters | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "object" || value === null) {
    throw refusal("params", `wanted an array, or an object by name, found ${kindOfValue(value)}`);
  }
  return value as QueryParameters;
}

/** A receipt, or a list of them; of each, shard and position are looked at. */
function readPlaces(value: unknown): LogPlace[] {
  if (Array.isArray(value)) return value.map((place: unknown, i) => readPlace(place, `after.${i}`));
  return [readPlace(value, "after")];
}

function readPlace(value: unknown, path: string): LogPlace {
  const place = asObject(value, path);
  for (const key in place) {
    if (!receiptKeys.has(key)) throw refusal(`${path}.${key}`, "unknown; wanted a receipt, or its shard and position");
  }
  const whole = (key: "shard" | "position", max: number) => {
    const found = place[key];
    if (Number.isSafeInteger(found) && (found as number) >= 0 && (found as number) <= max) return found as number;
    throw refusal(`${path}.${key}`, `wanted a whole number from 0 to ${max}, found ${kindOfValue(found)}`);
  };
  return { shard: whole("shard", 0xffff), position: whole("position", u48Max) };
}

const receiptKeys: ReadonlySet<string> = new Set([
  "ok",
  "seq",
  "firstSeq",
  "count",
  "shard",
  "position",
  "time",
  "duplicate",
]);

/** `{ sink? }`; for `retry` and `skip` also `entity`, for `skip` also `reason` and `by?`. */
export function readProjectionOperation(
  body: unknown,
  projection: string,
  action: ProjectionAction,
): ProjectionOperateFields {
  const object = asObject(body, "");
  const known = operationKeys[action];
  for (const key in object) if (!known.includes(key)) throw unknownField(key, -1, known.join(", "));
  const { sink, entity, reason, by } = object;
  const isAboutEntity = known.includes("entity");
  if (isAboutEntity && entity === undefined) throw refusal("entity", "missing; wanted the entity whose events wait");
  if (action === "skip" && reason === undefined) throw refusal("reason", "missing; it is kept in the node's log");
  return {
    action,
    projection: readName(projection, -1, "projection"),
    sink: sink === undefined ? "" : readText(sink, -1, "sink", sinkBytesMax),
    entity: isAboutEntity ? readText(entity, -1, "entity", limits.entityIdBytesMax) : "",
    reason: reason === undefined ? "" : readText(reason, -1, "reason", operatorTextBytesMax),
    by: by === undefined ? "" : readText(by, -1, "by", operatorTextBytesMax),
  };
}

const operatorTextBytesMax = 4_096;

const operationKeys: { readonly [A in ProjectionAction]: readonly string[] } = {
  rebuild: ["sink"],
  pause: ["sink"],
  resume: ["sink"],
  retry: ["entity", "sink"],
  skip: ["entity", "reason", "by", "sink"],
};
