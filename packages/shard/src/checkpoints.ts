// Checkpoints: when a checkpoint begins, who waits for it, and what follows when it fails. How one is written stands in
// checkpoint.ts.
//
// K1. One at a time, and only when everything decided is durable.
// K2. One that is due by bytes of log, or because a part of the memory budget is taken by entities that cannot be let go
//     before it, begins at once; when twice and four times as much has come together while one runs, frames wait (P8).
// K3. One that fails loses nothing: memory has everything again, the log has it anyway. It is due again by time; appends go
//     on until the log is too far ahead of the partition, because memory and the time of a recovery grow with that (P8).
import { HeddleError } from "@heddle/kernel";
import { Checkpoint } from "./checkpoint.ts";
import { messageOf } from "./decoding.ts";
import type { Memory } from "./memory.ts";
import { nextTurnOf, type ShardOptions } from "./shard-options.ts";
import type { ShardCounters } from "./stats.ts";

/** The log may be so many checkpoints ahead of the partition. */
const tailCheckpointsMax = 4;
/** Shares of the memory budget that entities with unsaved events may take: a checkpoint is due, and frames wait. */
const unsavedShareDue = 1 / 4;
const unsavedShareMax = 1 / 2;
/** After a long checkpoint the next one is due by time only after so many times as long: the log needs the disk, too … */
const pauseFactor = 2;
/** … but no later than this: so long what is acknowledged may lie beyond the hash chain's heads on disk. */
const pauseMsMax = 5_000;

export interface CheckpointsOptions {
  readonly shard: ShardOptions;
  readonly counters: ShardCounters;
  readonly memory: () => Memory;
  /** Whether the shard takes appends and makes them durable. */
  readonly isOpen: () => boolean;
  /** Sends what was decided on its way. */
  readonly flush: () => void;
  /** Frames that were held back may go on. */
  readonly wake: () => void;
  /** Ends the shard: memory is not to be trusted. */
  readonly stop: (reason: string) => void;
  /** Why there can be no checkpoint. */
  readonly notServing: () => HeddleError;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #running: Checkpoint | undefined;
  /** Who waits for a checkpoint that begins after they came. */
  #waiters: Waiter[] = [];
  /** Something works on the partition's file that no checkpoint may come between. */
  #isPartitionBusy = false;
  #isCancelled = false;
  #begunAt = 0;
  #endedAt = 0;
  /** Why the last one failed, if it did. */
  #failure: HeddleError | undefined;
  /** One is to begin as soon as everything decided is durable: frames wait. */
  isWanted = false;
  /** The log is as far ahead of the partition as it may be while one runs: frames wait. */
  isBehind = false;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get ageMs(): number {
    return this.#options.shard.clock.monotonic() - this.#endedAt;
  }

  /** Whether the last one failed, and it is not yet time for the next. */
  get isBackingOff(): boolean {
    return this.#failure !== undefined && this.ageMs < this.#options.shard.limits.checkpointIntervalMs;
  }

