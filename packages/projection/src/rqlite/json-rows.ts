// JsonRows: statements over the rows of one generation that take many rows as one parameter, a JSON text.
//
// One parameter instead of thousands: rqlite makes an object of each parameter three times on its way, and takes a text of the
// form x'…' for bytes. SQLite reads JSON about as fast as it binds values (measured: 1,000 rows
// of five columns in 1.2 ms, with a statement for each 1.1 ms), and keeps every integer. Very large and very small doubles it does
// not: SQLite 3.50, which rqlite 8 has, reads many of them out of a text with the last bit wrong (measured: of random ones about 1e-200
// two in five, about 1e-60 one in ten, about 1e150 one in fourteen; of 740,000 between 1e-30 and 1e30 none). Rows that have one are
// bound value by value.
import type { CompiledProjection, RowKey } from "@heddle/domain/internal";
import type { GenerationRef, RowWrite, SourcedRow } from "../sink.ts";
import { quoted, rowsTable, sourceColumn, storedColumns } from "../sql-tables.ts";
import { rowOfSql, type SqlValue, toSql } from "../sql-values.ts";
import type { RqliteStatement } from "./rqlite-client.ts";

/** Characters of one JSON text: a larger batch has several, in the same transaction. */
const charactersMax = 4 << 20;
/** Doubles that SQLite reads out of a text as they were: those between these two, and zero. */
const exactFrom = 1e-30;
const exactTo = 1e30;
/** Keys that one statement looks for. */
const keysMax = 2_000;

export class JsonRows {
  readonly projection: CompiledProjection;
  readonly #table: string;
  readonly #upsert: string;
  readonly #upsertBound: string;
  readonly #delete: string;
  readonly #erase: string;
  readonly #load: string;
  readonly #columns: string;
  readonly #keyNames: string;
  /** Which columns hold doubles. */
  readonly #reals: readonly number[];

