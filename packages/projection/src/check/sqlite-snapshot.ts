// SqliteSnapshot: the file of the SQLite sink as it is at one moment, read beside whoever writes to it. Changes nothing.
import { DatabaseSync } from "node:sqlite";
import type { CompiledProjection } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import type { GenerationRef, GenerationState, Held, SourcedRow } from "../sink.ts";
import { quoted, rowsTable, storedColumns } from "../sql-tables.ts";
import { rowOfSql } from "../sql-values.ts";
import type { StoredRows } from "./check-projection.ts";

const pageRows = 1_000;

export interface SnapshotGeneration {
  readonly projection: string;
  readonly live: boolean;
  readonly state: GenerationState;
  readonly table: string;
}

export class SqliteSnapshot {
  readonly #database: DatabaseSync;
  readonly #file: string;

  /** Errors: `SINK_REFUSED` for what is no such file. */
  constructor(file: string) {
    this.#file = file;
    this.#database = this.#guarded(() => new DatabaseSync(file, { readOnly: true, timeout: 5_000 }));
    // What is read first fixes the moment.
    this.#guarded(() => this.#database.exec("BEGIN; SELECT count(*) FROM heddle_generations"));
  }

  generations(): readonly SnapshotGeneration[] {
    return this.#all("SELECT * FROM heddle_generations").map((row) => {
      const projection = String(row["projection"]);
      const generation = Number(row["generation"]);
      return {
        projection,
        live: row["live"] === 1,
        table: rowsTable(projection, generation),
        state: {
          generation,
          version: Number(row["version"]),
          shape: String(row["shape"]),
          revision: Number(row["revision"]),
          positions: JSON.parse(String(row["positions"])) as number[],
          facts: String(row["facts"]),
        },
      };
    });
  }

  /** The live rows of a projection; undefined when there are none, or they are those of another definition. */
  stored(projection: CompiledProjection): StoredRows | undefined {
    const live = this.generations().find((one) => one.live && one.projection === projection.name);
    if (live === undefined) return undefined;
    const { state } = live;
    const ref: GenerationRef = { projection, generation: state.generation };
    return { state, held: this.held(projection.name, state.generation), rows: this.#rows(ref) };
  }

  held(projection: string, generation: number): readonly Held[] {
    const sql = "SELECT record FROM heddle_held WHERE projection = ? AND generation = ?";
    return this.#all(sql, projection, generation).map((row) => JSON.parse(String(row["record"])) as Held);
  }

  /** Rows of any table of rows whose column has a text. */
  countWhere(table: string, column: string, text: string): number {
    const sql = `SELECT count(*) AS rows FROM ${quoted(table)} WHERE ${quoted(column)} = ?`;
    return Number(this.#all(sql, text)[0]!["rows"]);
  }

  columnsOf(table: string): readonly { readonly name: string; readonly isKey: boolean }[] {
    return this.#all("SELECT name, pk FROM pragma_table_info(?)", table).map(({ name, pk }) => {
      return { name: String(name), isKey: Number(pk) > 0 };
    });
  }

  close(): void {
    this.#database.close();
  }

  *#rows(ref: GenerationRef): Generator<readonly SourcedRow[]> {
    const { projection } = ref;
    const columns = storedColumns(projection).map(quoted).join(",");
    const statement = this.#guarded(() =>
      this.#database.prepare(`SELECT ${columns} FROM ${quoted(rowsTable(projection.name, ref.generation))}`),
    );
    statement.setReturnArrays(true);
    let page: SourcedRow[] = [];
    for (const values of statement.iterate() as Iterable<unknown> as Iterable<readonly unknown[]>) {
      const row = rowOfSql(projection, values);
      const source = projection.ownKey ? row[projection.key[0]!.name] : values[projection.columns.length];
      page.push({ row, source: String(source) });
      if (page.length < pageRows) continue;
      yield page;
      page = [];
    }
    yield page;
  }

  #all(sql: string, ...params: (string | number)[]): Record<string, unknown>[] {
    return this.#guarded(() => this.#database.prepare(sql).all(...params) as Record<string, unknown>[]);
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw new HeddleError(
        "SINK_REFUSED",
        { sink: this.#file, message: (thrown as Error).message },
        { cause: thrown },
      );
    }
  }
}
