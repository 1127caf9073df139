// How SQL sinks write values down: the same in SQLite and rqlite, so that one query works on both.
//
//   text TEXT | integer, time INTEGER | real REAL | boolean INTEGER, 1 or 0 | json TEXT
import type { ColumnValue, CompiledColumn, CompiledProjection, Row } from "@heddle/domain/internal";

export type SqlValue = string | number | null;

export const sqlTypes = {
  text: "TEXT",
  integer: "INTEGER",
  real: "REAL",
  boolean: "INTEGER",
  time: "INTEGER",
  json: "TEXT",
} as const;

export function toSql(type: CompiledColumn["type"], value: ColumnValue): SqlValue {
  if (value === null) return null;
  if (type === "boolean") return value === true ? 1 : 0;
  return type === "json" ? JSON.stringify(value) : (value as string | number);
}

/** What {@link toSql} wrote. */
export function fromSql(type: CompiledColumn["type"], stored: unknown): ColumnValue {
  if (stored === null || stored === undefined) return null;
  if (type === "boolean") return stored === 1;
  return type === "json" ? (JSON.parse(stored as string) as ColumnValue) : (stored as string | number);
}

/** A row of values in the order of the projection's columns. */
export function rowOfSql(projection: CompiledProjection, values: readonly unknown[]): Row {
  const row: Record<string, ColumnValue> = {};
  const { columns } = projection;
  for (let i = 0; i < columns.length; i++) row[columns[i]!.name] = fromSql(columns[i]!.type, values[i]);
  return row;
}
