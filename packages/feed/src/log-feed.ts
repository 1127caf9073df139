// LogFeed: the feeds of a node's shards, out of the files that the shards write. Reads what is in the page cache anyway, on
// whatever thread it is made on; the shards' threads hear nothing of it.
//
// F1, F2 as feed-source.ts says.
import {
  type Disk,
  newEntryView,
  recordPosition,
  TailReader,
  type TailRun,
  visitRecords,
} from "@heddle/event-log/internal";
import type { DurableEnds } from "./durable-ends.ts";
import type { FeedChunk, FeedSource } from "./feed-source.ts";

export interface LogFeedOptions {
  readonly disk: Disk;
  /** Folder of each shard's log. */
  readonly folders: readonly string[];
  readonly ends: DurableEnds;
}

export class LogFeed implements FeedSource {
  readonly shardCount: number;
  readonly #options: LogFeedOptions;
  readonly #readers: (TailReader | undefined)[] = [];
  readonly #view = newEntryView();

  constructor(options: LogFeedOptions) {
    this.#options = options;
    this.shardCount = options.folders.length;
  }

  end(shard: number): number {
    return this.#options.ends.of(shard);
  }

  read(shard: number, from: number, bytesMax: number): FeedChunk | undefined {
    const run = this.readRecords(shard, from, bytesMax);
    if (run === undefined) return undefined;
    return {
      shard,
      from: recordPosition(run),
      to: run.to,
      visit: (visitor) => visitRecords(run.bytes, 0, run.bytes.length, recordPosition(run), this.#view, visitor),
    };
  }

  /** The same, as bytes: whole records of one segment. */
  readRecords(shard: number, from: number, bytesMax: number): TailRun | undefined {
    const end = this.end(shard);
    if (from >= end) return undefined;
    return this.#readerOf(shard).read(from, end, bytesMax);
  }

  /** Whether a position from outside, not beyond the end, is one that can be read from. Errors: `LOG_DAMAGED`. */
  beginsAt(shard: number, position: number): boolean {
    const end = this.end(shard);
    return position === end || (position < end && this.#readerOf(shard).beginsAt(position, end));
  }

  get mark(): number {
    return this.#options.ends.mark;
  }

  changedSince(mark: number, timeoutMs: number): Promise<void> {
    return this.#options.ends.changedSince(mark, timeoutMs);
  }

  #readerOf(shard: number): TailReader {
    this.#readers[shard] ??= new TailReader(this.#options.disk, this.#options.folders[shard]!);
    return this.#readers[shard];
  }

  close(): void {
    for (const reader of this.#readers) reader?.close();
    this.#readers.length = 0;
  }
}
