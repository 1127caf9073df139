// What a partition is to the shard and to readers in other processes.

export interface EntityHead {
  /** Sequence of the entity's last event. */
  readonly seq: number;
  /** Log position of the entry that holds it. */
  readonly position: number;
  /** Milliseconds since 1970 of that event. */
  readonly time: number;
}

/** One log entry: events `firstSeq` to `firstSeq + count - 1` lie in the entry at this log position. */
export interface Extent {
  readonly firstSeq: number;
  readonly count: number;
  readonly position: number;
}

export interface SnapshotRecord {
  readonly aggregate: string;
  /** Version of the fold that made the state; the reader discards those of another. */
  readonly foldVersion: number;
  /** Sequence of the entity up to which events are in the state. */
  readonly seq: number;
  /** Opaque to the partition. */
  readonly state: Uint8Array;
}

export interface SessionRecord {
  readonly session: number;
  readonly lastSeenMs: number;
  /** Alternating call number and log position. */
  readonly calls: Float64Array;
}

export interface AppendIdRecord {
  readonly entity: string;
  readonly id: string;
  /** Log position of the entry that carried the id. */
  readonly position: number;
}

/**
 * Reading. All reads are synchronous, see the last committed state, and hold nothing open: an iterator may be left
 * lying for as long as its owner likes, and reads on from what is there then.
 *
 * Errors of every method: `PARTITION_DAMAGED` when what is found is not what was written; `CLOSED` after `close`.
 */
export interface PartitionReader {
  /**
   * Log position up to which everything is in here; 0 when new. Entities may already be newer: a checkpoint writes them
   * first and this last.
   */
  readonly coveredPosition: number;
  /** Reads from LMDB, one for each value or page of values, and questions that the filter answered without one. */
  readonly counters: { readonly reads: number; readonly bloomSkips: number };

  /** Undefined for an entity that was never written. */
  head(entity: string): EntityHead | undefined;
  /** The newest snapshot of each of the entity's aggregates, by name. */
  snapshots(entity: string): SnapshotRecord[];
  /**
   * The entity's extents, each once: up from the one that holds `fromSeq`, or down from it (from the last one, if the
   * entity does not reach `fromSeq`). They end where the head ends that the first step saw.
   */
  extents(entity: string, fromSeq: number, direction: "forward" | "backward"): IterableIterator<Extent>;
  /** Log position of the entry that carried this id of the caller's. Asks the Bloom filter first, if it is loaded. */
  appendIdPosition(entity: string, id: string): number | undefined;
  sessions(): IterableIterator<SessionRecord>;
  /** Entities in the order of their UTF-8 bytes, from `from` on (inclusive). */
  entities(from?: string): IterableIterator<{ readonly entity: string; readonly head: EntityHead }>;
  /** Every append id, by entity, then by id. */
  appendIds(): IterableIterator<AppendIdRecord>;
}

export interface Partition extends PartitionReader {
  /**
   * Where the log ended when the partition was last closed by a clean stop. Undefined when the last stop was not clean:
   * opening clears it durably before anything else, so that only the next clean stop can set it again.
   */
  readonly cleanEnd: number | undefined;
  /** Starts a checkpoint. One at a time: the one before must have ended, well or not. */
  checkpoint(covering: number): CheckpointWriter;
  /**
   * Ends all writing, records the clean stop if there is one (durably), and closes the environment, in this order.
   * A checkpoint that was not committed stays uncovered. Call it before the thread ends, never terminate the thread.
   *
   * Errors: `DISK_FULL` or `PARTITION_DAMAGED` when the clean stop could not be recorded; it is closed all the same.
   */
  close(options?: { cleanEnd?: number }): Promise<void>;
}

/**
 * Writes one checkpoint. Puts may be spread over many turns, entities in any order. No put ever throws because of the
 * disk: `commit` says how it went. If it fails or the process dies, what was put is harmless: the covered position
 * stands where it stood, recovery replays from there and puts the same again.
 */
export interface CheckpointWriter {
  /**
   * An entity as it now stands: its head, the extents since its last checkpoint (triples of first sequence, count and
   * position, ascending and without gaps), and snapshots. A snapshot takes the place of the entity's earlier one of the
   * same aggregate; aggregates that are not named keep theirs. All of it becomes readable and durable at once.
   *
   * Put only what the log has on disk: the partition may otherwise outlive the log's tail.
   */
  putEntity(entity: string, head: EntityHead, newExtents: Float64Array, snapshots: readonly SnapshotRecord[]): void;
  putAppendId(entity: string, id: string, position: number): void;
  putSession(session: number, lastSeenMs: number, calls: Float64Array): void;
  dropSession(session: number): void;
  /** Resolves when what was put so far has left this process's own queue: a writer in slices waits for it in between. */
  drained(): Promise<void>;
  /**
   * Resolves when everything is on disk and `coveredPosition` has moved.
   * Errors: `DISK_FULL`; `PARTITION_DAMAGED`; `CLOSED`. The partition stays readable, and a later checkpoint may succeed.
   */
  commit(): Promise<void>;
}
