// Stats: what a shard counts. Plain numbers, so that they cross threads as they are.
import type { DurableGroup } from "@heddle/event-log/internal";

/** `full`: reads are served, appends are refused until there is room. `stopped`: nothing is served. */
export type ShardState = "open" | "full" | "recovering" | "stopped" | "closed";

/** Upper bounds of the sync histogram, in µs; the last bucket is open. */
export const syncBucketsUs = [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 250_000, 1_000_000] as const;

export interface TransactionStats {
  /** Of the transactions that the shard coordinated. */
  readonly committed: number;
  readonly refused: number;
  readonly aborted: number;
  /** Entities that a transaction holds now. */
  readonly holds: number;
  /** Calls that wait for a held entity. */
  readonly waiters: number;
  /** Prepared transactions whose decision the shard does not know yet. */
  readonly pending: number;
}

export interface ShardFacts {
  readonly shard: number;
  readonly state: ShardState;
  readonly stopReason: string;
  /** Frames that wait because a full group is on its way to the disk. */
  readonly mailboxDepth: number;
  /** Replies that wait for a sync. */
  readonly waitingReplies: number;
  readonly activeEntities: number;
  /** Entities woken since the shard was opened, new ones included. */
  readonly activations: number;
  /** Erasures under way. */
  readonly erasures: number;
  /** Memory that active entities take, as estimated. */
  readonly stateBytes: number;
  readonly sessions: number;
  readonly sessionBytes: number;
  readonly logBytes: number;
  readonly checkpointPosition: number;
  readonly checkpointAgeMs: number;
  readonly isCheckpointing: boolean;
  readonly partitionReads: number;
  /** Subscriptions to one entity that wait for its next event. */
  readonly watches: number;
  readonly transactions: TransactionStats;
}

export interface ShardStats extends ShardFacts {
  readonly appends: number;
  readonly events: number;
  /** Commit groups made durable; in mode `fsync` each is one sync. */
  readonly groups: number;
  readonly groupBytes: number;
  readonly gets: number;
  readonly duplicates: number;
  readonly checkpoints: number;
  readonly syncCounts: readonly number[];
  readonly syncSumUs: number;
  readonly rejections: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
}

export class ShardCounters {
  appends = 0;
  gets = 0;
  duplicates = 0;
  checkpoints = 0;
  #events = 0;
  #groups = 0;
  #groupBytes = 0;
  #syncSumUs = 0;
  readonly #syncCounts = new Array<number>(syncBucketsUs.length + 1).fill(0);
  readonly #rejections: Record<string, number> = {};
  readonly #errors: Record<string, number> = {};

  countGroup(group: DurableGroup): void {
    this.#groups++;
    this.#events += group.events;
    this.#groupBytes += group.bytes;
    this.#syncSumUs += group.tookUs;
    let bucket = 0;
    while (bucket < syncBucketsUs.length && group.tookUs > syncBucketsUs[bucket]!) bucket++;
    this.#syncCounts[bucket]!++;
  }

  countRejection(code: string): void {
    this.#rejections[code] = (this.#rejections[code] ?? 0) + 1;
  }

  countError(code: string): void {
    this.#errors[code] = (this.#errors[code] ?? 0) + 1;
  }

  snapshot(facts: ShardFacts): ShardStats {
    return {
      ...facts,
      appends: this.appends,
      events: this.#events,
      groups: this.#groups,
      groupBytes: this.#groupBytes,
      gets: this.gets,
      duplicates: this.duplicates,
      checkpoints: this.checkpoints,
      syncCounts: [...this.#syncCounts],
      syncSumUs: this.#syncSumUs,
      rejections: { ...this.#rejections },
      errors: { ...this.#errors },
    };
  }
}
