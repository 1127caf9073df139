// Write queue: hands puts to LMDB's writer thread, within bounds, and tells when they are on disk and how it went.
//
// Q1. What is put between two calls of `begin` becomes readable and durable in one transaction, or not at all. lmdb
//     writes everything of one event-loop turn in one transaction; a unit is never spread over two turns.
// Q2. `settled` resolves only after every put before it is on disk. It rejects if any transaction failed: whoever then
//     writes something that relies on the earlier puts (the covered position) does not get to.
// Q3. At most `opsMax` puts and `bytesMax` bytes are on their way. Further ones wait here: lmdb's own bound is a wait
//     that stops the thread, and the pages of a transaction take memory.
import { asWriteError, CeilingReached, causeOfFailedCommit, type Place } from "./damage.ts";
import { sizeOf, type Table, type Tables } from "./environment.ts";

/**
 * LMDB keeps the pages that a transaction changes in memory of its own, which it never gives back: with keys spread over a
 * large partition nearly every put has a page for itself, so these are up to 50 MB.
 */
const opsMax = 8_192;
const bytesMax = 32 * 1024 * 1024;
/** Waiting puts that one turn takes up: about a millisecond of the shard's thread. */
const drainOpsMax = 2_048;

interface Op {
  readonly table: Table;
  readonly key: Uint8Array;
  /** Undefined to remove the key. */
  readonly value: Uint8Array | undefined;
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
  #waiting: Op[][] = [];
  #unit: Op[] | undefined;
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
    this.#unit = undefined;
    if (this.#waiting.length === 0 && this.#ops < opsMax && this.#bytes < bytesMax) return;
    this.#unit = [];
    this.#waiting.push(this.#unit);
  }

  /** The key is copied, the value must stay as it is. */
  put(table: Table, key: Uint8Array, value: Uint8Array): void {
    if (this.#unit === undefined) this.#issue(table, key, value);
    else this.#unit.push({ table, key: key.slice(), value });
  }

  remove(table: Table, key: Uint8Array): void {
    if (this.#unit === undefined) this.#issue(table, key, undefined);
    else this.#unit.push({ table, key: key.slice(), value: undefined });
  }

  /** Resolves when no put waits here any more (Q3); they may still be on their way to the disk. */
  drained(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve();
    this.#drained ??= Promise.withResolvers<void>();
    return this.#drained.promise;
  }

  /** Resolves when everything put so far is on disk. Errors: `DISK_FULL`, `PARTITION_DAMAGED`; see {@link forgive}. */
  async settled(): Promise<void> {
    await this.#whenIdle();
    if (this.#failure !== undefined) throw asWriteError(this.#failure, this.#place);
  }

  /** Takes puts again after a failure. Until then they are dropped, because what they rely on may be missing. */
  forgive(): void {
    this.#failure = undefined;
  }

  #whenIdle(): Promise<void> {
    if (this.#ops === 0 && this.#waiting.length === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers<void>();
    return this.#idle.promise;
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
    if (this.#draining) return;
    let taken = 0;
    let unit = 0;
    while (unit < this.#waiting.length && taken < drainOpsMax && this.#ops < opsMax && this.#bytes < bytesMax) {
      for (const { table, key, value } of this.#waiting[unit]!) this.#issue(table, key, value);
      taken += this.#waiting[unit]!.length;
      unit++;
    }
    this.#waiting.splice(0, this.#failure === undefined ? unit : this.#waiting.length);
    if (this.#waiting.length > 0 && taken >= drainOpsMax) {
      // The rest belongs to a later turn, so that the thread gets to other work.
      this.#draining = true;
      setImmediate(() => {
        this.#draining = false;
        this.#drain();
      });
    }
    if (this.#waiting.length > 0) return;
    this.#drained?.resolve();
    this.#drained = undefined;
    if (this.#ops > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}

function ignore(): void {}
