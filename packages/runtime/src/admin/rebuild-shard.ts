// RebuildShard: derives one shard's partition from its log.
//
// R1. The log is read whole and its end made durable before the old partition is deleted, by the log's own recovery: a
//     damaged log costs no index, and a partition never covers what a power cut could still take from the log.
// R2. The new partition is written in checkpoints like those of a shard. A crash halfway leaves one that covers less;
//     the next start goes on from there.
// What it holds equals what the shard would have written, see rebuilt-index.ts.
// Memory: the states of all entities of the shard.
import type { CompiledContext } from "@heddle/domain/internal";
import { EventLog, entryHeaderBytes, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { HeddleError, systemClock, systemRandom } from "@heddle/kernel";
import { destroyPartition, openPartition, openPartitionReadOnly } from "@heddle/partition/internal";
import { logFolderOf, partitionFolderOf } from "../data-folder.ts";
import { RebuiltIndex, type RebuiltShard } from "./rebuilt-index.ts";
import { scanInSlices } from "./scan-slices.ts";

export interface RebuildShardOptions {
  readonly data: string;
  readonly shard: number;
  readonly domain: CompiledContext;
  /** Log covered by one checkpoint. Default 64 MiB, as in a shard. */
  readonly checkpointBytes?: number;
}

const defaultCheckpointBytes = 64 << 20;

/** The data folder must be locked. `moved` counts the log twice: checked, then read. Errors: `LOG_DAMAGED`, `DISK_FULL`. */
export async function rebuildShard(
  options: RebuildShardOptions,
  moved: (bytes: number) => void,
): Promise<RebuiltShard> {
  const folder = partitionFolderOf(options.data, options.shard);
  settleLog(options, await coveredBefore(folder, options.shard), moved);
  destroyPartition(folder);
  const partition = openPartition({ folder, shard: options.shard });
  const log = new LogReader(nodeDisk, logFolderOf(options.data, options.shard));
  try {
    const rebuild = new RebuiltIndex(options.domain, partition);
    const { end } = await scanInSlices(log, {
      sliceBytes: options.checkpointBytes ?? defaultCheckpointBytes,
      onEntry: (entry) => rebuild.onEntry(entry),
      onBeside: (entry) => rebuild.onBeside(entry),
      onRecord: (_, length) => moved(length),
      afterSlice: (covering) => rebuild.checkpoint(covering),
    });
    await partition.close({ cleanEnd: end });
    return { shard: options.shard, ...rebuild.facts(), coveredPosition: end };
  } finally {
    log.close();
    await partition.close();
  }
}

// The position that the old partition covers is known to have been durable. One that cannot be read says nothing.
async function coveredBefore(folder: string, shard: number): Promise<number> {
  try {
    const old = openPartitionReadOnly({ folder, shard });
    try {
      return old.coveredPosition;
    } finally {
      await old.close();
    }
  } catch (error) {
    if (error instanceof HeddleError) return 0;
    throw error;
  }
}

// Opening the log for writing is its recovery (R1).
function settleLog({ data, shard }: RebuildShardOptions, knownEnd: number, moved: (bytes: number) => void): void {
  const log = EventLog.open({
    disk: nodeDisk,
    folder: logFolderOf(data, shard),
    shard,
    clock: systemClock,
    random: systemRandom,
    durability: "fsync",
    knownEnd,
    replayFrom: 0,
    onEntry: (entry) => moved(entryHeaderBytes + entry.bodyTo - entry.bodyFrom),
  });
  log.close();
}
