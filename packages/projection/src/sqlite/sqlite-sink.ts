// SqliteSink: projections in one SQLite file of the node's own.
//
// One write is one transaction. WAL with synchronous=NORMAL: a commit waits for no disk, and after a power cut the file is as it
// was after some earlier commit. That is enough, because the position goes back together with the rows, and the log is the truth.
// What was asked to be gone is gone for good all the same: a scrub syncs.
//
// The file is derived. One that is damaged is removed and made anew, and its projections are built again; it is not kept aside,
// because nobody would erase in it (P6).
// Not promised: that another program can write to the file.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { RowKey } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import type {
  GenerationRef,
  GenerationState,
  Held,
  SagaOutcome,
  Sink,
  SinkBatch,
  SourcedRow,
  StoredProjection,
} from "../sink.ts";
import { catalogTables, createRowsTable, quoted, rowsTable, showRows } from "../sql-tables.ts";
import { RowStatements } from "./row-statements.ts";
import { scrubPages } from "./scrub-pages.ts";

export interface SqliteSinkOptions {
  readonly file: string;
  /** How long a lock of another process is waited for, in ms. The thread stands still meanwhile. */
  readonly busyTimeoutMs?: number | undefined;
  /** The file grows no further than about this; a write that would is refused, as by a full disk. Default: no bound. */
  readonly bytesMax?: number | undefined;
  /** Told when the file was damaged and has been made anew: whoever else has it open holds a file that is gone. */
  readonly onReplaced?: ((problem: string) => void) | undefined;
}

/** Entities whose rows one statement deletes. */
const sourcesMax = 100;
/** Rows that one page of `rows` has. */
const pageRowsMax = 1_000;

const resultCodes = {
  busy: 5,
  locked: 6,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notSqlite: 26,
};

export class SqliteSink implements Sink {
  readonly name = "sqlite";
  readonly kind = "sqlite";
  readonly file: string;
  readonly #options: SqliteSinkOptions;
  #open: DatabaseSync | undefined;
  /** By projection and generation. */
  readonly #rows = new Map<string, RowStatements>();
  #catalog = new Map<string, StatementSync>();

  constructor(options: SqliteSinkOptions) {
    this.#options = options;
    this.file = options.file;
  }

