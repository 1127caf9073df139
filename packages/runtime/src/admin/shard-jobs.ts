// What runs on the threads of the pool: one job, one shard or a slice of one. Named exports, called by shard-pool.ts by
// their names.
import {
  type BackUpTask,
  backUpShard,
  type RestoredShard,
  type RestoreTask,
  restoreShard,
  type ShardBackup,
  type VerifiedShard,
  type VerifyTask,
  verifyShard,
} from "@heddle/backup/internal";
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { loadDomain } from "../load-domain.ts";
import {
  type AuditProjectionOptions,
  auditProjection as compareProjection,
  type ProjectionAudit,
} from "./audit-projections.ts";
import { auditSlice } from "./audit-slice.ts";
import { type RebuildShardOptions, rebuildShard } from "./rebuild-shard.ts";
import type { RebuiltShard } from "./rebuilt-index.ts";
import { rehearseSlice } from "./rehearse-slice.ts";
import type { JobOutcome, PoolJob } from "./shard-pool.ts";
import type { AuditSliceOptions, SliceAudit } from "./slice-audit.ts";
import type { RehearseSliceOptions, SliceRehearsal } from "./slice-rehearsal.ts";

/** What a job is given, with the path of a domain module in its place: it is imported once per thread. */
export type WithDomainPath<Options extends { readonly domain: CompiledContext }> = Omit<Options, "domain"> & {
  readonly domain: string;
};

export type AuditJob = WithDomainPath<AuditSliceOptions>;
export type AuditProjectionJob = WithDomainPath<AuditProjectionOptions>;
export type RebuildJob = WithDomainPath<RebuildShardOptions>;
export type RehearseJob = Omit<WithDomainPath<RehearseSliceOptions>, "against"> & {
  readonly against: string | undefined;
};

export async function audit(job: AuditJob & PoolJob): Promise<JobOutcome<SliceAudit>> {
  return asOutcome(async () => auditSlice({ ...job, domain: await compiled(job.domain) }, mover(job)));
}

export async function auditProjection(job: AuditProjectionJob & PoolJob): Promise<JobOutcome<ProjectionAudit>> {
  return asOutcome(async () => compareProjection({ ...job, domain: await compiled(job.domain) }, mover(job)));
}

export async function rebuild(job: RebuildJob & PoolJob): Promise<JobOutcome<RebuiltShard>> {
  return asOutcome(async () => rebuildShard({ ...job, domain: await compiled(job.domain) }, mover(job)));
}

export async function rehearse(job: RehearseJob & PoolJob): Promise<JobOutcome<SliceRehearsal>> {
  return asOutcome(async () => {
    const against = job.against === undefined ? undefined : await compiled(job.against);
    return rehearseSlice({ ...job, domain: await compiled(job.domain), against }, mover(job));
  });
}

export async function backUp(job: BackUpTask & PoolJob): Promise<JobOutcome<ShardBackup>> {
  return asOutcome(() => backUpShard(job, mover(job)));
}

export async function restore(job: RestoreTask & PoolJob): Promise<JobOutcome<RestoredShard>> {
  return asOutcome(async () => {
    try {
      return await restoreShard(job, mover(job));
    } catch (cause) {
      // What the system says of the new folder's files would lose its code on the way to the other thread.
      if (cause instanceof HeddleError || !(cause instanceof Error) || !("syscall" in cause)) throw cause;
      throw new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: job.logFolder, message: cause.message }, { cause });
    }
  });
}

export async function verifyBackup(job: VerifyTask & PoolJob): Promise<JobOutcome<VerifiedShard>> {
  return asOutcome(() => verifyShard(job, mover(job)));
}

async function compiled(path: string): Promise<CompiledContext> {
  return loadDomain(path);
}

function mover({ slot, progress }: PoolJob): (bytes: number) => void {
  return (bytes) => {
    Atomics.add(progress, slot, BigInt(bytes));
  };
}

async function asOutcome<R>(run: () => Promise<R>): Promise<JobOutcome<R>> {
  try {
    return { ok: true, result: await run() };
  } catch (error) {
    if (error instanceof HeddleError) return { ok: false, error: toWireError(error) };
    throw error;
  }
}
