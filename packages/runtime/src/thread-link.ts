// ThreadLink: the listener's side of one shard thread. Packs frames, gives credit back, starts the thread again when it dies.
import { MessageChannel, Worker } from "node:worker_threads";
import { HeddleError } from "@heddle/kernel";
import { fromWireError } from "@heddle/kernel/internal";
// For its native library alone: Node unloads one when the last thread that has it ends, under those still ending.
import "@heddle/partition/internal";
import { writeU32 } from "@heddle/protocol/internal";
import type { ShardState } from "@heddle/shard";
import type { Logger } from "pino";
import {
  type FromThread,
  requestBlockHeaderBytes,
  requestMessageHeaderBytes,
  type ThreadStart,
  type ThreadStats,
  type ToThread,
  visitReplies,
} from "./thread-messages.ts";

export interface ThreadLinkOptions {
  readonly index: number;
  readonly start: ThreadStart;
  readonly logger: Logger;
  /** Reply frames for a connection, and the credit that they give back. The bytes may be kept. */
  readonly onReplies: (connection: number, calls: number, requestBytes: number, frames: Uint8Array) => void;
  /** The thread is gone, and with it the replies to every frame that it had. It is being started again. */
  readonly onLost: () => void;
  /** The thread is ready, for the first time or again: the others have to hear of it. */
  readonly onReady: () => void;
  /** The sessions of the connections that are open, for a thread that starts again. */
  readonly sessions: () => Iterable<{ connection: number; session: number }>;
}

/** How long a thread may take to close its shards before it is ended the hard way. */
const stopDeadlineMs = 30_000;
/** A thread that ran for this long was well. */
const steadyMs = 60_000;
const restartDelaysMs = [0, 100, 500, 2_000, 10_000] as const;

export class ThreadLink {
  readonly index: number;
  readonly shards: readonly number[];
  readonly #options: ThreadLinkOptions;
  #worker: Worker | undefined;
  /** Resolves when the newest thread has ended. */
  #gone: Promise<void> = Promise.resolve();
  #state: "starting" | "ready" | "restarting" | "stopping" | "stopped" = "starting";
  #lostReason = "";
  #restarts = 0;
  #readySinceMs = 0;
  #pack = new Uint8Array(64 * 1024);
  #packed = requestMessageHeaderBytes;
  #scheduled = false;
  /** A message said that more follows, and nothing has followed yet. */
  #owesMore = false;
  #statsWaiting = new Map<number, (stats: ThreadStats) => void>();
  #nextStatsId = 1;
  /** What each shard last said of itself. */
  readonly shardStates = new Map<number, { readonly state: ShardState; readonly reason: string }>();
  /** Request bytes that the thread has and has not answered (P8). */
  bytesInFlight = 0;

  constructor(options: ThreadLinkOptions) {
    this.#options = options;
    this.index = options.index;
    this.shards = options.start.shards;
  }

  get ready(): boolean {
    return this.#state === "ready";
  }

  /** Why it is not ready, for people. */
  get notReadyReason(): string {
    return this.#state === "restarting"
      ? `its thread is being started again after: ${this.#lostReason}`
      : `its thread is ${this.#state}`;
  }

  /** Starts the thread; resolves when every shard is open. Errors: whatever opening a shard gave. */
  async start(): Promise<void> {
    await this.#spawn();
  }

  /** Packs one request frame; it goes at the end of this turn. */
  send(connection: number, shard: number, bytes: Uint8Array, from: number, to: number): void {
    const at = this.reserve(connection, shard, to - from);
    this.#pack.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to), at);
    this.commit(to - from);
  }

