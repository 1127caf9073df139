// WorkerLink: the listener's side of one thread of the node, of shards or of readers. Packs frames, gives credit back, starts
// the thread again when it dies.
//
// Does not know what a thread does: shard threads are in thread-link.ts, those of readers in reader-link.ts.
import v8 from "node:v8";
import { type Transferable, Worker } from "node:worker_threads";
import type { HeddleError } from "@heddle/kernel";
import { fromWireError } from "@heddle/kernel/internal";
// For its native library alone: Node unloads one when the last thread that has it ends, under those still ending.
import "@heddle/partition/internal";
import { writeU32 } from "@heddle/protocol/internal";
import type { Logger } from "pino";
import {
  type FromAnyThread,
  requestBlockHeaderBytes,
  requestMessageHeaderBytes,
  type ToAnyThread,
  visitReplies,
} from "./thread-messages.ts";

export interface WorkerLinkOptions {
  /** Its place among all threads of the node. */
  readonly index: number;
  readonly logger: Logger;
  /** Reply frames for a connection, and the credit that they give back. The bytes may be kept. */
  readonly onReplies: (connection: number, calls: number, requestBytes: number, frames: Uint8Array) => void;
  /** The thread is gone, and with it the replies to every frame that it had. It is being started again. */
  readonly onLost: () => void;
}

/** What makes one kind of thread differ from another. */
export interface WorkerKind<Stats> {
  /** For people: `shard thread`. */
  readonly what: string;
  /** Its entry, a module beside this one, without extension. */
  readonly file: string;
  readonly name: string;
  readonly start: unknown;
  /** Of a thread that was lost while it was asked. */
  readonly noStats: Stats;
  /** How large its heap gets before the collector looks through all of it for the first time. Left out: the engine's choice. */
  readonly firstMarkingBytes?: number | undefined;
  /** Facts that its log lines carry. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** How long a thread may take to close what it has open before it is ended the hard way. */
const stopDeadlineMs = 30_000;
/** A thread that ran for this long was well. */
const steadyMs = 60_000;
const restartDelaysMs = [0, 100, 500, 2_000, 10_000] as const;
/** The packing buffer is kept from turn to turn up to this size. */
const packKeptBytesMax = 4 << 20;

export type LinkState = "resting" | "starting" | "ready" | "restarting" | "stopping" | "stopped";

export abstract class WorkerLink<Stats, To = never, From = never> {
  readonly index: number;
  readonly #options: WorkerLinkOptions;
  readonly #kind: WorkerKind<Stats>;
  #worker: Worker | undefined;
  /** Resolves when the newest thread has ended. */
  #gone: Promise<void> = Promise.resolve();
  #state: LinkState = "resting";
  #lostReason = "";
  #restarts = 0;
  #readySinceMs = 0;
  #pack = new Uint8Array(64 * 1024);
  #packed = requestMessageHeaderBytes;
  #scheduled = false;
  /** A message said that more follows, and nothing has followed yet. */
  #owesMore = false;
  #statsWaiting = new Map<number, (stats: Stats) => void>();
  #nextStatsId = 1;
  /** Request bytes that the thread has and has not answered (P8). */
  bytesInFlight = 0;

  constructor(options: WorkerLinkOptions, kind: WorkerKind<Stats>) {
    this.#options = options;
    this.#kind = kind;
    this.index = options.index;
  }

  get ready(): boolean {
    return this.#state === "ready";
  }

  get state(): LinkState {
    return this.#state;
  }

  /** Whether requests may be sent to it. */
  get takes(): boolean {
    return this.#state === "ready";
  }

  /** For people. */
  get what(): string {
    return this.#kind.what;
  }

  /** Why it is not ready, for people. */
  get notReadyReason(): string {
    return this.#state === "restarting"
      ? `its thread is being started again after: ${this.#lostReason}`
      : `its thread is ${this.#state}`;
  }

