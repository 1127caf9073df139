// Router: which thread answers what, and whether it takes more. Most requests are a shard's; what is read over all entities
// goes to a thread that reads beside them.
import type { DurableEnds } from "@heddle/feed/internal";
import { HeddleError } from "@heddle/kernel";
import { shardOfHash } from "@heddle/kernel/internal";
import { requestKind } from "@heddle/protocol/internal";
import type { ReaderLink } from "./reader-link.ts";
import type { ThreadLink } from "./thread-link.ts";
import type { WorkerLink } from "./worker-link.ts";

/** Any thread of the node. */
export type AnyLink = Pick<
  WorkerLink<unknown, never, never>,
  "index" | "what" | "takes" | "notReadyReason" | "bytesInFlight" | "send" | "reserve" | "commit" | "pack"
>;

/** One that reads beside the shards, whatever it says of itself. */
export type AnyReader = AnyLink & Pick<ReaderLink<never>, "need" | "tell" | "ask" | "stop" | "ready" | "state">;

/** The threads that read beside the shards. */
export interface Readers {
  readonly feed?: AnyReader | undefined;
  /** Undefined where there are no projections. */
  readonly projection?: AnyReader | undefined;
}

export interface RouterOptions {
  readonly shardCount: number;
  /** Shards are dealt to threads in turn: shard s lives on thread s modulo the number of threads. */
  readonly links: readonly ThreadLink[];
  readonly readers?: Readers;
  readonly ends: DurableEnds;
  /** Request bytes that one thread may have unanswered before more is refused (P8). */
  readonly threadBytesMax: number;
}

export class Router {
  readonly shardCount: number;
  readonly links: readonly ThreadLink[];
  readonly readers: Readers;
  readonly #ends: DurableEnds;
  readonly #threadBytesMax: number;

  constructor(options: RouterOptions) {
    this.shardCount = options.shardCount;
    this.links = options.links;
    this.readers = options.readers ?? {};
    this.#ends = options.ends;
    this.#threadBytesMax = options.threadBytesMax;
  }

  shardOf(hash: number): number {
    return shardOfHash(hash, this.shardCount);
  }

  /** Where each shard's log ends durably now: all that a client sends from here on lies behind. */
  ends(): number[] {
    return Array.from({ length: this.shardCount }, (_, shard) => this.#ends.of(shard));
  }

  linkOf(shard: number): ThreadLink {
    return this.links[shard % this.links.length]!;
  }

  get allLinks(): readonly (ThreadLink | AnyReader)[] {
    return [...this.links, ...Object.values(this.readers).filter((link) => link !== undefined)];
  }

  /** Shard threads first, then those of readers: by `index`. */
  get threadCount(): number {
    return this.links.length + 2;
  }

  /** The thread that answers a request of this kind about this shard; undefined where the node has no such thread. */
  linkFor(kind: number, shard: number): AnyLink | undefined {
    const { feed, query, unwatch, unfeed, groupForget } = requestKind;
    if (kind < feed || kind > groupForget || kind === unwatch) return this.linkOf(shard);
    const isFeed = kind < query || kind >= unfeed;
    const reader = isFeed ? this.readers.feed : this.readers.projection;
    reader?.need();
    return reader;
  }

  /** Why a thread takes nothing now, or undefined. */
  refusal(shard: number, link: AnyLink | undefined): HeddleError | undefined {
    if (link === undefined) return new HeddleError("NO_QUERY_SINK", { wanted: "projection", known: [] });
    if (!link.takes) return new HeddleError("SHARD_STOPPED", { shard, reason: link.notReadyReason });
    if (link.bytesInFlight <= this.#threadBytesMax) return undefined;
    return new HeddleError("OVERLOADED", {
      queue: `the queue of ${link.what} ${link.index} (bytes)`,
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
