// Router: which thread has which shard, and whether it takes more.
import { HeddleError } from "@heddle/kernel";
import { shardOfHash } from "@heddle/kernel/internal";
import type { ThreadLink } from "./thread-link.ts";

export interface RouterOptions {
  readonly shardCount: number;
  /** Shards are dealt to threads in turn: shard s lives on thread s modulo the number of threads. */
  readonly links: readonly ThreadLink[];
  /** Request bytes that one thread may have unanswered before more is refused (P8). */
  readonly threadBytesMax: number;
}

export class Router {
  readonly shardCount: number;
  readonly links: readonly ThreadLink[];
  readonly #threadBytesMax: number;

  constructor(options: RouterOptions) {
    this.shardCount = options.shardCount;
    this.links = options.links;
    this.#threadBytesMax = options.threadBytesMax;
  }

  shardOf(hash: number): number {
    return shardOfHash(hash, this.shardCount);
  }

  linkOf(shard: number): ThreadLink {
    return this.links[shard % this.links.length]!;
  }

  /** Why a shard takes nothing now, or undefined. */
  refusal(shard: number, link: ThreadLink): HeddleError | undefined {
    if (!link.ready) return new HeddleError("SHARD_STOPPED", { shard, reason: link.notReadyReason });
    if (link.bytesInFlight <= this.#threadBytesMax) return undefined;
    return new HeddleError("OVERLOADED", {
      queue: `the queue of shard thread ${link.index} (bytes)`,
      depth: link.bytesInFlight,
      depthMax: this.#threadBytesMax,
    });
  }
}

/** The shards that thread `index` of `threads` hosts. */
export function shardsOfThread(index: number, threads: number, shardCount: number): number[] {
  const shards: number[] = [];
  for (let shard = index; shard < shardCount; shard += threads) shards.push(shard);
  return shards;
}