  open(): void {
    if (this.#open !== undefined) return;
    try {
      this.#connect();
    } catch (thrown) {
      if (!isDamage(thrown)) throw this.#error(thrown);
      this.#removeDamaged(thrown);
      try {
        this.#connect();
      } catch (again) {
        throw this.#error(again);
      }
    }
  }

  list(): readonly string[] {
    return this.#guarded(() =>
      this.#all("SELECT projection FROM heddle_projections UNION SELECT projection FROM heddle_generations").map(
        (row) => String(row["projection"]),
      ),
    );
  }

  describe(projection: string): StoredProjection | undefined {
    return this.#guarded(() => {
      const settings = this.#all("SELECT settings FROM heddle_projections WHERE projection = ?", projection)[0];
      const generations = this.#all("SELECT * FROM heddle_generations WHERE projection = ?", projection);
      if (settings === undefined && generations.length === 0) return undefined;
      const stateOf = (live: number): GenerationState | undefined => {
        const row = generations.find((one) => one["live"] === live);
        if (row === undefined) return undefined;
        return {
          generation: Number(row["generation"]),
          version: Number(row["version"]),
          shape: String(row["shape"]),
          revision: Number(row["revision"]),
          positions: JSON.parse(String(row["positions"])) as number[],
          facts: String(row["facts"]),
        };
      };
      return { projection, live: stateOf(1), next: stateOf(0), settings: String(settings?.["settings"] ?? "") };
    });
  }

  create(ref: GenerationRef, state: GenerationState): void {
    const { projection, generation } = ref;
    this.#transaction(() => {
      const generations = this.#all(
        "SELECT generation, live, table_name FROM heddle_generations WHERE projection = ?",
        projection.name,
      );
      const begunAnew = generations.find((one) => one["generation"] === generation);
      const isLive = begunAnew === undefined ? generations.every((one) => one["live"] === 0) : begunAnew["live"] === 1;
      for (const one of generations)
        if (one === begunAnew || one["live"] === 0) this.#dropGeneration(projection.name, one);
      for (const statement of createRowsTable(ref)) this.#database.exec(statement);
      this.#run(
        "INSERT INTO heddle_generations VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?)",
        projection.name,
        generation,
        isLive ? 1 : 0,
        projection.table,
        state.version,
        state.shape,
        state.revision,
        JSON.stringify(state.positions),
        state.facts,
      );
      if (isLive) this.#show(ref);
    });
  }

  swap(ref: GenerationRef): void {
    const { projection, generation } = ref;
    this.#transaction(() => {
      const generations = this.#all(
        "SELECT generation, live, table_name FROM heddle_generations WHERE projection = ?",
        projection.name,
      );
      for (const one of generations) if (one["generation"] !== generation) this.#dropGeneration(projection.name, one);
      const found = "UPDATE heddle_generations SET live = 1, table_name = ? WHERE projection = ? AND generation = ?";
      if (this.#run(found, projection.table, projection.name, generation) !== 1) {
        throw this.#refused(`it has no generation ${generation} of ${projection.name}`);
      }
      this.#show(ref);
    });
  }

  dropNext(projection: string): void {
    this.#transaction(() => {
      const next = "SELECT generation, live, table_name FROM heddle_generations WHERE projection = ? AND live = 0";
      for (const one of this.#all(next, projection)) this.#dropGeneration(projection, one);
    });
  }

  forget(projection: string): void {
    this.#transaction(() => {
      const all = "SELECT generation, live, table_name FROM heddle_generations WHERE projection = ?";
      for (const one of this.#all(all, projection)) this.#dropGeneration(projection, one);
      this.#run("DELETE FROM heddle_projections WHERE projection = ?", projection);
    });
  }

  settings(projection: string, settings: string): void {
    this.#guarded(() =>
      this.#run(
        "INSERT INTO heddle_projections VALUES (?, ?) ON CONFLICT DO UPDATE SET settings = excluded.settings",
        projection,
        settings,
      ),
    );
  }

  load(ref: GenerationRef, keys: readonly RowKey[]): readonly (SourcedRow | undefined)[] {
    return this.#guarded(() => this.#statementsOf(ref).load(keys));
  }

  held({ projection, generation }: GenerationRef): readonly Held[] {
    const records = "SELECT record FROM heddle_held WHERE projection = ? AND generation = ?";
    return this.#guarded(() =>
      this.#all(records, projection.name, generation).map((row) => JSON.parse(String(row["record"])) as Held),
    );
  }

  outcomes({ projection, generation }: GenerationRef): readonly SagaOutcome[] {
    const outcomes = "SELECT outcome FROM heddle_outcomes WHERE projection = ? AND generation = ?";
    return this.#guarded(() =>
      this.#all(outcomes, projection.name, generation).map((row) => JSON.parse(String(row["outcome"])) as SagaOutcome),
    );
  }

  write(ref: GenerationRef, batch: SinkBatch): void {
    this.#transaction(() => {
      const { name } = ref.projection;
      const moved = this.#run(
        "UPDATE heddle_generations SET revision = ?, writer = ?, positions = ?, facts = ? WHERE projection = ? AND generation = ? AND revision = ?",
        batch.revision,
        batch.writer,
        JSON.stringify(batch.positions),
        batch.facts,
        name,
        ref.generation,
        batch.revision - 1,
      );
      if (moved === 0) {
        this.#checkWritten(ref, batch);
        return;
      }
      const statements = this.#statementsOf(ref);
      for (let from = 0; from < batch.erased.length; from += sourcesMax) {
        statements.eraseSources(batch.erased.slice(from, from + sourcesMax));
      }
      statements.write(batch.rows);
      this.#writeHeld(ref, batch);
    });
  }

  async *rows(ref: GenerationRef): AsyncGenerator<readonly SourcedRow[]> {
    let after: RowKey | undefined;
    do {
      const last: RowKey | undefined = after;
      const { rows, lastKey } = this.#guarded(() => this.#statementsOf(ref).page(last, pageRowsMax));
      if (rows.length > 0) yield rows;
      after = rows.length === pageRowsMax ? lastKey : undefined;
    } while (after !== undefined);
  }

  /**
   * SQLite zeroes what it deletes (`secure_delete`), but where a page of a tree was split, copies of moved cells stay behind in
   * the page's free room. So the write-ahead log is emptied into the file, and then all free room of the file is zeroed.
   */
  scrub(): void {
    this.open();
    this.#guarded(() => {
      const [busy] = Object.values(this.#database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() ?? {});
      if (busy !== 0) throw this.#unavailable("a reader holds on to old pages of the file");
    });
    // Closed: what this connection has of the pages would be written back some day, free room and all; and a file descriptor of
    // this process that is closed takes SQLite's locks on the file with it.
    this.close();
    try {
      scrubPages(this.file);
    } catch (thrown) {
      throw this.#unavailable(messageOf(thrown), thrown);
    } finally {
      this.open();
    }
  }

  close(): void {
    this.#rows.clear();
    this.#catalog = new Map();
    const database = this.#open;
    this.#open = undefined;
    database?.close();
  }

  get #database(): DatabaseSync {
    if (this.#open === undefined) throw this.#unavailable("it is not open");
    return this.#open;
  }

  #connect(): void {
    fs.mkdirSync(path.dirname(path.resolve(this.file)), { recursive: true, mode: 0o700 });
    const database = new DatabaseSync(this.file, { timeout: this.#options.busyTimeoutMs ?? 2_000 });
    try {
      database.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; PRAGMA foreign_keys = OFF;",
      );
      const { bytesMax } = this.#options;
      if (bytesMax !== undefined) {
        const pageBytes = Number(database.prepare("PRAGMA page_size").get()!["page_size"]);
        database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(bytesMax / pageBytes))}`);
      }
      for (const statement of catalogTables) database.exec(statement);
    } catch (thrown) {
      database.close();
      throw thrown;
    }
    this.#open = database;
  }

  #removeDamaged(thrown: unknown): void {
    this.close();
    for (const file of [this.file, `${this.file}-wal`, `${this.file}-shm`, `${this.file}-journal`]) {
      fs.rmSync(file, { force: true });
    }
    this.#options.onReplaced?.(messageOf(thrown));
  }

  #dropGeneration(projection: string, generation: Record<string, unknown>): void {
    const number = Number(generation["generation"]);
    const table = rowsTable(projection, number);
    const view = String(generation["table_name"]);
    // Another projection may have been given the name since.
    const shown = this.#all("SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?", view)[0];
    if (String(shown?.["sql"]).endsWith(`FROM ${quoted(table)}`)) this.#database.exec(`DROP VIEW ${quoted(view)}`);
    this.#database.exec(`DROP TABLE IF EXISTS ${quoted(table)}`);
    for (const kept of ["heddle_held", "heddle_outcomes", "heddle_generations"]) {
      this.#run(`DELETE FROM ${kept} WHERE projection = ? AND generation = ?`, projection, number);
    }
    this.#rows.delete(table);
  }

  #show(ref: GenerationRef): void {
    for (const statement of showRows(ref)) this.#database.exec(statement);
  }

  // Its reply was lost, or somebody else writes (S2).
  #checkWritten({ projection, generation }: GenerationRef, batch: SinkBatch): void {
    const found = this.#all(
      "SELECT revision, writer FROM heddle_generations WHERE projection = ? AND generation = ?",
      projection.name,
      generation,
    )[0];
    if (found?.["revision"] === batch.revision && found["writer"] === batch.writer) return;
    throw this.#refused(`somebody else writes to the projection ${projection.name}`);
  }

  #writeHeld({ projection, generation }: GenerationRef, { held, outcomes }: SinkBatch): void {
    const { name } = projection;
    for (const [entity, record] of held) {
      if (record === null) {
        this.#run(
          "DELETE FROM heddle_held WHERE projection = ? AND generation = ? AND entity = ?",
          name,
          generation,
          entity,
        );
      } else {
        const sql = "INSERT OR REPLACE INTO heddle_held VALUES (?, ?, ?, ?)";
        this.#run(sql, name, generation, entity, JSON.stringify(record));
      }
    }
    for (const [saga, outcome] of outcomes) {
      if (outcome === null) {
        this.#run(
          "DELETE FROM heddle_outcomes WHERE projection = ? AND generation = ? AND saga = ?",
          name,
          generation,
          saga,
        );
      } else {
        const sql = "INSERT OR REPLACE INTO heddle_outcomes VALUES (?, ?, ?, ?)";
        this.#run(sql, name, generation, saga, JSON.stringify(outcome));
      }
    }
  }

  #statementsOf(ref: GenerationRef): RowStatements {
    const table = rowsTable(ref.projection.name, ref.generation);
    const known = this.#rows.get(table);
    if (known !== undefined && known.projection === ref.projection) return known;
    const made = new RowStatements(this.#database, ref);
    this.#rows.set(table, made);
    return made;
  }

  #statement(sql: string): StatementSync {
    const known = this.#catalog.get(sql);
    if (known !== undefined) return known;
    const made = this.#database.prepare(sql);
    this.#catalog.set(sql, made);
    return made;
  }

  #all(sql: string, ...params: (string | number)[]): Record<string, unknown>[] {
    return this.#statement(sql).all(...params) as Record<string, unknown>[];
  }

  #run(sql: string, ...params: (string | number)[]): number {
    return Number(this.#statement(sql).run(...params).changes);
  }

  #transaction(work: () => void): void {
    this.#guarded(() => {
      // Immediate: whoever reads first and wants to write later may find that somebody else wrote in between.
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        work();
        this.#database.exec("COMMIT");
      } catch (thrown) {
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw thrown;
      }
    });
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      if (thrown instanceof HeddleError) throw thrown;
      if (isDamage(thrown)) {
        this.#removeDamaged(thrown);
        this.open();
        throw this.#unavailable(`the file was damaged and has been made anew: ${messageOf(thrown)}`, thrown);
      }
      throw this.#error(thrown);
    }
  }

  #error(thrown: unknown): HeddleError {
    if (thrown instanceof HeddleError) return thrown;
    const code = codeOf(thrown);
    const passes = code === resultCodes.busy || code === resultCodes.locked;
    return passes ? this.#unavailable(messageOf(thrown), thrown) : this.#refused(messageOf(thrown), thrown);
  }

  #unavailable(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_UNAVAILABLE", { sink: this.name, message }, { cause });
  }

  #refused(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_REFUSED", { sink: this.name, message: `${message} (${this.file})` }, { cause });
  }
}

function isDamage(thrown: unknown): boolean {
  const code = codeOf(thrown);
  return code === resultCodes.corrupt || code === resultCodes.notSqlite;
}

/** SQLite's primary result code; the extended ones have it in their lowest byte. */
function codeOf(thrown: unknown): number | undefined {
  const { errcode } = (thrown ?? {}) as { readonly errcode?: unknown };
  return typeof errcode === "number" ? errcode & 0xff : undefined;
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
