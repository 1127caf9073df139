// What runs on the threads of the pool: one job, one shard. Named exports, called by shard-pool.ts by their names.
import { compileContext, loadContext } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { auditShard, type ShardAudit } from "./audit-shard.ts";
import { type RebuiltShard, rebuildShard } from "./rebuild-shard.ts";
import type { JobOutcome, ShardJob } from "./shard-pool.ts";

export interface DomainJob extends ShardJob {
  readonly data: string;
  readonly shardCount: number;
  /** Path of the domain module; it is imported once per thread. */
  readonly domain: string;
}

export interface AuditJob extends DomainJob {
  readonly problemsMax: number;
}

export async function audit(job: AuditJob): Promise<JobOutcome<ShardAudit>> {
  return asOutcome(async () =>
    auditShard({ ...job, domain: compileContext(await loadContext(job.domain)) }, mover(job)),
  );
}

export async function rebuild(job: DomainJob): Promise<JobOutcome<RebuiltShard>> {
  return asOutcome(async () =>
    rebuildShard({ ...job, domain: compileContext(await loadContext(job.domain)) }, mover(job)),
  );
}

function mover({ shard, progress }: ShardJob): (bytes: number) => void {
  return (bytes) => {
    Atomics.add(progress, shard, BigInt(bytes));
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
