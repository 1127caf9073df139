// statements: what rqlite's HTTP API hears and says, over a SQLite database.
//
// S1. An error of a statement is part of the results; in a transaction nothing of the request stays.
// S2. Whole numbers keep all their 64 bits in both directions.
// S3. Without `transaction` the statements of a request are independent, yet a crash leaves all of them or none: to
//     rqlite a request is one entry of its log.
// Not promised: dates in rqlite's own notation, and that RANDOM() and 'now' are rewritten.
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";

export interface Statement {
  readonly sql: string;
  /** What node:sqlite binds: the named ones, then the positional ones. */
  readonly values: readonly [Record<string, SQLInputValue>, ...SQLInputValue[]];
}

export interface Shape {
  readonly associative: boolean;
  readonly blobArray: boolean;
  readonly transaction: boolean;
}

/** The request itself is wrong; it is answered with 400 and this message. */
export class BadRequest extends Error {}

/** Reads `["SQL", …]`, `[["SQL", value, …], …]` and `[["SQL", { name: value }], …]`. Errors: `BadRequest`. */
export function parseStatements(body: string): Statement[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body, wholeNumbersAsBigInt);
  } catch {
    throw new BadRequest("invalid JSON body");
  }
  if (!Array.isArray(parsed)) throw new BadRequest("invalid JSON body");
  if (parsed.length === 0) throw new BadRequest("no statements");
  return parsed.map((item: unknown) => {
    const [sql, ...parameters]: readonly unknown[] = Array.isArray(item) ? item : [item];
    if (typeof sql !== "string") throw new BadRequest("invalid request");
    const named: Record<string, SQLInputValue> = {};
    const positional: SQLInputValue[] = [];
    for (const parameter of parameters) {
      if (typeof parameter === "object" && parameter !== null && !Array.isArray(parameter)) {
        for (const [name, value] of Object.entries(parameter)) named[name] = toInput(value);
      } else positional.push(toInput(parameter));
    }
    return { sql, values: [named, ...positional] };
  });
}

// Without this a number beyond 2^53 loses bits, and SQLite would take 1 for 1.0.
function wholeNumbersAsBigInt(
  this: unknown,
  _: string,
  value: unknown,
  context?: { readonly source?: string },
): unknown {
  const source = context?.source;
  return typeof value === "number" && source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
}

function toInput(value: unknown): SQLInputValue {
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint")
    return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (Array.isArray(value) && value.every((byte) => typeof byte === "bigint" && byte >= 0n && byte < 256n))
    return Uint8Array.from(value, Number);
  throw new BadRequest("unsupported type");
}

/** `/db/execute`. */
export function execute(database: DatabaseSync, statements: readonly Statement[], shape: Shape): object[] {
  return inOneWrite(database, statements, shape.transaction, (prepared, values) =>
    prepared.columns().length > 0 && /\breturning\b/i.test(prepared.sourceSQL)
      ? rowsOf(prepared, values, shape)
      : changesOf(prepared, values),
  );
}

/** `/db/request`. */
export function request(database: DatabaseSync, statements: readonly Statement[], shape: Shape): object[] {
  return inOneWrite(database, statements, shape.transaction, (prepared, values) => {
    if (prepared.columns().length > 0) return rowsOf(prepared, values, shape);
    return { ...changesOf(prepared, values), ...(shape.associative ? { rows: null } : {}) };
  });
}

/** `/db/query`. The database must be open for reading only. */
export function query(database: DatabaseSync, statements: readonly Statement[], shape: Shape): object[] {
  return statements.map((statement) => {
    try {
      return run(database, statement, (prepared, values) => rowsOf(prepared, values, shape));
    } catch (error) {
      const { message } = error as Error;
      return { error: /readonly database/.test(message) ? "attempt to change database via query operation" : message };
    }
  });
}

type Use = (prepared: StatementSync, values: Statement["values"]) => object;

function inOneWrite(
  database: DatabaseSync,
  statements: readonly Statement[],
  allOrNothing: boolean,
  use: Use,
): object[] {
  // A lone statement runs bare: some, like VACUUM, refuse to run in a transaction.
  const grouped = statements.length > 1;
  if (grouped) database.exec("BEGIN IMMEDIATE");
  const results: object[] = [];
  for (const statement of statements) {
    try {
      results.push(run(database, statement, use));
    } catch (error) {
      results.push({ error: (error as Error).message });
      if (allOrNothing) {
        if (database.isTransaction) database.exec("ROLLBACK");
        return results;
      }
    }
  }
  if (database.isTransaction) database.exec("COMMIT");
  return results;
}

/** Runs every statement of the text; the last one's result counts, as it does with rqlite's driver. */
function run(database: DatabaseSync, { sql, values }: Statement, use: Use): object {
  let result: object = {};
  for (let rest = sql; rest.trim() !== ""; ) {
    const prepared = database.prepare(rest);
    rest = rest.slice(prepared.sourceSQL.length);
    prepared.setReadBigInts(true);
    result = use(prepared, values);
  }
  return result;
}

function changesOf(prepared: StatementSync, values: Statement["values"]): object {
  const { changes, lastInsertRowid } = prepared.run(...values);
  return {
    ...(lastInsertRowid > 0 ? { last_insert_id: toJson(lastInsertRowid, "", false) } : {}),
    ...(changes > 0 ? { rows_affected: Number(changes) } : {}),
  };
}

function rowsOf(prepared: StatementSync, values: Statement["values"], { associative, blobArray }: Shape): object {
  prepared.setReturnArrays(true);
  const rows = prepared.all(...values) as unknown as SQLOutputValue[][];
  const columns = prepared.columns().map((column) => column.name);
  // A column without a declared type gets that of its first value.
  const types = prepared.columns().map((column, at) => column.type?.toLowerCase() ?? typeOf(rows[0]?.[at]));
  const shown = rows.map((row) => row.map((value, at) => toJson(value, types[at]!, blobArray)));
  if (!associative) return { columns, types, ...(shown.length > 0 ? { values: shown } : {}) };
  return {
    types: Object.fromEntries(columns.map((name, at) => [name, types[at]])),
    rows: shown.map((row) => Object.fromEntries(columns.map((name, at) => [name, row[at]]))),
  };
}

function typeOf(value: SQLOutputValue | undefined): string {
  if (typeof value === "bigint") return "integer";
  if (typeof value === "number") return "real";
  if (typeof value === "string") return "text";
  return value instanceof Uint8Array ? "blob" : "";
}

// JSON.rawJSON writes the digits as they are.
declare global {
  interface JSON {
    rawJSON(text: string): object;
  }
}

function toJson(value: SQLOutputValue, type: string, blobArray: boolean): unknown {
  if (typeof value === "bigint") return type === "boolean" ? value !== 0n : JSON.rawJSON(String(value));
  if (value instanceof Uint8Array) return blobArray ? [...value] : Buffer.from(value).toString("base64");
  return value;
}
