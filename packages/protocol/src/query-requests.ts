// The bodies of requests about queries and projections, and the values that answer them. All are answered by the projection
// thread, whatever stands in the header's place for an entity's hash.
//
//   query     u32 rows at most | u32 time limit, ms | u8 consistency (0: none given) | u8 length, sink |
//             u8 count, places: u16 shard, u48 position | u32 length, SQL | parameters as msgpack, to the end
//   list      u8 length, projection; empty for all
//   operate   u8 action | u8 length, projection | u8 length, sink; empty for all | u16 length, entity | u16 length, reason |
//             u16 length, by
import { HeddleError, limits } from "@heddle/kernel";
import { utf8Length } from "@heddle/kernel/internal";
import { BodyCursor } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { readText, readU16, readU48, TextCache, writeText, writeU16, writeU32, writeU48 } from "./bytes.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import type {
  ListedProjection,
  LogPlace,
  ProjectionState,
  QueryConsistency,
  QueryParameters,
  QueryResult,
  QueryRow,
  QueryValue,
} from "./projections.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export const queryRowsDefault = 10_000;
export const queryRowsMax = 1_000_000;
export const queryTimeoutMsDefault = 5_000;
export const queryTimeoutMsMax = 300_000;
/** UTF-8 bytes. */
const sqlBytesMax = 400_000;
/** Of one query; one for each shard is all that there can be use for. */
const placesMax = 255;
const sinkNameBytesMax = 255;

/** Names come from this file's own requests, which are rare. */
const ownTexts = new TextCache(64);

// ——— query

export interface QueryFields {
  readonly sql: string;
  readonly params: QueryParameters;
  /** What the projections that it reads must have seen. */
  readonly after: readonly LogPlace[];
  /** Empty: the first SQL sink. */
  readonly sink: string;
  readonly rowsMax: number;
  /** For waiting and running together. */
  readonly timeoutMs: number;
  readonly consistency: QueryConsistency | undefined;
}

const consistencies: readonly QueryConsistency[] = ["none", "weak", "linearizable", "strong", "auto"];

/** What a caller may leave out, with its default. Errors: `INVALID_REQUEST`, naming the option; `QUERY_REFUSED`. */
export function queryFields(
  sql: string,
  params: QueryParameters | undefined,
  options: {
    readonly after?: LogPlace | readonly LogPlace[] | undefined;
    readonly sink?: string | undefined;
    readonly rowsMax?: number | undefined;
    readonly timeoutMs?: number | undefined;
    readonly consistency?: QueryConsistency | undefined;
  },
): QueryFields {
  const { after = [], sink = "", rowsMax = queryRowsDefault, timeoutMs = queryTimeoutMsDefault, consistency } = options;
  const places = Array.isArray(after) ? (after as readonly LogPlace[]) : [after as LogPlace];
  const fields = { sql, params: params ?? [], after: places, sink, rowsMax, timeoutMs, consistency };
  checkQuery(fields);
  return fields;
}

function checkQuery({ sql, params, after, sink, rowsMax, timeoutMs, consistency }: QueryFields): void {
  if (typeof sql !== "string" || !sql.isWellFormed()) throw queryRefused("wanted SQL as well-formed text");
  if (utf8Length(sql) > sqlBytesMax) throw queryRefused(`it has more than ${sqlBytesMax} bytes`);
  checkParameters(params);
  checkWhole("rowsMax", rowsMax, queryRowsMax);
  checkWhole("timeoutMs", timeoutMs, queryTimeoutMsMax);
  checkText("sink", sink, sinkNameBytesMax);
  if (after.length > placesMax) throw invalid("after", `${after.length} places, at most ${placesMax} are allowed`);
  for (const [i, place] of after.entries()) {
    const isPlace = Number.isSafeInteger(place?.shard) && Number.isSafeInteger(place.position);
    if (isPlace && place.shard >= 0 && place.shard < 65_536 && place.position >= 0) continue;
    throw invalid(`after.${i}`, "wanted a receipt, or the shard and position of one");
  }
  if (consistency !== undefined && !consistencies.includes(consistency)) {
    throw invalid("consistency", `wanted one of ${consistencies.join(", ")}, found ${JSON.stringify(consistency)}`);
  }
}

function checkParameters(params: unknown): void {
  if (Array.isArray(params)) {
    for (let i = 0; i < params.length; i++) checkParameter(params[i], String(i + 1));
    return;
  }
  if (typeof params !== "object" || params === null || params instanceof Uint8Array || params instanceof Date) {
    throw queryRefused("wanted parameters as a list or by name");
  }
  for (const [name, value] of Object.entries(params)) checkParameter(value, name.slice(0, 80));
}

