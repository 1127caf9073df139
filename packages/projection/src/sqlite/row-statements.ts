// RowStatements: the prepared statements over the rows of one generation. Several rows go into one statement, because a call
// into SQLite costs as much as writing a row.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { CompiledProjection, RowKey } from "@heddle/domain/internal";
import type { GenerationRef, RowWrite, SourcedRow } from "../sink.ts";
import { deleteRows, deleteSources, quoted, rowsTable, selectRows, storedColumns, upsertRows } from "../sql-tables.ts";
import { rowOfSql, type SqlValue, toSql } from "../sql-values.ts";

/** Values that one statement takes; SQLite's own bound is 32,766. */
const valuesMax = 512;
/** Rows in one statement, where that many values allow. Measured: 32 write twice as fast as one, 64 no faster. */
const rowsMax = 32;

export class RowStatements {
  readonly projection: CompiledProjection;
  readonly #database: DatabaseSync;
  readonly #ref: GenerationRef;
  readonly #upsertMany: StatementSync;
  readonly #upsertOne: StatementSync;
  readonly #manyRows: number;
  readonly #deleteOne: StatementSync;
  readonly #selectMany: StatementSync;
  readonly #selectOne: StatementSync;
  readonly #manyKeys: number;
  readonly #values: SqlValue[] = [];

  constructor(database: DatabaseSync, ref: GenerationRef) {
    this.#database = database;
    this.#ref = ref;
    const { projection } = ref;
    this.projection = projection;
    const columns = storedColumns(projection).length;
    this.#manyRows = Math.max(1, Math.min(rowsMax, Math.floor(valuesMax / columns)));
    this.#manyKeys = Math.max(1, Math.min(rowsMax, Math.floor(valuesMax / projection.key.length)));
    this.#upsertMany = database.prepare(upsertRows(ref, this.#manyRows));
    this.#upsertOne = database.prepare(upsertRows(ref, 1));
    this.#deleteOne = database.prepare(deleteRows(ref, 1));
    this.#selectMany = asLists(database.prepare(selectRows(ref, this.#manyKeys)));
    this.#selectOne = asLists(database.prepare(selectRows(ref, 1)));
  }

  write(rows: readonly RowWrite[]): void {
    const values = this.#values;
    values.length = 0;
    let waiting = 0;
    for (const write of rows) {
      if (write.row === null) {
        this.#deleteOne.run(...write.key.map(sqlOfKey));
        continue;
      }
      this.#addValues(write);
      if (++waiting < this.#manyRows) continue;
      this.#upsertMany.run(...values);
      values.length = 0;
      waiting = 0;
    }
    const perRow = waiting === 0 ? 0 : values.length / waiting;
    for (let i = 0; i < waiting; i++) this.#upsertOne.run(...values.slice(i * perRow, (i + 1) * perRow));
    values.length = 0;
  }

  eraseSources(sources: readonly string[]): void {
    this.#database.prepare(deleteSources(this.#ref, sources.length)).run(...sources);
  }

  load(keys: readonly RowKey[]): readonly (SourcedRow | undefined)[] {
    const found = new Map<string, SourcedRow>();
    let from = 0;
    for (; from + this.#manyKeys <= keys.length; from += this.#manyKeys) {
      this.#loadInto(found, this.#selectMany, keys.slice(from, from + this.#manyKeys));
    }
    for (; from < keys.length; from++) this.#loadInto(found, this.#selectOne, [keys[from]!]);
    return keys.map((key) => found.get(idOf(key)));
  }

  /** Rows in the order of their keys, from behind one on. */
  page(
    after: RowKey | undefined,
    limit: number,
  ): { readonly rows: SourcedRow[]; readonly lastKey: RowKey | undefined } {
    const { projection } = this;
    const names = projection.key.map(({ name }) => quoted(name)).join(",");
    const columns = storedColumns(projection).map(quoted).join(",");
    const places = projection.key.map(() => "?").join(",");
    const where = after === undefined ? "" : `WHERE (${names}) > (${places})`;
    const table = quoted(rowsTable(projection.name, this.#ref.generation));
    const sql = `SELECT ${columns} FROM ${table} ${where} ORDER BY ${names} LIMIT ${limit}`;
    const lists = asLists(this.#database.prepare(sql)).all(...(after ?? []).map(sqlOfKey)) as unknown as unknown[][];
    const rows = lists.map((values) => this.#rowOf(values));
    const last = rows.at(-1);
    return { rows, lastKey: last === undefined ? undefined : this.#keyOf(last) };
  }

  #addValues(write: RowWrite): void {
    const { columns, ownKey } = this.projection;
    const row = write.row!;
    for (let i = 0; i < columns.length; i++) {
      const { name, type } = columns[i]!;
      this.#values.push(toSql(type, row[name]!));
    }
    if (!ownKey) this.#values.push(write.source);
  }

  #loadInto(found: Map<string, SourcedRow>, statement: StatementSync, keys: readonly RowKey[]): void {
    const lists = statement.all(...keys.flatMap((key) => key.map(sqlOfKey))) as unknown as unknown[][];
    for (const values of lists) {
      const row = this.#rowOf(values);
      found.set(idOf(this.#keyOf(row)), row);
    }
  }

  #rowOf(values: readonly unknown[]): SourcedRow {
    const { projection } = this;
    const row = rowOfSql(projection, values);
    const source = projection.ownKey ? row[projection.key[0]!.name] : values[projection.columns.length];
    return { row, source: source as string };
  }

  #keyOf({ row }: SourcedRow): RowKey {
    return this.projection.key.map(({ name }) => row[name] as string | number | boolean);
  }
}

function idOf(key: RowKey): string {
  return key.length === 1 ? String(key[0]) : JSON.stringify(key);
}

function sqlOfKey(value: string | number | boolean): SqlValue {
  return typeof value === "boolean" ? (value ? 1 : 0) : value;
}

function asLists(statement: StatementSync): StatementSync {
  statement.setReturnArrays(true);
  return statement;
}
