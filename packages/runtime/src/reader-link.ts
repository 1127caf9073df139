// ReaderLink: the listener's side of a thread that reads beside the shards: of feeds, of projections. It is started when it is
// first needed, and requests that come meanwhile wait for it. One that dies is started again like a shard thread; what was
// asked of it is asked again by the SDKs, because readers take nothing that could be lost.
import { HeddleError } from "@heddle/kernel";
import { fromWireError } from "@heddle/kernel/internal";
import type { FromReader, ReaderStats, ToReader } from "./thread-messages.ts";
import { type WorkerKind, WorkerLink, type WorkerLinkOptions } from "./worker-link.ts";

export interface ReaderLinkOptions<Stats> extends WorkerLinkOptions {
  readonly kind: Omit<WorkerKind<ReaderStats<Stats>>, "noStats"> & { readonly noStats: Stats };
  /** Told each time when the thread is ready. */
  readonly onReady?: () => void;
}

interface Asked {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: HeddleError) => void;
}

export class ReaderLink<Stats = unknown> extends WorkerLink<ReaderStats<Stats>, ToReader, FromReader> {
  readonly #onReady: (() => void) | undefined;
  readonly #asked = new Map<number, Asked>();
  /** Questions from before the thread was ready. */
  #unsent: ToReader[] = [];
  #nextId = 1;

  constructor(options: ReaderLinkOptions<Stats>) {
    const { noStats, ...kind } = options.kind;
    const eventLoopDelayMs = { mean: 0, p99: 0, max: 0 };
    super(options, { ...kind, noStats: { reader: noStats, eventLoopDelayMs } });
    this.#onReady = options.onReady;
  }

  override get takes(): boolean {
    return this.ready || this.state === "starting";
  }

  /** Somebody needs the thread: it is started, unless that was done. */
  need(): void {
    if (this.state !== "resting") return;
    this.start().catch((error: Error) => {
      if (this.state === "starting") this.lost(error.message);
    });
  }

  /**
   * Asks the thread something rare, in plain data, and gives its answer. It starts the thread.
   * Errors: those that the thread answers with; `OUTCOME_UNKNOWN` when it is lost meanwhile, `SHARD_STOPPED` while it is away.
   */
  ask(question: unknown): Promise<unknown> {
    this.need();
    const waits = this.state === "starting";
    if (!waits && !this.ready) return Promise.reject(this.startFailed(this.notReadyReason));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      const message: ToReader = { kind: "ask", id, question };
      if (waits) this.#unsent.push(message);
      else this.tell(message);
    });
  }

  protected override onReady(): void {
    for (const message of this.#unsent.splice(0)) this.tell(message);
    this.#onReady?.();
  }

  protected override onMessage(message: FromReader): void {
    const asked = this.#asked.get(message.id);
    this.#asked.delete(message.id);
    if (message.error !== undefined) asked?.reject(fromWireError(message.error));
    else asked?.resolve(message.answer);
  }

  protected override onGone(): void {
    this.#unsent = [];
    const problem = `the ${this.what} was lost before it answered`;
    for (const { reject } of this.#asked.values()) reject(new HeddleError("OUTCOME_UNKNOWN", { problem }));
    this.#asked.clear();
  }

  // No shard is meant: its number says where the request would have gone.
  protected override startFailed(reason: string): HeddleError {
    return new HeddleError("SHARD_STOPPED", { shard: 0, reason: `the ${this.what}: ${reason}` });
  }
}
