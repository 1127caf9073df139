// OpenTransactions: which transactions the log has begun and not ended. Told by the log alone, entry by entry, so that a
// shard, its recovery and a rebuild of the index come to the same.
import { type EntryView, entryFlags } from "@heddle/event-log/internal";
import { type ReadonlyTurnoverMap, TurnoverMap } from "@heddle/kernel/internal";
import type { OpenTransactions as Records } from "@heddle/partition/internal";
import { type JournalFacts, readJournal } from "./journal.ts";

export interface PendingEntry {
  readonly coordinator: number;
  readonly number: number;
}

export class OpenTransactions {
  /** By position. */
  readonly #pending = new TurnoverMap<number, PendingEntry>();
  /** By number, the shards that have something to apply. */
  readonly #decided = new TurnoverMap<number, readonly number[]>();

  /** What the last decision said of those before it. */
  #settledFrom = 0;
  #settledBelow = 0;

  constructor({ pending, decided }: Records) {
    for (const { position, coordinator, number } of pending) this.addPending(position, { coordinator, number });
    for (const { number, shards } of decided) this.#decided.set(number, shards);
  }

  /** Pending entries that are neither applied nor aborted, by position. */
  get pending(): ReadonlyTurnoverMap<number, PendingEntry> {
    return this.#pending;
  }

  /** Decided here, and not known in the log to be settled by all, by number. */
  get decided(): ReadonlyTurnoverMap<number, readonly number[]> {
    return this.#decided;
  }

  /** Takes in an entry of the log, if it is one of those that concern transactions. */
  take(entry: EntryView): void {
    const { flags, position, session, call } = entry;
    if ((flags & entryFlags.journal) !== 0) this.note(readJournal(entry).facts);
    else if ((flags & entryFlags.pending) !== 0) this.addPending(position, { coordinator: session - 1, number: call });
    else if ((flags & entryFlags.applied) !== 0) this.dropPending(call);
  }

  addPending(position: number, pending: PendingEntry): void {
    this.#pending.set(position, pending);
  }

  dropPending(position: number): void {
    this.#pending.delete(position);
  }

  note(facts: JournalFacts): void {
    switch (facts.kind) {
      case "decided":
        this.#noteDecided(facts.number, facts.shards, facts.settled);
        return;
      case "aborted":
        for (const position of facts.positions) this.#pending.delete(position);
        return;
      case "settled":
        for (const number of facts.numbers) this.#decided.delete(number);
    }
  }

  /** As a checkpoint writes them. */
  records(): Records {
    return {
      pending: [...this.#pending]
        .map(([position, { coordinator, number }]) => ({ position, coordinator, number }))
        .sort((a, b) => a.position - b.position),
      decided: [...this.#decided].map(([number, shards]) => ({ number, shards })).sort((a, b) => a.number - b.number),
    };
  }

  #noteDecided(number: number, shards: readonly number[], [from, below]: readonly [number, number]): void {
    if (below !== this.#settledBelow || from !== this.#settledFrom) {
      this.#settledFrom = from;
      this.#settledBelow = below;
      for (const known of this.#decided.keys()) if (known >= from && known < below) this.#decided.delete(known);
    }
    if (shards.length > 0) this.#decided.set(number, shards);
  }
}
