// NatsErasures: what is to be taken out of NATS, kept durably until it is (P6).
//
// A shard says which entries of its log it is about to erase, before it does; and asks, afterwards and as often as it likes,
// whether they are gone. Only then is anything done: from the first question on, whatever is read from the log is clean.
//
// X1. What `bury` took in is on the disk when it returns, and stays there until nothing of it is left in NATS.
// X2. Both may be repeated: after a crash they are.
// Not promised: that a server which is away forever forgets anything.
import type { StatementSync } from "node:sqlite";
import type { HeddleError } from "@heddle/kernel";
import type { ReaderState } from "../reader-state.ts";

export interface ErasedLife {
  readonly shard: number;
  readonly entity: string;
  /** Sequence of its tombstone. */
  readonly seq: number;
  /** Position of its tombstone. */
  readonly position: number;
}

/** Pending entries of transactions that were aborted have no tombstone and no entity of their own. */
const aborted = "";

export interface ErasureTask {
  readonly ids: readonly number[];
  /** Ascending, each once. */
  readonly positions: readonly number[];
  readonly lives: readonly ErasedLife[];
}

export class NatsErasures {
  readonly #state: ReaderState;
  readonly #insert: StatementSync;
  readonly #ask: StatementSync;
  readonly #count: StatementSync;
  readonly #asked: StatementSync;
  readonly #delete: StatementSync;
  /** Shards with something that was asked for. */
  readonly #due = new Set<number>();
  /** Why nothing goes on for a shard at present. */
  problemOf: (shard: number) => HeddleError | undefined = () => undefined;
  onDue: () => void = () => {};

  constructor(state: ReaderState) {
    this.#state = state;
    const { database } = state;
    state.tables("nats", [
      `CREATE TABLE nats_erasures (
        id INTEGER PRIMARY KEY,
        shard INTEGER NOT NULL,
        tombstone INTEGER NOT NULL,
        entity TEXT NOT NULL,
        seq INTEGER NOT NULL,
        first INTEGER NOT NULL,
        positions BLOB NOT NULL,
        asked INTEGER NOT NULL,
        UNIQUE (shard, tombstone, first)
      ) STRICT`,
    ]);
    this.#insert = database.prepare(
      "INSERT INTO nats_erasures (shard, tombstone, entity, seq, first, positions, asked) VALUES (?, ?, ?, ?, ?, ?, ?) " +
        "ON CONFLICT (shard, tombstone, first) DO UPDATE SET positions = excluded.positions",
    );
    this.#ask = database.prepare("UPDATE nats_erasures SET asked = 1 WHERE shard = ? AND tombstone = ? AND asked = 0");
    this.#count = database.prepare("SELECT count(*) AS rows FROM nats_erasures WHERE shard = ? AND tombstone = ?");
    this.#asked = database.prepare("SELECT * FROM nats_erasures WHERE shard = ? AND asked = 1 ORDER BY id LIMIT 64");
    this.#delete = database.prepare("DELETE FROM nats_erasures WHERE id = ?");
    for (const { shard } of database.prepare("SELECT DISTINCT shard FROM nats_erasures WHERE asked = 1").all())
      this.#due.add(Number(shard));
  }

  /**
   * Takes in positions of entries of a life that has ended, before the log overwrites them. To be called several times when
   * there are many; with none at all the life is still remembered, for its events have messages of their own. Durable when
   * it returns.
   */
  bury(life: ErasedLife, positions: Float64Array): void {
    const bytes = new Uint8Array(positions.buffer, positions.byteOffset, positions.byteLength);
    this.#insert.run(life.shard, life.position, life.entity, life.seq, positions[0] ?? -1, bytes, 0);
  }

  /** The log is clean by now. `gone`: no message has a byte of it. An error says why it does not go on at present. */
  gone(life: ErasedLife): "gone" | "waiting" | HeddleError {
    if (this.#count.get(life.shard, life.position)?.rows === 0) return "gone";
    if (Number(this.#ask.run(life.shard, life.position).changes) > 0) this.#makeDue(life.shard);
    return this.problemOf(life.shard) ?? "waiting";
  }

  /** Pending entries that were overwritten before the record at a position said so. Durable when it returns. */
  buryAborted(shard: number, position: number, positions: readonly number[]): void {
    const bytes = new Uint8Array(Float64Array.from(positions).buffer);
    this.#insert.run(shard, position, aborted, 0, positions[0] ?? -1, bytes, 1);
    this.#makeDue(shard);
  }

  isDue(shard: number): boolean {
    return this.#due.has(shard);
  }

  /** Some of what is to be done in a shard now, or undefined. */
  next(shard: number): ErasureTask | undefined {
    const rows = this.#asked.all(shard);
    if (rows.length === 0) {
      this.#due.delete(shard);
      return undefined;
    }
    const positions = new Set<number>();
    for (const { positions: bytes } of rows)
      for (const position of new Float64Array((bytes as Uint8Array).slice().buffer)) positions.add(position);
    const lives = rows
      .filter(({ entity }) => entity !== aborted)
      .map(({ entity, seq, tombstone }) => ({
        shard,
        entity: String(entity),
        seq: Number(seq),
        position: Number(tombstone),
      }));
    return {
      ids: rows.map(({ id }) => Number(id)),
      positions: [...positions].sort((a, b) => a - b),
      lives,
    };
  }

  /** Nothing of it is left in NATS. */
  done(task: ErasureTask): void {
    this.#state.transaction(() => {
      for (const id of task.ids) this.#delete.run(id);
    });
  }

  #makeDue(shard: number): void {
    this.#due.add(shard);
    this.onDue();
  }
}