  /** Room for a frame of at most `bytesMax`, to be written at the returned offset of `pack`, then `commit`ted. */
  reserve(connection: number, shard: number, bytesMax: number): number {
    const wanted = this.#packed + requestBlockHeaderBytes + bytesMax;
    if (wanted > this.#pack.length) {
      const grown = new Uint8Array(Math.max(wanted, this.#pack.length * 2));
      grown.set(this.#pack.subarray(0, this.#packed));
      this.#pack = grown;
    }
    writeU32(this.#pack, this.#packed, connection);
    writeU32(this.#pack, this.#packed + 4, shard);
    return this.#packed + requestBlockHeaderBytes;
  }

  get pack(): Uint8Array {
    return this.#pack;
  }

  commit(frameBytes: number): void {
    this.#packed += requestBlockHeaderBytes + frameBytes;
    this.bytesInFlight += frameBytes;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  /**
   * Sends what is packed before the turn ends, so that the thread begins to decide while the rest is being packed. Its
   * groups wait for the rest: one call of a thousand items is one sync, not several one after another.
   */
  flushPart(): void {
    this.#post(1);
  }

  flush(): void {
    this.#scheduled = false;
    this.#post(0);
  }

  #post(more: 0 | 1): void {
    const isEmpty = this.#packed === requestMessageHeaderBytes;
    if (isEmpty && (more === 1 || !this.#owesMore)) return;
    this.#owesMore = more === 1;
    writeU32(this.#pack, 0, more);
    const packed = this.#pack.slice(0, this.#packed);
    this.#packed = requestMessageHeaderBytes;
    if (this.#pack.length > packKeptBytesMax) this.#pack = new Uint8Array(64 * 1024);
    // A thread that is being replaced gets nothing: the connections of these frames are told by onLost.
    if (this.#state === "ready") this.#worker!.postMessage(packed, [packed.buffer]);
  }

  tell(message: ToThread): void {
    if (this.#state === "ready") this.#worker?.postMessage(message);
  }

  /** Makes a way between two threads that are ready. */
  connectTo(other: ThreadLink): void {
    const { port1, port2 } = new MessageChannel();
    this.#worker!.postMessage({ kind: "peer", thread: other.index, port: port1 } satisfies ToThread, [port1]);
    other.#worker!.postMessage({ kind: "peer", thread: this.index, port: port2 } satisfies ToThread, [port2]);
  }

  /** Undefined while the thread is not ready. */
  stats(): Promise<ThreadStats | undefined> {
    if (this.#state !== "ready") return Promise.resolve(undefined);
    const id = this.#nextStatsId++;
    return new Promise((resolve) => {
      this.#statsWaiting.set(id, resolve);
      this.tell({ kind: "stats", id });
    });
  }

  async stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined || this.#state === "stopped") return;
    this.flush();
    const wasReady = this.#state === "ready";
    this.#state = "stopping";
    // One that is still starting is told when it is ready; one that has ended already has resolved this.
    if (wasReady) worker.postMessage({ kind: "stop" } satisfies ToThread);
    const deadline = setTimeout(() => {
      this.#options.logger.error({ thread: this.index }, "a shard thread did not end in time; it is terminated");
      void worker.terminate();
    }, stopDeadlineMs);
    await this.#gone;
    clearTimeout(deadline);
    this.#state = "stopped";
  }

  #spawn(): Promise<void> {
    const worker = new Worker(
      new URL(import.meta.url.endsWith(".ts") ? "./shard-thread.ts" : "./shard-thread.js", import.meta.url),
      {
        workerData: this.#options.start,
        name: `heddle-shards-${this.index}`,
      },
    );
    this.#worker = worker;
    this.#gone = new Promise((resolve) => worker.once("exit", () => resolve()));
    return new Promise((resolve, reject) => {
      worker.on("message", (message: FromThread | Uint8Array) => {
        if (message instanceof Uint8Array) {
          this.#onReplies(message);
          return;
        }
        switch (message.kind) {
          case "ready":
            if (this.#state === "stopping") {
              worker.postMessage({ kind: "stop" } satisfies ToThread);
              return;
            }
            for (const open of this.#options.sessions())
              worker.postMessage({ kind: "connection-opened", ...open } satisfies ToThread);
            this.#state = "ready";
            this.#readySinceMs = performance.now();
            this.#options.onReady();
            resolve();
            return;
          case "failed":
            reject(fromWireError(message.error));
            return;
          case "stats":
            this.#statsWaiting.get(message.id)?.(message.stats);
            this.#statsWaiting.delete(message.id);
            return;
          case "report":
            this.#options.logger[message.level]({ thread: this.index, ...message.facts }, message.message);
            return;
          case "state":
            this.shardStates.set(message.shard, { state: message.state, reason: message.reason });
            return;
          case "stopped":
            return;
        }
      });
      worker.on("error", (error: Error) => {
        this.#lostReason = error.message;
        this.#options.logger.error(
          { thread: this.index, error: String(error.stack ?? error) },
          "a shard thread failed",
        );
      });
      worker.on("exit", (code) => {
        const reason = this.#lostReason === "" ? `it ended with code ${code}` : this.#lostReason;
        reject(new HeddleError("SHARD_STOPPED", { shard: this.shards[0] ?? 0, reason }));
        if (this.#worker === worker && this.#state === "ready") this.#onLost(reason);
      });
    });
  }

  #onReplies(packed: Uint8Array): void {
    visitReplies(packed, (connection, calls, requestBytes, from, to) => {
      this.bytesInFlight -= requestBytes;
      this.#options.onReplies(connection, calls, requestBytes, packed.subarray(from, to));
    });
  }

  #onLost(reason: string): void {
    // Only losses that follow each other closely make the pauses between new attempts grow.
    if (performance.now() - this.#readySinceMs > steadyMs) this.#restarts = 0;
    this.#state = "restarting";
    this.#lostReason = reason;
    this.bytesInFlight = 0;
    this.#packed = requestMessageHeaderBytes;
    this.#owesMore = false;
    for (const waiting of this.#statsWaiting.values())
      waiting({ shards: [], sagas: [], reminders: [], eventLoopDelayMs: { mean: 0, p99: 0, max: 0 } });
    this.#statsWaiting.clear();
    this.#options.logger.error(
      { thread: this.index, shards: this.shards, reason },
      "a shard thread is lost; it is started again",
    );
    this.#options.onLost();
    void this.#restart();
  }

  async #restart(): Promise<void> {
    while (this.#state === "restarting") {
      const delayMs = restartDelaysMs[Math.min(this.#restarts++, restartDelaysMs.length - 1)]!;
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      if (this.#state !== "restarting") return;
      try {
        await this.#spawn();
        this.#lostReason = "";
        return;
      } catch (error) {
        this.#lostReason = (error as Error).message;
        this.#options.logger.error(
          { thread: this.index, error: this.#lostReason },
          "a shard thread could not be started again",
        );
      }
    }
  }
}

/** The packing buffer is kept from turn to turn up to this size. */
const packKeptBytesMax = 4 << 20;
