// RecordSource: the bytes of a shard's log, whole records at a time, for those who hand them on as they are.
import type { TailRun } from "@heddle/event-log/internal";

export interface RecordSource {
  readonly shardCount: number;
  /** Position behind the last durable record; 0 as long as the shard has none, or has not been opened. */
  end(shard: number): number;
  /**
   * Reads records from a position on, which is 0, or the `to` of an earlier run: at least one, and more until about
   * `bytesMax` bytes. Undefined when there are none yet. Errors: `LOG_DAMAGED`.
   */
  readRecords(shard: number, from: number, bytesMax: number): TailRun | undefined;
  /** To be taken before reading, and given to `changedSince`. */
  readonly mark: number;
  /** Resolves when some shard's end has moved since `mark`, or after `timeoutMs`. */
  changedSince(mark: number, timeoutMs: number): Promise<void>;
}
