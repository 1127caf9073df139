// QueryParameters: what a caller gives for a query's placeholders, held against what the SQL wants.
import { queryParameterProblem } from "@heddle/protocol/internal";
import { queryRefused, type SqlText } from "./read-sql.ts";

/** What is bound: whole numbers are integers to SQL, as they are to whoever wrote them. */
export type BoundValue = string | number | bigint | null | Uint8Array;

/** In order, or by name with its sign. */
export type BoundValues = readonly BoundValue[] | Readonly<Record<string, BoundValue>>;

/** Errors: `QUERY_REFUSED` for one too few or too many, a name that is not asked for, a value that SQL has no type for. */
export function bindParameters(sql: SqlText, given: unknown): BoundValues {
  if (given === undefined || given === null) return bindParameters(sql, sql.named.size > 0 ? {} : []);
  if (Array.isArray(given)) return inOrder(sql, given);
  if (typeof given !== "object" || given instanceof Uint8Array) {
    throw queryRefused(`wanted parameters as a list or by name, found ${typeof given}`);
  }
  return byName(sql, given as Record<string, unknown>);
}

function inOrder(sql: SqlText, given: readonly unknown[]): BoundValue[] {
  if (sql.named.size > 0 && given.length > 0) {
    throw queryRefused(`it wants parameters by name: ${[...sql.named].join(", ")}`);
  }
  if (sql.named.size > 0) throw missing([...sql.named]);
  if (given.length !== sql.positional) {
    throw queryRefused(`it wants ${counted(sql.positional)}, ${given.length} came`);
  }
  return Array.from(given, (value, i) => bound(value, `parameter ${i + 1}`));
}

function byName(sql: SqlText, given: Record<string, unknown>): Record<string, BoundValue> {
  if (sql.positional > 0) throw queryRefused(`it wants ${counted(sql.positional)} in order, as a list`);
  const values: Record<string, BoundValue> = {};
  const wanted = new Set<string>();
  for (const sign of sql.named) {
    const name = sign.slice(1);
    wanted.add(name);
    if (Object.hasOwn(given, name)) values[sign] = bound(given[name], `parameter ${name}`);
  }
  const absent = [...sql.named].filter((sign) => !Object.hasOwn(values, sign));
  if (absent.length > 0) throw missing(absent);
  const unknown = Object.keys(given).find((name) => !wanted.has(name));
  if (unknown !== undefined) throw queryRefused(`it has no parameter ${JSON.stringify(unknown.slice(0, 80))}`);
  return values;
}

function bound(value: unknown, place: string): BoundValue {
  const problem = queryParameterProblem(value);
  if (problem !== undefined) throw queryRefused(`${place} ${problem}`);
  switch (typeof value) {
    case "boolean":
      return value ? 1n : 0n;
    case "number":
      // A double would make 5 / 2 something else than it is for everybody who writes SQL.
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? BigInt(value) : value;
    default:
      return value as BoundValue;
  }
}

function counted(count: number): string {
  return count === 1 ? "1 parameter" : `${count} parameters`;
}

function missing(names: readonly string[]): Error {
  return queryRefused(`these parameters are missing: ${names.join(", ")}`);
}
