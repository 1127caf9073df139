// RebuildIndex: `heddle index rebuild`. Makes every partition of a data folder anew from the logs.
import { systemClock } from "@heddle/kernel";
import { openDataFolder } from "../data-folder.ts";
import { existingFolder, logBytesOf } from "./existing-folder.ts";
import type { RebuiltShard } from "./rebuilt-index.ts";
import type { RebuildJob } from "./shard-jobs.ts";
import { type AdminProgress, runOnPool } from "./shard-pool.ts";

export interface RebuildOptions {
  readonly data: string;
  /** Path of the domain module: snapshots are made with its folds. */
  readonly domain: string;
  readonly onProgress?: ((progress: AdminProgress) => void) | undefined;
}

export interface RebuildReport {
  readonly context: string;
  readonly shards: readonly RebuiltShard[];
  readonly entities: number;
  readonly events: number;
  readonly snapshots: number;
  readonly tookMs: number;
}

/**
 * Errors: `DATA_FOLDER_IN_USE` while a node has the folder open; `LOG_DAMAGED`, in which case the partition of that shard
 * is as it was; `DATA_FOLDER_*`, `DOMAIN_LOAD_FAILED`, `DISK_FULL`.
 */
export async function rebuildIndex({ data, domain, onProgress }: RebuildOptions): Promise<RebuildReport> {
  const startedAt = performance.now();
  const { context, shardCount } = await existingFolder(data, domain);
  const folder = openDataFolder(data, {
    context,
    shardCount,
    defaultShardCount: shardCount,
    nowMs: systemClock.now(),
  });
  try {
    const jobs = Array.from({ length: shardCount }, (_, shard) => ({ data, domain, shard }));
    // Each log is read twice: checked before its partition is deleted, then folded.
    const totalBytes = 2 * logBytesOf(data, shardCount);
    const shards = await runOnPool<RebuildJob, RebuiltShard>("rebuild", jobs, totalBytes, onProgress);
    const sum = (pick: (shard: RebuiltShard) => number) => shards.reduce((all, shard) => all + pick(shard), 0);
    return {
      context,
      shards,
      entities: sum((shard) => shard.entities),
      events: sum((shard) => shard.events),
      snapshots: sum((shard) => shard.snapshots),
      tookMs: performance.now() - startedAt,
    };
  } finally {
    folder.release();
  }
}
