// AuditShard: what the slices of one shard found, put together, and what only all of them together can tell.
import fs from "node:fs";
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { openPartitionReadOnly, type TypeCount } from "@heddle/partition/internal";
import { partitionFolderOf } from "../data-folder.ts";
import type { AuditProblem } from "./audit-problems.ts";
import { auditSlice } from "./audit-slice.ts";
import { wholeShard } from "./entity-slices.ts";
import type { AuditSliceOptions, RefusedPayloads, SliceAudit } from "./slice-audit.ts";
import { TypeCounts } from "./type-counts.ts";

export interface ShardAudit extends Omit<SliceAudit, "typeCounts" | "sagas"> {
  readonly shard: number;
  /** Whether the partition's catalogue was held against the log's events. */
  readonly catalogue: "compared" | "unknown";
}

/** A partition's counts of event types, and the position up to which they count. */
export interface Catalogue {
  readonly countedTo: number;
  readonly counts: readonly TypeCount[];
}

/** Undefined where there is no partition, or none that can be read: the slices say so. */
export async function readCatalogue(data: string, shard: number): Promise<Catalogue | undefined> {
  const folder = partitionFolderOf(data, shard);
  if (!fs.existsSync(path.join(folder, "data.mdb"))) return undefined;
  try {
    const partition = openPartitionReadOnly({ folder, shard });
    try {
      for (;;) {
        const countedTo = partition.coveredPosition;
        const counts = partition.catalogue();
        if (partition.coveredPosition === countedTo) return { countedTo, counts };
      }
    } finally {
      await partition.close();
    }
  } catch (error) {
    if (error instanceof HeddleError) return undefined;
    throw error;
  }
}

/** Puts the slices of one shard together. Problems are in the order of the log. */
export function joinSlices(
  shard: number,
  slices: readonly SliceAudit[],
  catalogue: Catalogue | undefined,
  problemsMax: number,
): ShardAudit {
  const sum = (pick: (slice: SliceAudit) => number) => slices.reduce((all, slice) => all + pick(slice), 0);
  const isCountable = catalogue !== undefined && slices.every(({ typeCounts }) => typeCounts !== undefined);
  const miscounted = isCountable ? compareCatalogue(shard, catalogue, slices) : [];
  const problems = [...slices.flatMap((slice) => slice.problems), ...miscounted];
  return {
    shard,
    entities: sum((slice) => slice.entities),
    aggregates: sum((slice) => slice.aggregates),
    erased: sum((slice) => slice.erased),
    pendingErasures: sum((slice) => slice.pendingErasures),
    entries: sum((slice) => slice.entries),
    events: sum((slice) => slice.events),
    logBytes: Math.max(...slices.map((slice) => slice.logBytes)),
    tailBytes: Math.max(...slices.map((slice) => slice.tailBytes)),
    partition: slices[0]!.partition,
    problems: problems
      .toSorted((a, b) => (a.position ?? Infinity) - (b.position ?? Infinity) || 0)
      .slice(0, problemsMax),
    problemTotal: sum((slice) => slice.problemTotal) + miscounted.length,
    refused: joinRefused(slices),
    taken: [...new Set(slices.flatMap((slice) => slice.taken))],
    catalogue: isCountable ? "compared" : "unknown",
  };
}

function joinRefused(slices: readonly SliceAudit[]): RefusedPayloads[] {
  const all = slices.flatMap((slice) => slice.refused);
  return Array.from(
    Map.groupBy(all, ({ name }) => name),
    ([name, parts]) => ({
      name,
      count: parts.reduce((sum, part) => sum + part.count, 0),
      problems: parts.flatMap((part) => part.problems),
    }),
  );
}

function compareCatalogue(shard: number, { counts }: Catalogue, slices: readonly SliceAudit[]): AuditProblem[] {
  const stored = new TypeCounts();
  for (const row of slices.flatMap(({ typeCounts }) => typeCounts ?? [])) stored.add(row);
  const told = new TypeCounts();
  for (const row of counts) told.add(row);
  const problems: AuditProblem[] = [];
  const say = ({ aggregate, type, schemaVersion }: TypeCount, found: number, wanted: number) =>
    problems.push({
      shard,
      rule: "partition/catalogue",
      found: `${found} events of ${aggregate}.${type}, schema version ${schemaVersion}`,
      wanted: `${wanted}, as the log has`,
    });
  for (const row of told.rows()) {
    const inLog = stored.count(row.aggregate, row.type, row.schemaVersion);
    if (inLog !== row.count) say(row, row.count, inLog);
  }
  for (const row of stored.rows()) {
    if (told.count(row.aggregate, row.type, row.schemaVersion) === 0) say(row, 0, row.count);
  }
  return problems;
}

/** Audits one shard on this thread. */
export async function auditShard(
  options: Omit<AuditSliceOptions, "slice" | "slices" | "countedTo">,
  moved: (bytes: number) => void,
): Promise<ShardAudit> {
  const { data, shard, problemsMax } = options;
  const catalogue = await readCatalogue(data, shard);
  const slice = await auditSlice({ ...options, ...wholeShard, countedTo: catalogue?.countedTo ?? 0 }, moved);
  return joinSlices(shard, [slice], catalogue, problemsMax);
}
