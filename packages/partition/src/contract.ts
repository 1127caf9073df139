// What a partition is to the shard and to readers in other processes.
import type { FreshIds } from "./fresh-ids.ts";
import type { IdHash } from "./id-hash.ts";
import type { PackedHeads } from "./packed-heads.ts";
import type {
  AlarmQuery,
  AlarmRecord,
  AppendIdRecord,
  EntityHead,
  ErasureRecord,
  ErasureStage,
  Extent,
  Forgetting,
  OpenTransactions,
  SessionRecord,
  SnapshotRecord,
  TypeCount,
} from "./records.ts";
import type { ScrubResult } from "./scrub.ts";

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
  /**
   * Reads from LMDB, one for each value or page of values, and questions that the filter answered without one. What a
   * checkpoint or a scrub reads for itself is not counted.
   */
  readonly counters: { readonly reads: number; readonly bloomSkips: number };

  /** Undefined for an entity that was never written. */
  head(entity: string): EntityHead | undefined;
  /** The newest snapshot of each of the entity's aggregates, by name. */
  snapshots(entity: string): SnapshotRecord[];
  /** The newest snapshot of one of them: a third of the price of asking for all. */
  snapshot(entity: string, aggregate: string): SnapshotRecord | undefined;
  /**
   * The entity's extents, each once: up from the one that holds `fromSeq` (from the first one, if the entity begins
   * above it), or down from it (from the last one, if the entity does not reach `fromSeq`). The first is that of the last
   * tombstone, or of sequence 1; they end where the head ends that the first step saw.
   */
  extents(entity: string, fromSeq: number, direction: "forward" | "backward"): IterableIterator<Extent>;
  /** Log position of the entry that carried this id of the caller's. Asks the Bloom filter first, if it is loaded. */
  appendIdPosition(entity: string, id: string): number | undefined;
  sessions(): IterableIterator<SessionRecord>;
  /**
   * Entities in the order of their UTF-8 bytes, from `from` on (inclusive). Whoever takes a few has read few: it begins
   * with small pages and goes on with larger ones.
   */
  entities(from?: string): IterableIterator<{ readonly entity: string; readonly head: EntityHead }>;
  /** Every snapshot, by entity, then by aggregate: half the price of asking for each entity's. */
  allSnapshots(): IterableIterator<SnapshotRecord & { readonly entity: string }>;
  /**
   * Every append id, in no particular order. Beside a writer one may come twice, and one of an entity that is erased
   * meanwhile may be left out.
   */
  appendIds(): IterableIterator<AppendIdRecord>;
  /** By aggregate, type and version, in the order of their bytes. As of `coveredPosition` exactly. */
  catalogue(): TypeCount[];
  /** By entity. */
  erasures(): ErasureRecord[];
  /** As of `coveredPosition` exactly. */
  openTransactions(): OpenTransactions;
  /** Entities of a kind that have an alarm, by its time, then by the bytes of their ids. Each exactly as its head says. */
  alarms(query: AlarmQuery): AlarmRecord[];
  /** How many `alarms` would give without a limit. Looks at each. */
  countAlarms(query: Omit<AlarmQuery, "limit">): number;
}

export interface Partition extends PartitionReader {
  /** Whether an append id was announced before, in this life or an earlier one. A no is certain, a yes is wrong for one in a hundred. */
  mayKnowAppendId(hash: IdHash): boolean;
  /**
   * Announces an append id that a checkpoint will bring; to be done before anybody looks for it. Returns whether it was certainly not
   * announced before.
   */
  announceAppendId(hash: IdHash): boolean;
  /**
   * Where the log ended when the partition was last closed by a clean stop. Undefined when the last stop was not clean:
   * opening clears it durably before anything else, so that only the next clean stop can set it again.
   */
  readonly cleanEnd: number | undefined;
  /** Starts a checkpoint. One at a time: the one before must have ended, well or not, and so must a scrub. */
  checkpoint(covering: number): CheckpointWriter;
  /**
   * Makes sure that no byte of a value or key that was removed or replaced before this call is in any file of the
   * partition (P6). A checkpoint must not be under way, and none can start until it ends. Reads go on.
   *
   * It works in slices of about a millisecond and waits for `nextTurn` between two of them (default: the next turn of the
   * event loop). When `nextTurn` rejects, the scrub ends with its error. Ended early, by that or by a crash, it leaves a
   * partition with everything in it, and the next one passes quickly over what is done. `close` ends it early.
   *
   * Errors: `OVERLOADED` when a reader in another process held an old state for too long, which it would otherwise lose;
   * `CLOSED`; `DISK_FULL`; `PARTITION_DAMAGED`.
   */
  scrub(nextTurn?: () => Promise<void>): Promise<ScrubResult>;
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
   * An entity as it now stands: its head, the extents since its last checkpoint (quads of first sequence, count,
   * position and check, ascending and without gaps; none for an entity that was only read), and snapshots. A snapshot takes
   * the place of the entity's earlier one of the same aggregate; aggregates that are not named keep theirs. All of it
   * becomes readable and durable at once. `head.inlineExtents` stand in the place of new ones: one row instead of two.
   *
   * The entity's alarm moves with its head. `alarmBefore` is that of the head which the partition has, `alarmUnknown` where
   * the caller can not tell; left out for an entity whose head there has none.
   *
   * Put only what the log has on disk: the partition may otherwise outlive the log's tail.
   */
  putEntity(
    entity: string,
    head: EntityHead,
    newExtents: Float64Array,
    snapshots: readonly SnapshotRecord[],
    alarmBefore?: number | undefined,
  ): void;
  /**
   * The same for an entity that has nothing but a head with all its extents, and had no alarm in the partition. The row is lent until
   * `commit` has settled; if it fails, for as long as the partition is open.
   */
  putPackedHead(heads: PackedHeads, row: number): void;
  /** Once at most, and instead of `putAppendId`: ids that were announced. They are lent until `commit` has settled. */
  takeAppendIds(ids: FreshIds): void;
  putAppendId(entity: string, id: string, position: number): void;
  /**
   * Forgets an erased entity's earlier life. Call it before the `putEntity` of the same checkpoint, whose head has
   * `belowSeq` as its base. It takes effect in two steps:
   *
   * - with that `putEntity`, at once: the entity's snapshots are gone, and its extents begin at the tombstone;
   * - when `commit` resolves: no extent below the tombstone is stored any more, and each append id with a lower position is
   *   stored by its digest only (see `erasedIdName`), with the position as it was. Ids of this checkpoint, too, whether
   *   they are put before or after this call. Until then the ids are found by their own names.
   *
   * A checkpoint that fails or is cut off has done part of it; the next one is asked again, and finishes it. However much
   * the entity had, this call only takes a note, and `commit` works in slices.
   */
  forgetHistory(entity: string, forgetting: Forgetting): void;
  /** Sets the count of a type's events, 0 to drop it. Durable in the same transaction as the covered position. */
  putTypeCount(aggregate: string, type: string, schemaVersion: number, count: number): void;
  /**
   * Notes an erasure under way, or its next stage. Durable in the same transaction as the covered position and the counts,
   * after everything else: stage "scrub" says that what `forgetHistory` does is done. All of a checkpoint's are written in
   * one turn: a microsecond each.
   */
  putErasure(entity: string, seq: number, stage: ErasureStage): void;
  dropErasure(entity: string): void;
  /** Sets what transactions are open. Durable in the same transaction as the covered position; left out: as before. */
  putOpenTransactions(open: OpenTransactions): void;
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
