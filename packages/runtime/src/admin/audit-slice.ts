// AuditSlice: refolds the entities of one slice of a shard's log from its first byte, and holds the partition against them.
//
// Shares the decoders with the shard, and nothing of how it decides: what the shard promised is checked again here.
// Works beside a running node. The log is read up to the end that it had when the audit began; the partition may be
// ahead of that, which is told from being wrong by positions. Entries may be erased while they are read.
//
// What is not an entity's is dealt out, too: client sessions by their number; records and the log's end are for slice 0.
// Memory: the states of all entities of the slice, and the append ids that callers gave. Not promised: less.
import fs from "node:fs";
import path from "node:path";
import type { LogReader, ScanResult } from "@heddle/event-log/internal";
import { HeddleError, isHeddleError } from "@heddle/kernel";
import { openPartitionReadOnly } from "@heddle/partition/internal";
import { partitionFolderOf } from "../data-folder.ts";
import { PartitionCheck } from "./audit-partition.ts";
import { ProblemList } from "./audit-problems.ts";
import { openLogReader } from "./existing-folder.ts";
import { scanInSlices } from "./scan-slices.ts";
import type { AuditSliceOptions, SliceAudit } from "./slice-audit.ts";
import { SliceRefold } from "./slice-refold.ts";

export async function auditSlice(options: AuditSliceOptions, moved: (bytes: number) => void): Promise<SliceAudit> {
  const problems = new ProblemList(options.shard, options.problemsMax);
  // The partition first: what it covers was in the log before, so a log opened after it must have all of that.
  const partition = openPartitionCheck(options, problems);
  try {
    return await refold(options, problems, partition, moved);
  } finally {
    if (partition instanceof PartitionCheck) await partition.close();
  }
}

function openPartitionCheck(
  options: AuditSliceOptions,
  problems: ProblemList,
): PartitionCheck | "absent" | "unreadable" {
  const folder = partitionFolderOf(options.data, options.shard);
  if (!fs.existsSync(path.join(folder, "data.mdb"))) return "absent";
  try {
    return new PartitionCheck(openPartitionReadOnly({ folder, shard: options.shard }), problems, options);
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    // Every slice comes to the same; one says so.
    if (options.slice === 0)
      problems.add("partition/readable", { found: error.message, wanted: "a partition that opens" });
    return "unreadable";
  }
}

async function refold(
  options: AuditSliceOptions,
  problems: ProblemList,
  partition: PartitionCheck | "absent" | "unreadable",
  moved: (bytes: number) => void,
): Promise<SliceAudit> {
  const check = partition instanceof PartitionCheck ? partition : undefined;
  const refolder = new SliceRefold(options, problems, check);
  let logBytes = 0;
  let movedBytes = 0;
  let scan: ScanResult | undefined;
  let log: LogReader | undefined;
  try {
    log = openLogReader(options.data, options.shard);
    logBytes = log.end;
    scan = await scanInSlices(log, {
      onEntry: (entry) => refolder.onEntry(entry),
      onBeside: (entry) => refolder.onBeside(entry),
      onRecord: (position, length) => {
        check?.onRecordEnd(position + length);
        movedBytes += length;
        moved(length);
      },
      afterSlice: () => refolder.calls.forgetSilent(),
    });
  } catch (error) {
    // What stands before the damage was refolded; the partition cannot be held against half a log.
    if (!isHeddleError(error, "LOG_DAMAGED")) throw error;
    const { file, offset, problem } = error.facts;
    if (options.slice === 0) {
      const found = `${problem}, at ${file}, offset ${offset}`;
      problems.add("log/readable", { found, wanted: "whole records to the end" });
    }
  } finally {
    log?.close();
    // Headers of segments, and whatever could not be read: the progress ends at the whole.
    moved(logBytes - movedBytes);
  }
  if (scan !== undefined) {
    check?.finish(refolder.entities, scan.end);
    refolder.finish(scan.end);
  }
  return {
    ...refolder.counts(),
    logBytes,
    tailBytes: scan === undefined ? 0 : logBytes - scan.end,
    partition: check === undefined ? (partition as "absent" | "unreadable") : "compared",
    problems: problems.kept,
    problemTotal: problems.total,
    sagas: refolder.sagas(),
    ...refolder.types(),
    typeCounts: scan === undefined ? undefined : refolder.typeCounts(),
  };
}