function checkParameter(value: unknown, name: string): void {
  const problem = queryParameterProblem(value);
  if (problem !== undefined) throw queryRefused(`parameter ${name} ${problem}`);
}

/** Why a value can be no parameter, to be read behind the parameter's name. */
export function queryParameterProblem(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return value.isWellFormed() ? undefined : "holds half of a surrogate pair";
    case "number":
      return Number.isFinite(value) ? undefined : `is ${value}, which SQL has no value for`;
    case "bigint":
      return BigInt.asIntN(64, value) === value ? undefined : "has more than 64 bits";
    case "boolean":
      return undefined;
    case "object":
      if (value === null || value instanceof Uint8Array) return undefined;
      return value instanceof Date ? "is a Date; give its milliseconds" : "is an object or a list";
    default:
      return `is ${typeof value}`;
  }
}

export function writeQueryBody(fields: QueryFields, reserve: Reserve): number {
  checkQuery(fields);
  const { sql, params, after, sink, rowsMax, timeoutMs, consistency } = fields;
  const encoded = encodeValue(params);
  const { bytes, at } = reserve(16 + 3 * (sink.length + sql.length) + 8 * after.length + encoded.length);
  writeU32(bytes, at, rowsMax);
  writeU32(bytes, at + 4, timeoutMs);
  bytes[at + 8] = consistency === undefined ? 0 : 1 + consistencies.indexOf(consistency);
  let p = writeShort(bytes, at + 9, sink);
  bytes[p++] = after.length;
  for (const { shard, position } of after) {
    writeU16(bytes, p, shard);
    writeU48(bytes, p + 2, position);
    p += 8;
  }
  const length = writeText(bytes, p + 4, sql);
  writeU32(bytes, p, length);
  p += 4 + length;
  bytes.set(encoded, p);
  return p + encoded.length - at;
}

/** Errors: `BAD_FRAME`, `INVALID_REQUEST`, `QUERY_REFUSED`. */
export function readQueryBody(bytes: Uint8Array, from: number, to: number): QueryFields {
  const cursor = new BodyCursor(bytes, from, to, ownTexts);
  const rowsMax = cursor.u32();
  const timeoutMs = cursor.u32();
  const level = cursor.u8();
  const sink = cursor.name();
  const after = Array.from({ length: cursor.u8() }, () => {
    const place = cursor.skip(8);
    return { shard: readU16(bytes, place), position: readU48(bytes, place + 2) };
  });
  const sqlAt = cursor.skip(cursor.u32());
  if (level > consistencies.length) throw badFrame("a query of no known consistency");
  const fields = {
    sql: sqlOf(bytes, sqlAt, cursor.at),
    params: decodeValue(bytes.subarray(cursor.at, to)) as QueryParameters,
    after,
    sink,
    rowsMax,
    timeoutMs,
    consistency: consistencies[level - 1],
  };
  checkQuery(fields);
  return fields;
}

function sqlOf(bytes: Uint8Array, from: number, to: number): string {
  try {
    return readText(bytes, from, to);
  } catch (cause) {
    throw badFrame("the SQL is not UTF-8", cause);
  }
}

/** [column names, rows as arrays]: rows as objects are made where they are read. Errors: `BAD_FRAME`. */
export function readQueryResult(value: unknown): QueryResult {
  const [columns, rows] = (Array.isArray(value) ? value : []) as [readonly string[], readonly QueryValue[][]];
  if (!Array.isArray(columns) || !Array.isArray(rows) || !columns.every((name) => typeof name === "string")) {
    throw badFrame("the node answered a query with no rows");
  }
  return { columns, rows: rows.map((row) => rowOf(columns, row)) };
}

function rowOf(columns: readonly string[], values: readonly QueryValue[]): QueryRow {
  if (!Array.isArray(values) || values.length !== columns.length) throw badFrame("a row of another width");
  // A column may be named __proto__, and is data then like any other.
  const row: Record<string, QueryValue> = {};
  for (let i = 0; i < columns.length; i++) {
    const name = columns[i]!;
    if (name === "__proto__") Object.defineProperty(row, name, { value: values[i], enumerable: true });
    else row[name] = values[i]!;
  }
  return row;
}

// ——— projections

export function writeProjectionListBody({ projection }: { readonly projection: string }, reserve: Reserve): number {
  checkText("projection", projection, limits.nameBytesMax);
  const { bytes, at } = reserve(1 + 3 * projection.length);
  return writeShort(bytes, at, projection) - at;
}

export function readProjectionListBody(bytes: Uint8Array, from: number, to: number): { readonly projection: string } {
  const cursor = new BodyCursor(bytes, from, to, ownTexts);
  const fields = { projection: cursor.name() };
  checkEnd(cursor, to);
  checkText("projection", fields.projection, limits.nameBytesMax);
  return fields;
}

