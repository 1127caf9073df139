// Audit: `heddle audit`. Refolds everything from the logs of a data folder and says what is wrong, or that nothing is.
//
// Reads only. May run beside the node that has the folder open: see audit-slice.ts.

import { loadDomain } from "../load-domain.ts";
import type { AuditProblem } from "./audit-problems.ts";
import { hasProjections, type ProjectionAudit, projectionAuditBytes } from "./audit-projections.ts";
import { judgeSagas, type SagaCounts } from "./audit-sagas.ts";
import { type Catalogue, joinSlices, readCatalogue, type ShardAudit } from "./audit-shard.ts";
import { slicesOf } from "./entity-slices.ts";
import { existingFolder, shardLogBytes } from "./existing-folder.ts";
import type { AuditJob, AuditProjectionJob } from "./shard-jobs.ts";
import { type AdminProgress, poolThreads, runOnPool } from "./shard-pool.ts";
import type { SliceAudit } from "./slice-audit.ts";

export interface AuditOptions {
  readonly data: string;
  /** Path of the domain module. */
  readonly domain: string;
  readonly onProgress?: ((progress: AdminProgress) => void) | undefined;
  /** Problems that are told whole; all are counted. Default 100. */
  readonly problemsMax?: number;
}

export interface AuditReport {
  readonly ok: boolean;
  readonly context: string;
  readonly shards: number;
  readonly entities: number;
  /** Pairs of entity and aggregate that have events. Heddle's own entities count in neither. */
  readonly aggregates: number;
  readonly entries: number;
  readonly events: number;
  /** Entities that were erased and have no new life. */
  readonly erased: number;
  readonly sagas: SagaCounts;
  /** Those whose rows in SQLite were compared with the logs. */
  readonly projections: readonly { readonly name: string; readonly rows: number }[];
  readonly logBytes: number;
  /** The first of each shard, in the order of the shards and of their logs. */
  readonly problems: readonly AuditProblem[];
  readonly problemTotal: number;
  /** What could not be checked, and why; none of it is a fault. */
  readonly notes: readonly string[];
  readonly tookMs: number;
}

/**
 * Errors: `DATA_FOLDER_*` for a folder that is none or belongs to another context; `DOMAIN_LOAD_FAILED`.
 * Damage of the data is no error: it is in the report.
 */
export async function auditFolder(options: AuditOptions): Promise<AuditReport> {
  const { data, domain, onProgress, problemsMax = 100 } = options;
  const startedAt = performance.now();
  const { context, shardCount } = await existingFolder(data, domain);
  const plan = await planSlices(data, shardCount);
  const jobs = plan.flatMap(({ shard, slices, catalogue }) =>
    Array.from({ length: slices }, (_, slice) => {
      return { data, domain, shardCount, problemsMax, shard, slice, slices, countedTo: catalogue?.countedTo ?? 0 };
    }),
  );
  const names = hasProjections(data) ? [...(await loadDomain(domain)).projections.keys()] : [];
  const sliceBytes = plan.reduce((sum, { logBytes, slices }) => sum + slices * logBytes, 0);
  const totalBytes = sliceBytes + projectionAuditBytes(data, shardCount, names.length);
  const audits = await runOnPool<AuditJob, SliceAudit>("audit", jobs, totalBytes, onProgress);
  let taken = 0;
  const shards = plan.map(({ shard, slices, catalogue }) => {
    taken += slices;
    return joinSlices(shard, audits.slice(taken - slices, taken), catalogue, problemsMax);
  });
  const { problems, total, notes } = judgeRefused(shards);
  const sagas = await judgeSagas(
    data,
    shardCount,
    audits.map((slice) => slice.sagas),
    problemsMax,
  );
  const projections = await auditProjections({ data, domain, shardCount, problemsMax }, names, (doneBytes) =>
    onProgress?.({ doneBytes: sliceBytes + doneBytes, totalBytes }),
  );
  const sum = (pick: (shard: ShardAudit) => number) => shards.reduce((all, shard) => all + pick(shard), 0);
  const problemTotal =
    total +
    sagas.total +
    sum((shard) => shard.problemTotal) +
    projections.reduce((all, projection) => all + projection.problemTotal, 0);
  return {
    ok: problemTotal === 0,
    context,
    shards: shardCount,
    entities: sum((shard) => shard.entities),
    aggregates: sum((shard) => shard.aggregates),
    entries: sum((shard) => shard.entries),
    events: sum((shard) => shard.events),
    erased: sum((shard) => shard.erased),
    sagas: countSagas(audits),
    logBytes: sum((shard) => shard.logBytes),
    problems: [
      ...shards.flatMap((shard) => shard.problems),
      ...problems,
      ...sagas.problems,
      ...projections.flatMap((projection) => projection.problems),
    ].slice(0, problemsMax),
    problemTotal,
    projections: projections.flatMap(({ projection, rows }) =>
      rows === undefined ? [] : [{ name: projection, rows }],
    ),
    notes: [...shards.flatMap(notesOf), ...notes, ...projections.flatMap((projection) => projection.notes)],
    tookMs: performance.now() - startedAt,
  };
}