  /** Starts the thread; resolves when it is ready. Errors: whatever kept it from that. */
  async start(): Promise<void> {
    this.#state = "starting";
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
    // What is packed goes when the thread is ready.
    if (this.#state === "starting") return;
    this.#owesMore = more === 1;
    writeU32(this.#pack, 0, more);
    const packed = this.#pack.slice(0, this.#packed);
    this.#packed = requestMessageHeaderBytes;
    if (this.#pack.length > packKeptBytesMax) this.#pack = new Uint8Array(64 * 1024);
    // A thread that is being replaced gets nothing: the connections of these frames are told by onLost.
    if (this.#state === "ready") this.#worker!.postMessage(packed, [packed.buffer]);
  }

  tell(message: ToAnyThread | To, transfer?: readonly Transferable[]): void {
    if (this.#state === "ready") this.#worker?.postMessage(message, transfer);
  }

  /** Undefined while the thread is not ready. */
  stats(): Promise<Stats | undefined> {
    if (this.#state !== "ready") return Promise.resolve(undefined);
    const id = this.#nextStatsId++;
    return new Promise((resolve) => {
      this.#statsWaiting.set(id, resolve);
      this.tell({ kind: "stats", id });
    });
  }

  async stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined || this.#state === "stopped") {
      this.#state = "stopped";
      return;
    }
    this.flush();
    const wasReady = this.#state === "ready";
    this.#state = "stopping";
    // One that is still starting is told when it is ready; one that has ended already has resolved this.
    if (wasReady) worker.postMessage({ kind: "stop" } satisfies ToAnyThread);
    const deadline = setTimeout(() => {
      this.#options.logger.error({ thread: this.index }, `a ${this.#kind.what} did not end in time; it is terminated`);
      void worker.terminate();
    }, stopDeadlineMs);
    await this.#gone;
    clearTimeout(deadline);
    this.#state = "stopped";
  }

  /** The thread is ready, for the first time or again, and may be told things. */
  protected abstract onReady(): void;
  /** A message of this kind of thread alone. */
  protected abstract onMessage(message: From): void;
  /** What a start that came to nothing is told as. */
  protected abstract startFailed(reason: string): HeddleError;
  /** The thread is gone: what else was asked of it gets no answer. */
  protected onGone(): void {}

  #spawn(): Promise<void> {
    const { file, name, start, what } = this.#kind;
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = withFirstMarking(
      this.#kind.firstMarkingBytes,
      () => new Worker(new URL(`./${file}.${extension}`, import.meta.url), { workerData: start, name }),
    );
    this.#worker = worker;
    this.#gone = new Promise((resolve) => worker.once("exit", () => resolve()));
    return new Promise((resolve, reject) => {
      worker.on("message", (message: FromAnyThread<Stats> | From | Uint8Array) => {
        if (message instanceof Uint8Array) {
          this.#onReplies(message);
          return;
        }
        const common = message as FromAnyThread<Stats>;
        switch (common.kind) {
          case "ready":
            if (this.#state === "stopping") {
              worker.postMessage({ kind: "stop" } satisfies ToAnyThread);
              return;
            }
            this.#state = "ready";
            this.#readySinceMs = performance.now();
            this.onReady();
            this.flush();
            resolve();
            return;
          case "failed":
            reject(fromWireError(common.error));
            return;
          case "stats":
            this.#statsWaiting.get(common.id)?.(common.stats);
            this.#statsWaiting.delete(common.id);
            return;
          case "report":
            this.#options.logger[common.level]({ thread: this.index, ...common.facts }, common.message);
            return;
          case "stopped":
            return;
          default:
            this.onMessage(message as From);
        }
      });
      worker.on("error", (error: Error) => {
        this.#lostReason = error.message;
        this.#options.logger.error({ thread: this.index, error: String(error.stack ?? error) }, `a ${what} failed`);
      });
      worker.on("exit", (code) => {
        const reason = this.#lostReason === "" ? `it ended with code ${code}` : this.#lostReason;
        reject(this.startFailed(reason));
        if (this.#worker === worker && this.#state === "ready") this.lost(reason);
      });
    });
  }

  #onReplies(packed: Uint8Array): void {
    visitReplies(packed, (connection, calls, requestBytes, from, to) => {
      this.bytesInFlight -= requestBytes;
      this.#options.onReplies(connection, calls, requestBytes, packed.subarray(from, to));
    });
  }

  /** What was asked of the thread gets no answer, and it is started again. */
  protected lost(reason: string): void {
    // Only losses that follow each other closely make the pauses between new attempts grow.
    if (performance.now() - this.#readySinceMs > steadyMs) this.#restarts = 0;
    this.#state = "restarting";
    this.#lostReason = reason;
    this.bytesInFlight = 0;
    this.#packed = requestMessageHeaderBytes;
    this.#owesMore = false;
    for (const waiting of this.#statsWaiting.values()) waiting(this.#kind.noStats);
    this.#statsWaiting.clear();
    this.onGone();
    this.#options.logger.error(
      { thread: this.index, ...this.#kind.facts, reason },
      `a ${this.#kind.what} is lost; it is started again`,
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
          `a ${this.#kind.what} could not be started again`,
        );
      }
    }
  }
}

// No option of a worker says it: the engine asks for the flag when the thread makes its heap. Threads are started one after
// another; one that is started again just then gets it or does not, and is right either way.
function withFirstMarking(bytes: number | undefined, make: () => Worker): Worker {
  if (bytes === undefined) return make();
  const flag = (megabytes: number) => v8.setFlagsFromString(`--initial-old-space-size=${megabytes}`);
  flag(Math.ceil(bytes / 2 ** 20));
  const worker = make();
  const end = () => flag(0);
  worker.once("online", end);
  worker.once("exit", end);
  return worker;
}
