// SimulatedThread: one shard thread of a simulated node. Its shards and the calls between threads are the code of production;
// disk, partition, time, ports and chance are the simulation's. The wiring follows runtime/shard-thread.ts.
//
// A thread that is lost never runs again: nothing that it had planned happens, its files are dead, its partitions keep what
// they had applied. What the operating system holds of its writes stays, unless the power fails as well.
import type { CompiledContext } from "@heddle/domain/internal";
import type { Disk, DiskFile } from "@heddle/event-log/internal";
import { HeddleError, systemKinds } from "@heddle/kernel";
import type { Partition } from "@heddle/partition/internal";
import { encodeErrorReply, requestCall } from "@heddle/protocol/internal";
import { ReleaseRate, ReminderRunner, releasePerSecondDefault } from "@heddle/reminder/internal";
import { FrameTurns, ReplyBatch, ThreadCalls } from "@heddle/runtime/internal";
import { SagaCopies, SagaRunner } from "@heddle/saga/internal";
import { defaultShardLimits, Shard, type ShardLimits } from "@heddle/shard/internal";
import type { SimulatedDisk } from "../simulated-disk.ts";
import type { Chance } from "./chance.ts";
import { type MemoryPartition, type MemoryPartitionStore, openMemoryPartition } from "./memory-partition.ts";
import type { Packed } from "./simulated-port.ts";
import type { SimulatedTime } from "./simulated-time.ts";
import type { Trace } from "./trace.ts";

/** Disk and partition of one shard: what is left when nothing runs. */
export interface ShardStorage {
  readonly disk: SimulatedDisk;
  readonly store: MemoryPartitionStore;
}

/** How long a sync takes, and whether it fails; asked when it begins. */
export interface SyncFate {
  readonly tookMs: number;
  readonly failsWith: string | undefined;
}

export interface ThreadOptions {
  readonly thread: number;
  readonly threadCount: number;
  readonly shardCount: number;
  readonly shards: readonly number[];
  readonly domain: CompiledContext;
  readonly limits: Partial<ShardLimits>;
  readonly storageOf: (shard: number) => ShardStorage;
  readonly time: SimulatedTime;
  readonly trace: Trace;
  readonly chance: Chance;
  /** Milliseconds since 1970, as the node's clock shows them. */
  readonly wallMs: () => number;
  readonly syncFate: (shard: number) => SyncFate;
  /** Replies for the listener. */
  readonly post: (packed: Packed) => void;
  /** Something threw where nobody catches: the thread ends. */
  readonly onFault: (error: unknown) => void;
  /** A named place in the code is passed, where a process may die. */
  readonly onCrashPoint: (name: string) => void;
  readonly onStopped: (shard: number, reason: string) => void;
  readonly liesAboutSync?: ((shard: number) => boolean) | undefined;
  readonly wrapPartition?: ((shard: number, partition: Partition) => Partition) | undefined;
}

const tickMs = 250;
export const logFolder = "/log";

export class SimulatedThread {
  readonly index: number;
  readonly calls: ThreadCalls;
  readonly #options: ThreadOptions;
  readonly #shards = new Map<number, Shard>();
  readonly #partitions: MemoryPartition[] = [];
  readonly #sessions = new Map<number, number>();
  readonly #replies: ReplyBatch;
  readonly #turns: FrameTurns<() => void>;
  readonly #releaseRate: ReleaseRate;
  #isAlive = true;

  /** Errors: whatever opening a shard gives. */
  constructor(options: ThreadOptions) {
    this.#options = options;
    this.index = options.thread;
    this.calls = new ThreadCalls({
      thread: options.thread,
      threadCount: options.threadCount,
      shardCount: options.shardCount,
      random: options.chance.fork("calls"),
      receive: (connection, shard, bytes, from, to) => this.#receive(connection, 0, shard, bytes, from, to),
      endTurn: () => this.#endTurn(),
    });
    this.#releaseRate = new ReleaseRate(releasePerSecondDefault, { monotonic: () => options.time.nowMs });
    this.#replies = new ReplyBatch(options.post, this.calls);
    const cuts = options.chance.fork("turns");
    this.#turns = new FrameTurns({
      receive: (connection, shard, bytes, from, to) =>
        this.#receive(connection, this.#sessions.get(connection) ?? 0, shard, bytes, from, to),
      endTurn: () => this.calls.endTurn(),
      onMessage: (message) => message(),
      isSyncing: () => [...this.#shards.values()].some(({ isSyncing }) => isSyncing),
      clock: { monotonic: () => options.time.nowMs },
      later: (task) => this.#after(0.001, task),
      // No time passes in an event.
      hasEnough: () => cuts.happens(0.5),
    });
    for (const shard of options.shards) this.#shards.set(shard, this.#openShard(shard));
    this.#tickLater();
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get shards(): Iterable<Shard> {
    return this.#shards.values();
  }

  sessionOpened(connection: number, session: number): void {
    this.#turns.take(() => this.#sessions.set(connection, session));
  }

