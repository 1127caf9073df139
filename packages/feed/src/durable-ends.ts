// DurableEnds: how far each shard's log is durable, in memory that all threads of a node share. Shard threads say so once a
// commit group; readers on other threads read the log's files up to there, and wait here for more.
//
// D1. An end only grows. What lies below it is on the disk (P2), so that no reader ever sees what could be taken back.
// Not promised: that a waiter wakes for every group; it wakes when there is something it has not seen.

/** Behind the ends, so that each stays aligned: a counter that moves with every change. */
const counterBytes = 8;

export class DurableEnds {
  readonly shared: SharedArrayBuffer;
  readonly #ends: BigInt64Array;
  readonly #changes: Int32Array;

  /** `shared` comes from another thread's `DurableEnds`, or is made for a number of shards. */
  constructor(shared: SharedArrayBuffer | number) {
    this.shared = typeof shared === "number" ? new SharedArrayBuffer(shared * 8 + counterBytes) : shared;
    const shardCount = (this.shared.byteLength - counterBytes) / 8;
    this.#ends = new BigInt64Array(this.shared, 0, shardCount);
    this.#changes = new Int32Array(this.shared, shardCount * 8, 1);
  }

  get shardCount(): number {
    return this.#ends.length;
  }

  /** To be called by the shard's thread when a group has become durable, and when a shard has opened. */
  advance(shard: number, end: number): void {
    if (end <= this.of(shard)) return;
    Atomics.store(this.#ends, shard, BigInt(end));
    Atomics.add(this.#changes, 0, 1);
    Atomics.notify(this.#changes, 0);
  }

  /** Lets everybody who waits look again: whoever ends must not be waited for. */
  wake(): void {
    Atomics.add(this.#changes, 0, 1);
    Atomics.notify(this.#changes, 0);
  }

  of(shard: number): number {
    return Number(Atomics.load(this.#ends, shard));
  }

  /** A mark for `changedSince`, to be taken before the ends are looked at. */
  get mark(): number {
    return Atomics.load(this.#changes, 0);
  }

  /** Resolves when any end has moved since `mark`, or after `timeoutMs`: at once, if one has already. */
  async changedSince(mark: number, timeoutMs: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#changes, 0, mark, timeoutMs);
    if (wait.async) await wait.value;
  }
}
