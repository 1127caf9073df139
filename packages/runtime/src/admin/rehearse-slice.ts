// RehearseSlice: refolds the entities of one slice of a shard's log with new code, and holds their states against those of
// the present code.
//
// Present states come from one of two places. From the partition's snapshots: states as the running code made them, each
// compared at the sequence where it stands. Or from the present domain module: then everything is folded twice, and
// compared at the end of the log.
// Reads only, and works beside a running node: the log is read up to the end that it had when the rehearsal began.
// Memory: the states of all entities of the slice, twice with the present module.
import fs from "node:fs";
import path from "node:path";
import type { LogReader } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { type DetachedReader, openPartitionReadOnly } from "@heddle/partition/internal";
import { partitionFolderOf } from "../data-folder.ts";
import { openLogReader } from "./existing-folder.ts";
import { PresentSnapshots } from "./present-snapshots.ts";
import { Rehearsal } from "./rehearsal.ts";
import { scanInSlices } from "./scan-slices.ts";
import type { RehearseSliceOptions, SliceRehearsal } from "./slice-rehearsal.ts";

/** Errors: `LOG_DAMAGED`: half a log is no rehearsal. */
export async function rehearseSlice(
  options: RehearseSliceOptions,
  moved: (bytes: number) => void,
): Promise<SliceRehearsal> {
  // The partition first: what it covers was in the log before.
  const partition = options.against === undefined ? openPartition(options) : undefined;
  let log: LogReader | undefined;
  try {
    const snapshots = partition === undefined ? undefined : await PresentSnapshots.read(partition, options);
    log = openLogReader(options.data, options.shard);
    const rehearsal = new Rehearsal(options, snapshots);
    let movedBytes = 0;
    const { end } = await scanInSlices(log, {
      onEntry: (entry) => rehearsal.onEntry(entry),
      onRecord: (_, length) => {
        movedBytes += length;
        moved(length);
      },
    });
    rehearsal.finish();
    moved(log.end - movedBytes);
    return { ...rehearsal.result(), tailBytes: log.end - end };
  } finally {
    log?.close();
    await partition?.close();
  }
}

function openPartition({ data, shard }: RehearseSliceOptions): DetachedReader | undefined {
  const folder = partitionFolderOf(data, shard);
  if (!fs.existsSync(path.join(folder, "data.mdb"))) return undefined;
  try {
    return openPartitionReadOnly({ folder, shard });
  } catch (error) {
    if (error instanceof HeddleError) return undefined;
    throw error;
  }
}