  sessionClosed(connection: number): void {
    this.#turns.take(() => {
      this.#sessions.delete(connection);
      for (const shard of this.#shards.values()) shard.forget(connection);
      this.#replies.forget(connection);
    });
  }

  /** Request frames from the listener, as one message. */
  onFrames(packed: Packed): void {
    this.#turns.take(packed);
  }

  /** The thread is gone from this moment on. */
  kill(): void {
    this.#isAlive = false;
    for (const partition of this.#partitions) partition.kill();
  }

  /** Runs what arrives at the thread, if it still lives. */
  run(task: () => void): void {
    if (!this.#isAlive) return;
    try {
      task();
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  /** A commit of one of its partitions will find the disk full. */
  failNextCheckpoint(): void {
    this.#options.chance.pick(this.#partitions).failNextCommit(true);
  }

  /** No commit that was to fail does. */
  spareCheckpoints(): void {
    for (const partition of this.#partitions) partition.failNextCommit(false);
  }

  #receive(connection: number, session: number, shard: number, bytes: Uint8Array, from: number, to: number): void {
    const open = this.#shards.get(shard);
    if (open !== undefined) {
      open.receive(connection, session, bytes, from, to);
      return;
    }
    // As on a real thread: shards open one after the other, and one that is damaged does not open.
    const error = new HeddleError("SHARD_STOPPED", { shard, reason: "it is not open yet" });
    this.#replies.frame(connection, to - from, encodeErrorReply(requestCall(bytes, from), error));
  }

  #endTurn(): void {
    for (const shard of this.#shards.values()) shard.endTurn();
  }

  #openShard(shard: number): Shard {
    const { disk, store } = this.#options.storageOf(shard);
    const { domain, time, trace, wallMs, chance, limits, wrapPartition, onStopped } = this.#options;
    const schedule = (task: () => void, delayMs: number) => this.#after(delayMs + chance.between(1, 40) / 1_000, task);
    const partition = openMemoryPartition({
      store,
      shard,
      later: (task) => this.#after(chance.between(20, 3_000) / 1_000, task),
    });
    this.#partitions.push(partition);
    disk.holdSyncs();
    const clock = { now: wallMs, monotonic: () => time.nowMs };
    const report = (_level: string, message: string, facts: Record<string, unknown>) => {
      trace.note(`shard ${shard}`, reportText(message, facts));
    };
    const crashPoint = this.#options.onCrashPoint;
    const sagas = new SagaRunner({
      shard,
      domain,
      calls: this.calls,
      replies: this.#replies,
      clock,
      random: chance.fork(`sagas ${shard}`),
      own: () => this.#shards.get(shard)!,
      alarms: () => this.#shards.get(shard)!.alarms,
      schedule,
      report,
      crashPoint,
    });
    const reminders = new ReminderRunner({
      shard,
      domain,
      calls: this.calls,
      replies: this.#replies,
      clock,
      random: chance.fork(`reminders ${shard}`),
      rate: this.#releaseRate,
      own: () => this.#shards.get(shard)!,
      alarms: () => this.#shards.get(shard)!.alarms,
      schedule,
      report,
      crashPoint,
    });
    const opened = Shard.open({
      shard,
      shardCount: this.#options.shardCount,
      domain,
      logFolder,
      disk: this.#slowDisk(shard, disk),
      partition: wrapPartition?.(shard, partition) ?? partition,
      clock,
      random: chance.fork(`shard ${shard}`),
      durability: "fsync",
      limits: { ...defaultShardLimits, ...limits },
      replies: this.#replies,
      calls: this.calls,
      handlers: new Map([...sagas.handlers, ...reminders.handlers]),
      copies: new SagaCopies(this.calls),
      alarms: new Map([
        [systemKinds.saga, sagas.alarmSource],
        [systemKinds.reminders, reminders.source],
      ]),
      schedule,
      report,
      crashPoint,
      onState: (state, reason) => {
        trace.note(`shard ${shard}`, `is ${state}${reason === "" ? "" : `: ${reason}`}`);
        if (state !== "stopped") return;
        sagas.stop();
        onStopped(shard, reason);
      },
    });
    return opened;
  }

  // Syncs return after as long as fate says. Those of one disk return in order.
  #slowDisk(shard: number, disk: SimulatedDisk): Disk {
    const syncAs = (done: (error: Error | null) => void, sync: () => void, pretend: () => void) => {
      const { tookMs, failsWith } = this.#options.syncFate(shard);
      if (failsWith === undefined && this.#options.liesAboutSync?.(shard) === true) {
        pretend();
        this.#after(tookMs, () => done(null));
        return;
      }
      if (failsWith !== undefined) disk.failNextSync(failsWith);
      sync();
      this.#after(tookMs, () => disk.returnNextSync());
    };
    const slowFile = (file: DiskFile): DiskFile => ({
      write: (bytes, from, to, at) => file.write(bytes, from, to, at),
      writeThrough: (bytes, from, to, at, done) =>
        syncAs(
          done,
          () => file.writeThrough(bytes, from, to, at, done),
          () => file.write(bytes, from, to, at),
        ),
      sync: (done) =>
        syncAs(
          done,
          () => file.sync(done),
          () => {},
        ),
      syncNow: () => file.syncNow(),
      read: (into, at) => file.read(into, at),
      size: () => file.size(),
      truncate: (length) => file.truncate(length),
      close: () => file.close(),
    });
    return {
      makeFolder: (folder) => disk.makeFolder(folder),
      list: (folder) => disk.list(folder),
      open: (file, mode) => slowFile(disk.open(file, mode)),
      remove: (file) => disk.remove(file),
      syncFolder: (folder) => disk.syncFolder(folder),
      freeBytes: (folder) => disk.freeBytes(folder),
    };
  }

  #after(delayMs: number, task: () => void): void {
    this.#options.time.after(delayMs, () => this.run(task));
  }

  #tickLater(): void {
    this.#after(tickMs, () => {
      for (const shard of this.#shards.values()) shard.tick();
      this.#tickLater();
    });
  }
}

function reportText(message: string, { shard: _, ...facts }: Record<string, unknown>): string {
  const texts = Object.entries(facts).map(([name, fact]) => `${name} ${String(fact).split("\n", 1)[0]}`);
  return texts.length === 0 ? message : `${message}: ${texts.join(", ")}`;
}
