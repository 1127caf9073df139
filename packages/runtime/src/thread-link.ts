// ThreadLink: the listener's side of one shard thread: worker-link.ts, and what concerns shards.
import { MessageChannel } from "node:worker_threads";
import { HeddleError } from "@heddle/kernel";
import type { ShardState } from "@heddle/shard";
import { firstMarkingBytesOf } from "./state-budget.ts";
import type { FromThread, ThreadStart, ThreadStats, ToThread } from "./thread-messages.ts";
import { WorkerLink, type WorkerLinkOptions } from "./worker-link.ts";

export interface ThreadLinkOptions extends WorkerLinkOptions {
  readonly start: ThreadStart;
  /** The thread is ready, for the first time or again: the others have to hear of it. */
  readonly onReady: () => void;
  /** The sessions of the connections that are open, for a thread that starts again. */
  readonly sessions: () => Iterable<{ connection: number; session: number }>;
  /** What its shards ask of the threads of readers. */
  readonly onOther?: (message: FromThread, link: ThreadLink) => void;
}

const noStats: ThreadStats = {
  shards: [],
  sagas: [],
  reminders: [],
  eventLoopDelayMs: { mean: 0, p99: 0, max: 0 },
};

export class ThreadLink extends WorkerLink<ThreadStats, ToThread, FromThread> {
  readonly shards: readonly number[];
  readonly #options: ThreadLinkOptions;
  /** What each shard last said of itself. */
  readonly shardStates = new Map<number, { readonly state: ShardState; readonly reason: string }>();

  constructor(options: ThreadLinkOptions) {
    const { index, start } = options;
    super(options, {
      what: "shard thread",
      file: "shard-thread",
      name: `heddle-shards-${index}`,
      start,
      noStats,
      firstMarkingBytes: firstMarkingBytesOf(start.limits.stateBytesMax * start.shards.length),
      facts: { shards: start.shards },
    });
    this.#options = options;
    this.shards = start.shards;
  }

  /** Makes a way between two threads that are ready. */
  connectTo(other: ThreadLink): void {
    const { port1, port2 } = new MessageChannel();
    this.tell({ kind: "peer", thread: other.index, port: port1 }, [port1]);
    other.tell({ kind: "peer", thread: this.index, port: port2 }, [port2]);
  }

  protected override onReady(): void {
    for (const open of this.#options.sessions()) this.tell({ kind: "connection-opened", ...open });
    this.#options.onReady();
  }

  protected override onMessage(message: FromThread): void {
    if (message.kind !== "state") {
      this.#options.onOther?.(message, this);
      return;
    }
    this.shardStates.set(message.shard, { state: message.state, reason: message.reason });
  }

  protected override startFailed(reason: string): HeddleError {
    return new HeddleError("SHARD_STOPPED", { shard: this.shards[0] ?? 0, reason });
  }
}