  constructor({ projection, generation }: GenerationRef) {
    this.projection = projection;
    const table = quoted(rowsTable(projection.name, generation));
    const stored = storedColumns(projection);
    const keys = projection.key.map(({ name }) => quoted(name));
    const isKey = new Set(projection.key.map(({ name }) => name));
    const changes = stored.filter((name) => !isKey.has(name)).map((name) => `${quoted(name)}=excluded.${quoted(name)}`);
    const part = (_: unknown, i: number) => `value->>${i}`;
    const source = quoted(projection.ownKey ? projection.key[0]!.name : sourceColumn);
    this.#table = table;
    this.#reals = projection.columns.flatMap(({ type }, i) => (type === "real" ? [i] : []));
    this.#columns = stored.map(quoted).join(",");
    this.#keyNames = keys.join(",");
    // Without WHERE, SQLite would take ON for the beginning of a join.
    const insert = `INSERT INTO ${table} (${this.#columns})`;
    const orUpdate = `ON CONFLICT (${this.#keyNames}) DO ${changes.length === 0 ? "NOTHING" : `UPDATE SET ${changes.join(",")}`}`;
    this.#upsert = `${insert} SELECT ${stored.map(part).join(",")} FROM json_each(?) WHERE true ${orUpdate}`;
    const bound = stored.map((_, i) => (this.#reals.includes(i) ? "?" : "?->>'$'"));
    this.#upsertBound = `${insert} VALUES (${bound.join(",")}) ${orUpdate}`;
    this.#delete = `DELETE FROM ${table} WHERE (${this.#keyNames}) IN (SELECT ${keys.map(part).join(",")} FROM json_each(?))`;
    this.#erase = `DELETE FROM ${table} WHERE ${source} IN (SELECT value FROM json_each(?))${
      projection.ownKey ? "" : ` AND ${source} <> ''`
    }`;
    // CROSS: the keys are gone through, and the rows looked up, never the other way round.
    this.#load = `SELECT k.key,${stored.map((name) => `r.${quoted(name)}`).join(",")} FROM json_each(?) AS k CROSS JOIN ${table} AS r ON ${keys
      .map((name, i) => `r.${name}=k.value->>${i}`)
      .join(" AND ")}`;
  }

  write(rows: readonly RowWrite[]): RqliteStatement[] {
    const upserts: string[] = [];
    const deletes: string[] = [];
    const bound: RqliteStatement[] = [];
    for (const { row, key, source } of rows) {
      if (row === null) deletes.push(JSON.stringify(key.map(sqlOfKey)));
      else {
        const values: SqlValue[] = this.projection.columns.map(({ name, type }) => toSql(type, row[name]!));
        if (!this.projection.ownKey) values.push(source);
        if (this.#reals.every((i) => isExact(values[i]!))) upserts.push(JSON.stringify(values));
        else {
          const parameters = values.map((value, i) => (this.#reals.includes(i) ? value : JSON.stringify(value)));
          bound.push([this.#upsertBound, ...parameters]);
        }
      }
    }
    return [...inParts(this.#delete, deletes), ...inParts(this.#upsert, upserts), ...bound];
  }

  erase(sources: readonly string[]): RqliteStatement[] {
    return inParts(
      this.#erase,
      sources.map((source) => JSON.stringify(source)),
    );
  }

  load(keys: readonly RowKey[]): RqliteStatement[] {
    const statements: RqliteStatement[] = [];
    for (let from = 0; from < keys.length; from += keysMax) {
      statements.push([this.#load, JSON.stringify(keys.slice(from, from + keysMax).map((key) => key.map(sqlOfKey)))]);
    }
    return statements;
  }

  /** What the statements of `load` found, in the order of the keys. */
  loaded(keys: number, results: readonly (readonly (readonly unknown[])[])[]): (SourcedRow | undefined)[] {
    const rows = new Array<SourcedRow | undefined>(keys).fill(undefined);
    for (const [i, found] of results.entries()) {
      for (const [key, ...values] of found) rows[i * keysMax + (key as number)] = this.rowOf(values);
    }
    return rows;
  }

  /** Rows in the order of their keys, from behind one on. */
  page(after: SourcedRow | undefined, limit: number): RqliteStatement {
    const { key } = this.projection;
    const select = `SELECT ${this.#columns} FROM ${this.#table}`;
    const order = `ORDER BY ${this.#keyNames} LIMIT ${limit}`;
    if (after === undefined) return [`${select} ${order}`];
    const last = JSON.stringify(key.map(({ name }) => sqlOfKey(after.row[name] as string | number | boolean)));
    const places = key.map((_, i) => `?->>${i}`).join(",");
    return [`${select} WHERE (${this.#keyNames}) > (${places}) ${order}`, ...key.map(() => last)];
  }

  rowOf(values: readonly unknown[]): SourcedRow {
    const { projection } = this;
    const row = rowOfSql(projection, values);
    const source = projection.ownKey ? row[projection.key[0]!.name] : values[projection.columns.length];
    return { row, source: source as string };
  }
}

/** The same statement, as often as its rows (JSON texts) need it. */
export function inParts(sql: string, items: readonly string[]): RqliteStatement[] {
  const statements: RqliteStatement[] = [];
  for (let from = 0; from < items.length; ) {
    let to = from;
    let characters = 0;
    while (to < items.length && (to === from || characters + items[to]!.length <= charactersMax)) {
      characters += items[to]!.length + 1;
      to++;
    }
    statements.push([sql, `[${items.slice(from, to).join(",")}]`]);
    from = to;
  }
  return statements;
}

function isExact(value: SqlValue): boolean {
  if (typeof value !== "number" || value === 0) return true;
  const size = Math.abs(value);
  return size >= exactFrom && size <= exactTo;
}

function sqlOfKey(value: string | number | boolean): SqlValue {
  return typeof value === "boolean" ? (value ? 1 : 0) : value;
}