// After everything else: rows can be right only where the logs are.
async function auditProjections(
  options: Omit<AuditProjectionJob, "projection">,
  names: readonly string[],
  progress: (doneBytes: number) => void,
): Promise<ProjectionAudit[]> {
  if (names.length === 0) return [];
  const jobs = names.map((projection) => ({ ...options, projection }));
  const totalBytes = projectionAuditBytes(options.data, options.shardCount, names.length);
  return runOnPool<AuditProjectionJob, ProjectionAudit>("auditProjection", jobs, totalBytes, ({ doneBytes }) =>
    progress(doneBytes),
  );
}

function countSagas(slices: readonly SliceAudit[]): SagaCounts {
  const sum = (pick: (sagas: SagaCounts) => number) => slices.reduce((all, { sagas }) => all + pick(sagas), 0);
  return {
    ended: sum(({ ended }) => ended),
    unfinished: sum(({ unfinished }) => unfinished),
    stuck: sum(({ stuck }) => stuck),
  };
}

interface ShardPlan {
  readonly shard: number;
  readonly slices: number;
  readonly logBytes: number;
  readonly catalogue: Catalogue | undefined;
}

// The catalogues are read before any log is: what they cover was in the logs before.
async function planSlices(data: string, shardCount: number): Promise<ShardPlan[]> {
  const plan: ShardPlan[] = [];
  for (let shard = 0; shard < shardCount; shard++) {
    const catalogue = await readCatalogue(data, shard);
    const logBytes = shardLogBytes(data, shard);
    plan.push({ shard, slices: slicesOf(logBytes, shardCount, poolThreads()), logBytes, catalogue });
  }
  return plan;
}

function notesOf(shard: ShardAudit): string[] {
  const notes: string[] = [];
  if (shard.tailBytes > 0) {
    notes.push(
      `shard ${shard.shard}: ${shard.tailBytes} bytes after the last whole record; a group under way if a node runs, else a torn tail that the next start cuts`,
    );
  }
  if (shard.partition === "absent") notes.push(`shard ${shard.shard} has no partition yet; the next start makes it`);
  if (shard.pendingErasures > 0) {
    notes.push(
      `shard ${shard.shard}: ${shard.pendingErasures} erasures are under way; a running node ends them, or the next start`,
    );
  }
  if (shard.partition === "compared" && shard.catalogue === "unknown") {
    notes.push(`shard ${shard.shard}: the counts of event types could not be compared, because erasures are under way`);
  }
  return notes;
}

// Whether a schema takes what it made is a matter of the type, so it is judged over all shards together.
function judgeRefused(shards: readonly ShardAudit[]): { problems: AuditProblem[]; total: number; notes: string[] } {
  const taken = new Set(shards.flatMap((shard) => shard.taken));
  const problems: AuditProblem[] = [];
  const notes: string[] = [];
  let total = 0;
  for (const [name, refused] of Map.groupBy(
    shards.flatMap((shard) => shard.refused),
    (one) => one.name,
  )) {
    const count = refused.reduce((all, one) => all + one.count, 0);
    if (taken.has(name)) {
      problems.push(...refused.flatMap((one) => one.problems));
      total += count;
    } else {
      notes.push(`${name}: ${count} payloads could not be checked, because its schema takes none that it made itself`);
    }
  }
  return { problems, total, notes };
}
