// Rehearse: `heddle rehearse`. Refolds the real events of a data folder with new code and says what would not be as it is.
//
// Reads only. May run beside the node that has the folder open: see rehearse-slice.ts.
// Not promised: that the new code makes the same of events that are yet to come.
import type { CompiledContext } from "@heddle/domain/internal";
import { loadDomain } from "../load-domain.ts";
import { slicesOf } from "./entity-slices.ts";
import { existingFolder, shardLogBytes } from "./existing-folder.ts";
import { joinRehearsals, type RehearsalFindings } from "./rehearsal-report.ts";
import type { RehearseJob } from "./shard-jobs.ts";
import { type AdminProgress, poolThreads, runOnPool } from "./shard-pool.ts";
import type { SliceRehearsal } from "./slice-rehearsal.ts";

export interface RehearseOptions {
  readonly data: string;
  /** Path of the new domain module. */
  readonly domain: string;
  /** Path of the present one. Without it, states are compared with the partitions' snapshots. */
  readonly against?: string | undefined;
  readonly onProgress?: ((progress: AdminProgress) => void) | undefined;
  /** Entities that differ, and faults, that are told whole; all are counted. Default 100. */
  readonly toldMax?: number;
}

export interface RehearsalReport extends RehearsalFindings {
  readonly context: string;
  readonly shards: number;
  readonly threads: number;
  readonly tookMs: number;
}

/**
 * Errors: `DATA_FOLDER_*` for a folder that is none or belongs to another context; `DOMAIN_LOAD_FAILED` for either module;
 * `LOG_DAMAGED`.
 */
export async function rehearseFolder(options: RehearseOptions): Promise<RehearsalReport> {
  const { data, domain, against, onProgress, toldMax = 100 } = options;
  const startedAt = performance.now();
  const { context, shardCount } = await existingFolder(data, domain);
  const [next, present] = await Promise.all([compiled(domain), against === undefined ? undefined : compiled(against)]);
  const jobs: RehearseJob[] = [];
  let totalBytes = 0;
  for (let shard = 0; shard < shardCount; shard++) {
    const logBytes = shardLogBytes(data, shard);
    const slices = slicesOf(logBytes, shardCount, poolThreads());
    totalBytes += slices * logBytes;
    for (let slice = 0; slice < slices; slice++) {
      jobs.push({ data, domain, against, shard, slice, slices, toldMax });
    }
  }
  const slices = await runOnPool<RehearseJob, SliceRehearsal>("rehearse", jobs, totalBytes, onProgress);
  return {
    ...joinRehearsals(slices, next, present, toldMax),
    context,
    shards: shardCount,
    threads: Math.min(poolThreads(), jobs.length),
    tookMs: performance.now() - startedAt,
  };
}

async function compiled(path: string): Promise<CompiledContext> {
  return loadDomain(path);
}
