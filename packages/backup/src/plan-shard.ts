// PlanShard: how much of a shard's log a run is to have, and which of it an earlier run has already.
//
// The position is fixed before, for all shards (consistent-cut.ts).
import fs from "node:fs";
import { LogReader, nodeDisk } from "@heddle/event-log/internal";
import { logFolderOf } from "./data-facts.ts";
import type { Manifest, ManifestSegment, ManifestTombstone } from "./manifest.ts";
import { refused } from "./refuse.ts";
import { readHeader, type SourceSegment } from "./segment-bytes.ts";

/** What one shard's part of a run is. */
export interface BackUpTask {
  readonly shard: number;
  readonly backup: string;
  readonly keys: string;
  readonly logFolder: string;
  readonly run: number;
  readonly segments: readonly SourceSegment[];
  /** Before the first of these segments. */
  readonly tombstones: readonly ManifestTombstone[];
}

// What the earlier run has is kept where it is the same segment, in the same length.
export function planShard(
  { data, backup, keys }: { readonly data: string; readonly backup: string; readonly keys: string },
  shard: number,
  run: number,
  earlier: Manifest | undefined,
  cut: number,
): { readonly kept: readonly ManifestSegment[]; readonly task: BackUpTask } {
  const logFolder = logFolderOf(data, shard);
  const known = earlier?.shards[shard];
  const present = fs.existsSync(logFolder) ? durableSegments(logFolder, cut) : [];
  const last = present.at(-1);
  const end = last === undefined ? 0 : last.base + last.length;
  if (known !== undefined && end < known.end) {
    throw refused(backup, `the log of shard ${shard} ends at ${end}, but the backup has it up to ${known.end}`);
  }
  let same = 0;
  for (const [index, segment] of (known?.segments ?? []).entries()) {
    const now = present[index];
    if (now?.base !== segment.base || now.salt !== segment.salt || now.createdMs !== segment.createdMs) {
      throw refused(
        backup,
        `the log of shard ${shard} is not the one that was backed up: segment ${segment.base} differs`,
      );
    }
    if (now.length !== segment.length) break;
    same++;
  }
  const kept = (known?.segments ?? []).slice(0, same);
  const segments = present.slice(same);
  const from = segments[0]?.base ?? Number.POSITIVE_INFINITY;
  const tombstones = (known?.tombstones ?? []).filter(({ position }) => position < from);
  return { kept, task: { shard, backup, keys, logFolder, run, segments, tombstones } };
}

/** The segments of a log up to the end of a record, made durable: a reader may see bytes that are not. */
function durableSegments(logFolder: string, end: number): SourceSegment[] {
  const log = new LogReader(nodeDisk, logFolder);
  try {
    const headers = log.segmentFiles.map((file) => ({ file, ...readHeader(file) })).filter(({ base }) => base < end);
    const last = headers.at(-1);
    if (last !== undefined) syncData(last.file);
    return headers.map((header, index) => ({ ...header, length: (headers[index + 1]?.base ?? end) - header.base }));
  } finally {
    log.close();
  }
}

function syncData(file: string): void {
  const descriptor = fs.openSync(file, "r");
  try {
    fs.fdatasyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
