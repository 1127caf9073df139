// KeyTables: the SQLite file of a key store: its tables, settings and statements.
//
//   facts    id of the store, format, number of erasures
//   ids      28 bytes (digest of the entity, life) -> slot
//   keys     slot -> 32 random bytes, zeros once erased
//   erased   digest of the entity -> the tombstone before which all its lives are over
//
// Keys lie apart from their names because of how SQLite's trees move cells: a tree in the order of digests splits its
// pages, and a split leaves copies of moved cells behind that `secure_delete` does not overwrite (measured: 3 of 6,000
// erased keys). Rows of `keys` are only ever added at the end and overwritten in place, so they never move.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { entityDigestBytes, keyNameBytes, lifeBytes } from "./life.ts";

export const keyBytes = 32;

const storeFormat = 1;
/** More than the longest transaction of anybody takes. */
const busyTimeoutMs = 60_000;

// Many rows in one statement: a call into SQLite for each would take several times as long.
const places = "WITH RECURSIVE place(i) AS (SELECT 0 WHERE ?1 > 0 UNION ALL SELECT i + 1 FROM place WHERE i + 1 < ?1)";
const nameOfPlace = `substr(?2, i * ${keyNameBytes} + 1, ${keyNameBytes})`;
const digestOfPlace = `substr(?2, i * ${keyNameBytes} + 1, ${entityDigestBytes})`;
const lifeOfPlace = `substr(?2, i * ${keyNameBytes} + ${entityDigestBytes + 1}, ${lifeBytes})`;

/** Errors are SQLite's and the file system's own. */
export class KeyTables {
  readonly id: string;
  readonly #database: DatabaseSync;
  readonly #find: StatementSync;
  readonly #findErased: StatementSync;
  readonly #addNames: StatementSync;
  readonly #addKeys: StatementSync;

  constructor(file: string, create: boolean) {
    if (!fs.existsSync(file)) {
      if (!create) throw new Error("there is no such file");
      makeFile(file);
    }
    fs.accessSync(file, fs.constants.R_OK | fs.constants.W_OK);
    this.#database = new DatabaseSync(file, { timeout: busyTimeoutMs });
    try {
      // `extra` makes the end of the rollback journal durable too: it holds the page as it was, with the erased key.
      this.#database.exec(
        "PRAGMA secure_delete = ON; PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;",
      );
      this.id = this.#prepare(create);
      this.#find = this.#rows(`SELECT i, key FROM place JOIN ids ON id = ${nameOfPlace} JOIN keys USING (slot)`);
      this.#findErased = this.#rows(
        `SELECT i FROM place JOIN erased ON entity = ${digestOfPlace} WHERE ${lifeOfPlace} < tombstone`,
      );
      this.#addNames = this.#database.prepare(`${places} INSERT INTO ids SELECT ${nameOfPlace}, ?3 + i FROM place`);
      this.#addKeys = this.#database.prepare(
        `${places} INSERT INTO keys SELECT ?3 + i, substr(?2, i * ${keyBytes} + 1, ${keyBytes}) FROM place`,
      );
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** The keys of those names that have one, by their place among the `count` names in `packed`. */
  find(count: number, packed: Uint8Array): readonly (readonly [place: number, key: Uint8Array])[] {
    return this.#find.all(count, packed) as unknown as [number, Uint8Array][];
  }

  /** The places of those names whose life is over. */
  findErased(count: number, packed: Uint8Array): number[] {
    return (this.#findErased.all(count, packed) as unknown as [number][]).map(([place]) => place);
  }

  /** Inside of a transaction. */
  add(count: number, packed: Uint8Array, keys: Uint8Array): void {
    const firstSlot = this.number("SELECT coalesce(max(slot), 0) + 1 AS n FROM keys");
    this.#addNames.run(count, packed, firstSlot);
    this.#addKeys.run(count, keys, firstSlot);
  }

  /** Inside of a transaction: overwrites the keys of an entity's lives before `limit`; says how many there were. */
  erase(digest: Uint8Array, limit: Uint8Array): number {
    const range = [digest, Buffer.concat([digest, limit])] as const;
    const slots = this.#database.prepare("SELECT slot FROM ids WHERE id >= ? AND id < ?").all(...range);
    const overwrite = this.#database.prepare(`UPDATE keys SET key = zeroblob(${keyBytes}) WHERE slot = ?`);
    for (const row of slots) overwrite.run(row["slot"]!);
    this.#database.prepare("DELETE FROM ids WHERE id >= ? AND id < ?").run(...range);
    this.#database
      .prepare(
        "INSERT INTO erased VALUES (?, ?) ON CONFLICT DO UPDATE SET tombstone = max(tombstone, excluded.tombstone)",
      )
      .run(digest, limit);
    return slots.length;
  }

  keysBefore(digest: Uint8Array, limit: Uint8Array): number {
    const range = [digest, Buffer.concat([digest, limit])] as const;
    return Number(this.#database.prepare("SELECT count(*) AS n FROM ids WHERE id >= ? AND id < ?").get(...range)!["n"]);
  }

  erasedBefore(digest: Uint8Array): Uint8Array | undefined {
    const row = this.#database.prepare("SELECT tombstone FROM erased WHERE entity = ?").get(digest);
    return row?.["tombstone"] as Uint8Array | undefined;
  }

  countErasure(): void {
    this.#database.exec("UPDATE facts SET value = value + 1 WHERE name = 'erasures'");
  }

  /** The column `n` of the only row. */
  number(sql: string): number {
    return Number(this.#database.prepare(sql).get()?.["n"]);
  }

  transaction<T>(work: () => T): T {
    // Immediate: whoever reads first and wants to write later may find that somebody else wrote in between.
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  #prepare(create: boolean): string {
    const known = this.number("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'facts'");
    if (known === 0) {
      if (!create) throw new Error("it is no key store");
      this.transaction(() => {
        this.#database.exec(`
          CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
          CREATE TABLE IF NOT EXISTS ids (id BLOB PRIMARY KEY, slot INTEGER NOT NULL) WITHOUT ROWID;
          CREATE TABLE IF NOT EXISTS keys (slot INTEGER PRIMARY KEY, key BLOB NOT NULL);
          CREATE TABLE IF NOT EXISTS erased (entity BLOB PRIMARY KEY, tombstone BLOB NOT NULL) WITHOUT ROWID;
          INSERT OR IGNORE INTO facts VALUES ('format', ${storeFormat}), ('id', '${randomUUID()}'), ('erasures', 0);
        `);
      });
    }
    const format = this.number("SELECT value AS n FROM facts WHERE name = 'format'");
    if (format !== storeFormat) throw new Error(`format version ${format}, this program knows ${storeFormat}`);
    return String(this.#database.prepare("SELECT value FROM facts WHERE name = 'id'").get()!["value"]);
  }

  #rows(select: string): StatementSync {
    const statement = this.#database.prepare(`${places} ${select}`);
    statement.setReturnArrays(true);
    return statement;
  }
}

// Only the owner may read it, from its first byte on.
function makeFile(file: string): void {
  const folder = path.dirname(path.resolve(file));
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  fs.closeSync(fs.openSync(file, "a", 0o600));
  const descriptor = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
