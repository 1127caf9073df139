// FilledGaps: which messages of the logs' streams repairs stand for, kept on the disk.
//
// A stream says which of its messages are gone, and not what they held. Whoever wants to know whether repairs have all of that has
// to read what stands beside each gap. What was read once, or made so by an erasure, is noted here, and need not be read again at
// the next connection.
//
// K1. A gap that is noted is filled for as long as its messages are gone and its repairs are there. Both are to be looked at.
// Not promised: that each one is noted. What is not, after a crash too, is read once more.
import type { StatementSync } from "node:sqlite";
import type { ReaderState } from "../reader-state.ts";

export interface FilledGap {
  /** Sequences of messages that are gone: the first and the last, and all between. */
  readonly first: number;
  readonly last: number;
  /** What holds their records, together. None where the messages beside the gap have them. */
  readonly repairs: readonly RepairPlace[];
}

export interface RepairPlace {
  readonly from: number;
  readonly parts: number;
}

export class FilledGaps {
  readonly #state: ReaderState;
  readonly #read: StatementSync;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;

  constructor(state: ReaderState) {
    this.#state = state;
    const { database } = state;
    state.tables("nats-gaps", [
      `CREATE TABLE nats_gaps (
        shard INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        stream TEXT NOT NULL,
        repairs BLOB NOT NULL,
        PRIMARY KEY (shard, first)
      ) STRICT`,
    ]);
    this.#read = database.prepare("SELECT first, last, repairs FROM nats_gaps WHERE shard = ? AND stream = ?");
    this.#insert = database.prepare("INSERT OR REPLACE INTO nats_gaps VALUES (?, ?, ?, ?, ?)");
    this.#delete = database.prepare("DELETE FROM nats_gaps WHERE shard = ?");
  }

  /** By ascending sequence. `stream`: which one of this name, for one that is made anew begins with the same sequences. */
  of(shard: number, stream: string): FilledGap[] {
    return this.#read
      .all(shard, stream)
      .map(({ first, last, repairs }) => ({
        first: Number(first),
        last: Number(last),
        repairs: placesIn(repairs as Uint8Array),
      }))
      .sort((a, b) => a.first - b.first);
  }

  add(shard: number, stream: string, gaps: readonly FilledGap[]): void {
    if (gaps.length > 0) this.#state.transaction(() => this.#write(shard, stream, gaps));
  }

  /** Those and no others. */
  replace(shard: number, stream: string, gaps: readonly FilledGap[]): void {
    this.#state.transaction(() => {
      this.#delete.run(shard);
      this.#write(shard, stream, gaps);
    });
  }

  #write(shard: number, stream: string, gaps: readonly FilledGap[]): void {
    for (const { first, last, repairs } of gaps) {
      const numbers = Float64Array.from(repairs.flatMap(({ from, parts }) => [from, parts]));
      this.#insert.run(shard, first, last, stream, new Uint8Array(numbers.buffer));
    }
  }
}

function placesIn(bytes: Uint8Array): RepairPlace[] {
  const numbers = new Float64Array(bytes.slice().buffer);
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({ from: numbers[2 * i]!, parts: numbers[2 * i + 1]! }));
}