const projectionStates: readonly ProjectionState[] = ["starting", "live", "rebuilding", "paused", "waiting", "stopped"];

/** Errors: `BAD_FRAME`. */
export function readProjectionList(value: unknown): ListedProjection[] {
  if (!Array.isArray(value)) throw badFrame("the node answered with projections that are no list");
  for (const row of value as readonly Partial<ListedProjection>[]) {
    const isRow =
      typeof row?.projection === "string" &&
      typeof row.sink === "string" &&
      projectionStates.includes(row.state as ProjectionState) &&
      Array.isArray(row.shards) &&
      Array.isArray(row.failures) &&
      Number.isSafeInteger(row.generation);
    if (!isRow) throw badFrame("a listed projection that is none");
  }
  return value as ListedProjection[];
}

export type ProjectionAction = "rebuild" | "pause" | "resume" | "retry" | "skip";

export const projectionActions: readonly ProjectionAction[] = ["rebuild", "pause", "resume", "retry", "skip"];

export interface ProjectionOperateFields {
  readonly action: ProjectionAction;
  readonly projection: string;
  /** Empty: in every sink. */
  readonly sink: string;
  /** Of what was set aside, for `retry` and `skip`; empty otherwise. */
  readonly entity: string;
  /** Of a skip: it is kept. */
  readonly reason: string;
  readonly by: string;
}

/** UTF-8 bytes of a reason, and of a name. */
const operatorTextBytesMax = 4_096;

export function writeProjectionOperateBody(fields: ProjectionOperateFields, reserve: Reserve): number {
  checkOperation(fields);
  const { action, projection, sink, entity, reason, by } = fields;
  const units = projection.length + sink.length + entity.length + reason.length + by.length;
  const { bytes, at } = reserve(16 + 3 * units);
  bytes[at] = 1 + projectionActions.indexOf(action);
  let p = writeShort(bytes, writeShort(bytes, at + 1, projection), sink);
  for (const text of [entity, reason, by]) p = writePrefixed(bytes, p, text);
  return p - at;
}

export function readProjectionOperateBody(bytes: Uint8Array, from: number, to: number): ProjectionOperateFields {
  const cursor = new BodyCursor(bytes, from, to, ownTexts);
  const action = projectionActions[cursor.u8() - 1];
  if (action === undefined) throw badFrame("no operation on a projection");
  const fields = {
    action,
    projection: cursor.name(),
    sink: cursor.name(),
    entity: cursor.entity(),
    reason: cursor.entity(),
    by: cursor.entity(),
  };
  checkEnd(cursor, to);
  checkOperation(fields);
  return fields;
}

function checkOperation({ action, projection, sink, entity, reason, by }: ProjectionOperateFields): void {
  if (!projectionActions.includes(action)) throw invalid("action", `wanted one of ${projectionActions.join(", ")}`);
  checkText("projection", projection, limits.nameBytesMax);
  if (projection === "") throw invalid("projection", "missing; wanted the name of a projection");
  checkText("sink", sink, sinkNameBytesMax);
  checkText("entity", entity, limits.entityIdBytesMax);
  const isAboutEntity = action === "retry" || action === "skip";
  if (isAboutEntity !== (entity !== "")) {
    throw invalid("entity", isAboutEntity ? "missing; wanted the entity whose events wait" : `${action} takes none`);
  }
  checkText("reason", reason, operatorTextBytesMax);
  checkText("by", by, operatorTextBytesMax);
  if (action === "skip" && reason.trim() === "") throw invalid("reason", "wanted a reason, for those who come after");
}

// ——— shared

function checkText(path: string, text: unknown, bytesMax: number): void {
  if (typeof text === "string" && text.isWellFormed() && utf8Length(text) <= bytesMax) return;
  throw invalid(path, `wanted well-formed text of at most ${bytesMax} bytes`);
}

function checkWhole(path: string, value: unknown, max: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= max) return;
  throw invalid(path, `wanted a whole number from 1 to ${max}, found ${String(value)}`);
}

function checkEnd(cursor: BodyCursor, to: number): void {
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
}

function writeShort(bytes: Uint8Array, at: number, text: string): number {
  bytes[at] = writeText(bytes, at + 1, text);
  return at + 1 + bytes[at]!;
}

function writePrefixed(bytes: Uint8Array, at: number, text: string): number {
  const length = writeText(bytes, at + 2, text);
  writeU16(bytes, at, length);
  return at + 2 + length;
}

function invalid(path: string, problem: string): HeddleError<"INVALID_REQUEST"> {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

function queryRefused(problem: string): HeddleError<"QUERY_REFUSED"> {
  return new HeddleError("QUERY_REFUSED", { problem });
}
