// SqlTables: the tables of SQL sinks, and the statements that make, fill and swap them; the same in SQLite and rqlite.
//
//   accounts                   a view with the columns that the definition names: what users read
//   heddle_rows_accounts_3     the rows of generation 3; without `ownKey` also heddle_source, the entity that a row comes from
//   heddle_generations         what is kept about each generation; `live` tells which one the view shows
//   heddle_held, heddle_outcomes
//
// A swap makes the view anew on the other table and drops the old one, in one transaction.
import type { CompiledProjection } from "@heddle/domain/internal";
import type { GenerationRef } from "./sink.ts";
import { sqlTypes } from "./sql-values.ts";

export const sourceColumn = "heddle_source";

/** The tables that a sink keeps its own facts in. Making them again changes nothing. */
export const catalogTables: readonly string[] = [
  `CREATE TABLE IF NOT EXISTS heddle_projections (
    projection TEXT PRIMARY KEY, settings TEXT NOT NULL
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS heddle_generations (
    projection TEXT NOT NULL, generation INTEGER NOT NULL, live INTEGER NOT NULL, table_name TEXT NOT NULL,
    version INTEGER NOT NULL, shape TEXT NOT NULL, revision INTEGER NOT NULL, writer TEXT NOT NULL,
    positions TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (projection, generation)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS heddle_held (
    projection TEXT NOT NULL, generation INTEGER NOT NULL, entity TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (projection, generation, entity)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE IF NOT EXISTS heddle_outcomes (
    projection TEXT NOT NULL, generation INTEGER NOT NULL, saga TEXT NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (projection, generation, saga)
  ) STRICT, WITHOUT ROWID`,
];

/** A name in SQL. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function rowsTable(projection: string, generation: number): string {
  return `heddle_rows_${projection}_${generation}`;
}

/** Statements that make the empty table of a generation, and its indexes. */
export function createRowsTable({ projection, generation }: GenerationRef): readonly string[] {
  const table = rowsTable(projection.name, generation);
  const columns = projection.columns.map(
    ({ name, type, nullable }) => `${quoted(name)} ${sqlTypes[type]}${nullable ? "" : " NOT NULL"}`,
  );
  if (!projection.ownKey) columns.push(`${quoted(sourceColumn)} TEXT NOT NULL`);
  const key = projection.key.map(({ name }) => quoted(name)).join(", ");
  const indexes = projection.indexes.map((names) => names.map(quoted).join(", "));
  // An erasure looks for rows by their source; shared rows are not looked for.
  const sources = projection.ownKey ? [] : [`${quoted(sourceColumn)}) WHERE (${quoted(sourceColumn)} <> ''`];
  return [
    `CREATE TABLE ${quoted(table)} (${columns.join(", ")}, PRIMARY KEY (${key})) STRICT, WITHOUT ROWID`,
    ...[...indexes, ...sources].map(
      (index, i) => `CREATE INDEX ${quoted(`${table}_${i}`)} ON ${quoted(table)} (${index})`,
    ),
  ];
}

/** Statements that show a generation to readers in place of whatever they saw. */
export function showRows({ projection, generation }: GenerationRef): readonly string[] {
  const columns = projection.columns.map(({ name }) => quoted(name)).join(", ");
  const table = quoted(rowsTable(projection.name, generation));
  return [
    `DROP VIEW IF EXISTS ${quoted(projection.table)}`,
    `CREATE VIEW ${quoted(projection.table)} AS SELECT ${columns} FROM ${table}`,
  ];
}

/** The columns of a stored row, in the order of `rowOfSql`; the source comes last, where there is one. */
export function storedColumns(projection: CompiledProjection): readonly string[] {
  const names = projection.columns.map(({ name }) => name);
  return projection.ownKey ? names : [...names, sourceColumn];
}

/** Writes so many rows: new ones, or in place of those with the same key. */
export function upsertRows(ref: GenerationRef, rows: number): string {
  const { projection, generation } = ref;
  const names = storedColumns(projection);
  const places = `(${names.map(() => "?").join(",")})`;
  const key = new Set(projection.key.map(({ name }) => name));
  const changes = names.filter((name) => !key.has(name)).map((name) => `${quoted(name)}=excluded.${quoted(name)}`);
  const conflict = changes.length === 0 ? "NOTHING" : `UPDATE SET ${changes.join(",")}`;
  const keyNames = projection.key.map(({ name }) => quoted(name)).join(",");
  return `INSERT INTO ${quoted(rowsTable(projection.name, generation))} (${names.map(quoted).join(",")}) VALUES ${Array(
    rows,
  )
    .fill(places)
    .join(",")} ON CONFLICT (${keyNames}) DO ${conflict}`;
}

/** Condition for rows with one of so many keys; parameters are the keys' values, one key after another. */
function keyCondition(projection: CompiledProjection, keys: number): string {
  const names = projection.key.map(({ name }) => quoted(name));
  if (names.length === 1) return `${names[0]} IN (${Array(keys).fill("?").join(",")})`;
  const place = `(${names.map(() => "?").join(",")})`;
  return `(${names.join(",")}) IN (VALUES ${Array(keys).fill(place).join(",")})`;
}

export function deleteRows({ projection, generation }: GenerationRef, keys: number): string {
  return `DELETE FROM ${quoted(rowsTable(projection.name, generation))} WHERE ${keyCondition(projection, keys)}`;
}

export function selectRows({ projection, generation }: GenerationRef, keys: number): string {
  const names = storedColumns(projection).map(quoted).join(",");
  return `SELECT ${names} FROM ${quoted(rowsTable(projection.name, generation))} WHERE ${keyCondition(projection, keys)}`;
}

/** Deletes the rows that come from so many entities; parameters are the entities. */
export function deleteSources({ projection, generation }: GenerationRef, sources: number): string {
  const source = quoted(projection.ownKey ? projection.key[0]!.name : sourceColumn);
  const places = Array(sources).fill("?").join(",");
  // Written out, so that the index is used that leaves shared rows aside.
  const own = projection.ownKey ? "" : ` AND ${source} <> ''`;
  return `DELETE FROM ${quoted(rowsTable(projection.name, generation))} WHERE ${source} IN (${places})${own}`;
}
