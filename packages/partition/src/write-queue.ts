// Write queue: hands puts to LMDB's writer thread, within bounds, and tells when they are on disk and how it went.
//
// Q1. What is put between two calls of `begin` becomes readable and durable in one transaction, or not at all. lmdb
//     writes everything of one event-loop turn in one transaction; a unit is never spread over two turns.
// Q2. `settled` resolves only after every put before it is on disk. It rejects if any transaction failed: whoever then
//     writes something that relies on the earlier puts (the covered position) does not get to.
// Q3. At most `opsMax` puts and `bytesMax` bytes are on their way. Further ones wait here: lmdb's own bound is a wait
//     that stops the thread, and the pages of a transaction take memory.
// Q4. Puts of several turns go together. A transaction is synced twice, on a disk and by threads that the log's groups need, too.
import { invariant } from "@heddle/kernel/internal";
import { asWriteError, CeilingReached, causeOfFailedCommit, type Place } from "./damage.ts";
import { sizeOf, type Tables } from "./environment.ts";
import type { Table } from "./table.ts";

/**
 * LMDB keeps the pages that a transaction changes in memory of its own, which it never gives back: with keys spread over a
 * large partition nearly every put has a page for itself, so these are up to 50 MB.
 */
const opsMax = 8_192;
const bytesMax = 32 * 1024 * 1024;
/** So many puts are worth a transaction when nobody waits for them: with half as many, sagas run 5 % slower; with twice as many, no faster. */
const gatheredOps = 2_048;
/** Waiting puts that one turn takes up: about a millisecond of the shard's thread. */
const drainOpsMax = 2_048;

interface Op {
  readonly table: Table;
  readonly key: Uint8Array;
  /** Undefined to remove the key. */
  readonly value: Uint8Array | undefined;
  /** Whether a unit begins with it. */
  readonly isFirst: boolean;
}

interface Batch {
  ops: number;
  bytes: number;
}

export class WriteQueue {
  readonly #root: Tables["root"];
  readonly #place: Place;
  readonly #sizeMax: number;
  /** Puts of this turn, not yet handed over as a transaction. */
  #open: Batch | undefined;
  #ops = 0;
  #bytes = 0;
  #waiting: Op[] = [];
  /** What the next put is: the first of its unit, or one that belongs to the put before; none is taken before a unit has begun. */
  #unit: "none" | "begun" | "goes on" = "none";
  #draining = false;
  #failure: unknown;
  #idle: PromiseWithResolvers<void> | undefined;
  #drained: PromiseWithResolvers<void> | undefined;
  #lastCommit: Promise<boolean> | undefined;

  constructor(root: Tables["root"], place: Place, sizeMax: number) {
    this.#root = root;
    this.#place = place;
    this.#sizeMax = sizeMax;
    // Runs at the end of a turn that put something, just before lmdb closes that turn's transaction. The promise that
    // stands for the transaction as a whole exists only after that, hence the microtask. lmdb makes it even when nobody
    // asks, and its rejection on a full disk would end the process as an unhandled one.
    root.on("beforecommit", () => queueMicrotask(() => this.#follow()));
  }

  /** Starts a unit: the puts up to the next `begin`, of this turn (Q1). */
  begin(): void {
    this.#drain();
    this.#unit = "begun";
  }

  /** The key is copied, the value must stay as it is. */
  put(table: Table, key: Uint8Array, value: Uint8Array): void {
    this.#add(table, key, value);
  }

  remove(table: Table, key: Uint8Array): void {
    this.#add(table, key, undefined);
  }

  /** Resolves when no more puts wait here than one turn takes up (Q3). */
  drained(): Promise<void> {
    this.#drain();
    if (this.#waiting.length < drainOpsMax) return Promise.resolve();
    this.#drained ??= Promise.withResolvers<void>();
    return this.#drained.promise;
  }

  /** Resolves when everything put so far is on disk. Errors: `DISK_FULL`, `PARTITION_DAMAGED`; see {@link forgive}. */
  async settled(): Promise<void> {
    await this.#whenIdle();
    if (this.#failure !== undefined) throw asWriteError(this.#failure, this.#place);
  }

  /**
   * Takes puts again after a failure. Until then they are dropped, because what they rely on may be missing. What still waits is dropped
   * as well: it is of a checkpoint that never ended, and would be stored when nobody looks for it any more (P6).
   */
  forgive(): void {
    this.#failure = undefined;
    this.#unit = "none";
    this.#waiting = [];
  }

  #add(table: Table, key: Uint8Array, value: Uint8Array | undefined): void {
    if (this.#unit === "none") invariant(false, "Q1/put-in-a-unit");
    this.#waiting.push({ table, key: key.slice(), value, isFirst: this.#unit === "begun" });
    this.#unit = "goes on";
  }

  #whenIdle(): Promise<void> {
    this.#idle ??= Promise.withResolvers<void>();
    const { promise } = this.#idle;
    this.#drain();
    return promise;
  }

  #issue(table: Table, key: Uint8Array, value: Uint8Array | undefined): void {
    if (this.#failure !== undefined) return;
    if (this.#open === undefined) {
      const size = sizeOf(this.#root);
      if (size >= this.#sizeMax) {
        this.#failure = new CeilingReached(size, this.#sizeMax);
        return;
      }
      this.#open = { ops: 0, bytes: 0 };
    }
    const commit = value === undefined ? table.remove(key) : table.put(key, value);
    if (commit !== this.#lastCommit) {
      this.#lastCommit = commit;
      // The whole transaction is followed below; this promise only needs somebody to hear its rejection.
      commit.catch(ignore);
    }
    const bytes = value === undefined ? 0 : value.length;
    this.#open.ops++;
    this.#open.bytes += bytes;
    this.#ops++;
    this.#bytes += bytes;
  }

  #follow(): void {
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    this.#root.committed.then(
      () => this.#finish(batch),
      async (error) => {
        const cause = await causeOfFailedCommit(error);
        this.#failure ??= cause;
        this.#finish(batch);
      },
    );
  }

  #finish(batch: Batch): void {
    this.#ops -= batch.ops;
    this.#bytes -= batch.bytes;
    this.#drain();
  }

  #drain(): void {
    const isDue = this.#idle !== undefined || this.#waiting.length >= gatheredOps;
    if (isDue && !this.#draining) this.#takeUp();
    if (this.#waiting.length < drainOpsMax) {
      this.#drained?.resolve();
      this.#drained = undefined;
    }
    if (this.#waiting.length > 0 || this.#ops > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  #takeUp(): void {
    this.#unit = "none";
    let taken = 0;
    for (; taken < this.#waiting.length; taken++) {
      const { table, key, value, isFirst } = this.#waiting[taken]!;
      if (isFirst && (taken >= drainOpsMax || this.#ops >= opsMax || this.#bytes >= bytesMax)) break;
      this.#issue(table, key, value);
    }
    if (this.#failure !== undefined) this.#waiting = [];
    else this.#waiting.splice(0, taken);
    if (this.#waiting.length === 0 || taken < drainOpsMax) return;
    // The rest belongs to a later turn, so that the thread gets to other work.
    this.#draining = true;
    setImmediate(() => {
      this.#draining = false;
      this.#drain();
    });
  }
}

function ignore(): void {}
