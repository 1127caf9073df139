// ReaderState: what readers over all entities keep for good: positions of consumer groups, what the publisher still has to
// erase. One SQLite file; each reader has tables of its own, which only it knows.
//
// R1. What a transaction wrote is on the disk when it returns.
// R2. No payload of an event stands here. What is deleted is overwritten.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HeddleError } from "@heddle/kernel";

export class ReaderState {
  readonly database: DatabaseSync;
  readonly #file: string;

  private constructor(database: DatabaseSync, file: string) {
    this.database = database;
    this.#file = file;
  }

  /** Makes the file, and its folder, where they are not there. Errors: `DATA_FOLDER_UNWRITABLE`. */
  static open(file: string): ReaderState {
    const folder = path.dirname(file);
    try {
      fs.mkdirSync(folder, { recursive: true });
      const database = new DatabaseSync(file, { timeout: busyMs });
      try {
        database.exec(`
          PRAGMA journal_mode = WAL;
          PRAGMA synchronous = FULL;
          PRAGMA secure_delete = ON;
          CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
        `);
      } catch (error) {
        database.close();
        throw error;
      }
      syncFolder(folder);
      syncFolder(path.dirname(folder));
      return new ReaderState(database, file);
    } catch (cause) {
      const message = `${path.basename(file)}: ${(cause as Error).message}`;
      throw new HeddleError("DATA_FOLDER_UNWRITABLE", { folder, message }, { cause });
    }
  }

  /**
   * Makes an owner's tables, or brings them up to date: step i is SQL that takes them from version i to version i + 1.
   * Errors: `DATA_FOLDER_VERSION` for tables that a later Heddle has made.
   */
  tables(owner: string, steps: readonly string[]): void {
    this.transaction(() => {
      const row = this.database.prepare("SELECT version FROM owners WHERE owner = ?").get(owner);
      const found = Number(row?.["version"] ?? 0);
      if (found > steps.length) {
        throw new HeddleError("DATA_FOLDER_VERSION", { folder: this.#file, found, supported: steps.length });
      }
      for (const step of steps.slice(found)) this.database.exec(step);
      this.database
        .prepare("INSERT INTO owners VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET version = excluded.version")
        .run(owner, steps.length);
    });
  }

  /** All that it writes becomes durable together, or nothing when it throws. Must not wait for anything. */
  transaction<T>(run: () => T): T {
    this.database.exec("BEGIN IMMEDIATE");
    try {
      const result = run();
      this.database.exec("COMMIT");
      return result;
    } catch (error) {
      // A failed COMMIT may have ended the transaction already.
      if (this.database.isTransaction) this.database.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.database.close();
  }
}

/** Nobody else writes here but a thread of this node that is just ending. */
const busyMs = 5_000;

function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