  /** Errors: why the last one failed, once the log is too far ahead. */
  checkTail(): void {
    if (this.#failure !== undefined && this.#tailIsTooLong()) throw this.#failure;
  }

  /** The shard was opened or has recovered: what the log's tail holds is as young as can be. */
  restartClock(): void {
    this.#endedAt = this.#options.shard.clock.monotonic();
    this.#begunAt = this.#endedAt;
  }

  /** Begins one that is due by time, if anything changed. */
  tick(): void {
    if (this.#running !== undefined || this.isWanted || !this.#options.isOpen()) return;
    const pauseMs = Math.min(pauseMsMax, pauseFactor * (this.#endedAt - this.#begunAt));
    const dueMs = Math.max(this.#options.shard.limits.checkpointIntervalMs, pauseMs);
    if (this.ageMs >= dueMs && this.#tailBytes() > 0) this.request();
  }

  /** Begins one as soon as everything decided is durable. */
  request(): void {
    if (this.#running !== undefined || this.#isPartitionBusy || !this.#options.isOpen()) return;
    this.isWanted = true;
    const { log } = this.#options.memory();
    if (log.inFlight) return;
    if (log.fillingEntries > 0) this.#options.flush();
    else this.#begin();
  }

  /** A group has become durable, and nothing else was sent on its way yet. */
  onDurable(): void {
    const { checkpointBytes, stateBytesMax } = this.#options.shard.limits;
    const isDue = this.#tailBytes() >= checkpointBytes || this.#unsavedBytes() >= unsavedShareDue * stateBytesMax;
    if (!isDue) return;
    if (this.#running !== undefined || this.#isPartitionBusy) this.isBehind = this.#tailIsTooLong();
    else if (this.#failure === undefined) this.isWanted = true;
  }

  /** Begins one that is wanted, if everything decided is durable. */
  beginIfWanted(): void {
    if (this.isWanted && !this.#options.memory().log.inFlight) this.#begin();
  }

  /** Resolves when a checkpoint that begins after this is on disk. Errors: why it is not. */
  after(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.#options.isOpen()) reject(this.#options.notServing());
      else this.#waiters.push({ resolve, reject });
      this.request();
    });
  }

  /** Runs something while no checkpoint does. Appends go on meanwhile, until the log's tail is too long. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running !== undefined || this.isWanted) await nextTurnOf(this.#options.shard);
    this.#isPartitionBusy = true;
    try {
      return await work();
    } finally {
      this.#isPartitionBusy = false;
      this.isBehind = false;
      if (this.#waiters.length > 0) this.request();
      this.#options.wake();
    }
  }

  /** None begins any more until the shard is open again. One that runs goes on: it was cut when all was durable. */
  halt(error: HeddleError): void {
    this.isWanted = false;
    this.isBehind = false;
    failAll(this.#waiters.splice(0), error);
  }

  /** Ends one that runs before it commits: what it would still write comes from a memory that is not to be trusted. */
  cancel(): void {
    this.#isCancelled = true;
    this.#running?.cancel();
  }

  #begin(): void {
    this.isWanted = false;
    const waiters = this.#waiters.splice(0);
    this.#run().then(
      () => this.#onEnd(undefined, waiters),
      (error: unknown) => this.#onEnd(error, waiters),
    );
    this.#options.wake();
  }

  // Begins in this very turn. Errors: what `done` rejects with; `CLOSED` when the partition was closed under the shard.
  async #run(): Promise<void> {
    const { shard, partition, domain, durability, schedule, crashPoint } = this.#options.shard;
    const { log, groups, activation, alarms, appendIds, sessions, types, erasures, transactions } =
      this.#options.memory();
    groups.chainAll();
    this.#running = new Checkpoint({
      shard,
      partition,
      domain,
      activation,
      alarms,
      appendIds,
      sessions,
      types,
      erasures,
      transactions,
      covering: log.durableEnd,
      syncLog: durability === "os" ? () => this.#syncLog() : undefined,
      schedule: (task) => schedule(task, 0),
      crashPoint,
    });
    await this.#running.done;
  }

  // Mode `os` syncs nothing on the way of an append. Every segment but the last was synced when the next was begun.
  #syncLog(): Promise<void> {
    const last = this.#options.memory().log.segments.at(-1);
    if (last === undefined) return Promise.resolve();
    const file = this.#options.shard.disk.open(last.file, "write");
    return new Promise((resolve, reject) => {
      file.sync((error) => {
        file.close();
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #onEnd(error: unknown, waiters: readonly Waiter[]): void {
    this.#running = undefined;
    this.#endedAt = this.#options.shard.clock.monotonic();
    this.#failure = undefined;
    this.isBehind = false;
    if (error === undefined) {
      this.#options.counters.checkpoints++;
      for (const { resolve } of waiters) resolve();
    } else {
      if (!this.#isCancelled) this.#onFailure(error);
      failAll(waiters, error);
    }
    if (this.#waiters.length > 0) this.request();
    this.#options.wake();
  }

  #onFailure(error: unknown): void {
    const { shard, report } = this.#options.shard;
    if (!(error instanceof HeddleError)) {
      this.#options.stop(`a checkpoint failed: ${messageOf(error)}`);
      return;
    }
    this.#failure = error;
    report("warn", "a checkpoint failed; the next one writes the same again", { shard, error: messageOf(error) });
  }

  #tailBytes(): number {
    return this.#options.memory().log.durableEnd - this.#options.shard.partition.coveredPosition;
  }

  #unsavedBytes(): number {
    return this.#options.memory().activation.unsavedBytes;
  }

  #tailIsTooLong(): boolean {
    const { checkpointBytes, stateBytesMax } = this.#options.shard.limits;
    return (
      this.#tailBytes() >= tailCheckpointsMax * checkpointBytes ||
      this.#unsavedBytes() >= unsavedShareMax * stateBytesMax
    );
  }
}

function failAll(waiters: readonly Waiter[], error: unknown): void {
  for (const { reject } of waiters) reject(error);
}
