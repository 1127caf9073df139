// FeedSource: where committed events come from, shard by shard, in the order of the log. Two implementations: the log's own
// files (log-feed.ts), and JetStream streams that a publisher filled (nats/).
//
// F1. What a source gives is durable (P2), whole records as the log has them, in order, without a gap.
// F2. The same position gives the same entries for good, but for those that were erased since (P6).
import type { EntryView } from "@heddle/event-log/internal";

/** Whole records of one shard, one after another. */
export interface FeedChunk {
  readonly shard: number;
  /** Position of the first record. */
  readonly from: number;
  /** Where to read on: the position behind the last record. */
  readonly to: number;
  /**
   * Visits each entry, in order, those that belong to no history too, with the position of the record that it stands in. The
   * view is reused; its bytes are lent until `read`.
   */
  visit(visitor: (entry: EntryView, record: number) => void): void;
}

export interface FeedSource {
  readonly shardCount: number;
  /** Position behind the last record that is known here. */
  end(shard: number): number;
  /**
   * Reads records from a position on, which is 0, or the `to` of an earlier chunk: at least one, and more until about
   * `bytesMax` bytes. Undefined when there are none yet.
   * Errors: `LOG_DAMAGED`; `FEED_GAP`; `SINK_UNAVAILABLE` for a source behind a network.
   */
  read(shard: number, from: number, bytesMax: number): FeedChunk | undefined | Promise<FeedChunk | undefined>;
  /** To be taken before reading, and given to `changedSince`. */
  readonly mark: number;
  /** Resolves when some shard's end has moved since `mark`, or after `timeoutMs`. */
  changedSince(mark: number, timeoutMs: number): Promise<void>;
}
