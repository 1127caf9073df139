// partition: the LMDB index of one shard.
//
// Owns heads, extents, snapshots, append ids, session windows, the counts of event types, the erasures under way and the
// open transactions on disk, the Bloom filter before the ids (P4), and the position of the log that all of it covers. Written
// by checkpoints only; everything can be derived from the log.
//
// Promises: a covered position never stands there without what it covers, whatever instruction a crash hits (P5); a
// damaged value is refused and never taken for another (P5); a full disk leaves it readable (P8); after a scrub no byte of
// what was removed is in its files (P6).
// Not promised: a partition that is ahead of its covered position is usual, and says nothing about the log's end.

// Reading and writing
export type { CheckpointWriter, Partition, PartitionReader } from "./contract.ts";
export { type DumpEntry, dumpPartition, sortedAppendIds } from "./dump.ts";
// Checking and deleting
export { checkPartitionFile, destroyPartition } from "./environment.ts";
// Append ids and heads on their way, and names of ids whose entity was erased
export { erasedIdName, erasedIdNameOfDigest } from "./erased-ids.ts";
export { type FreshId, FreshIds } from "./fresh-ids.ts";
export { hashAppendId, type IdHash, newIdHash } from "./id-hash.ts";
export { PackedHeads } from "./packed-heads.ts";
// Opening
export { type DetachedReader, openPartition, openPartitionReadOnly, type PartitionOptions } from "./partition.ts";
// What it holds
export {
  type AlarmQuery,
  type AlarmRecord,
  type AppendIdRecord,
  alarmUnknown,
  type DecidedRecord,
  type EntityHead,
  type ErasureRecord,
  type ErasureStage,
  type Extent,
  type Forgetting,
  type OpenTransactions,
  type PendingRecord,
  type SessionRecord,
  type SnapshotRecord,
  type TypeCount,
} from "./records.ts";
// Erasing for good
export type { Remnants } from "./remnants.ts";
export type { ScrubResult } from "./scrub.ts";
