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
import type { CompiledContext } from "@heddle/domain/internal";
import type { LogReader } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { type DetachedReader, openPartitionReadOnly } from "@heddle/partition/internal";
import { partitionFolderOf } from "../data-folder.ts";
import type { Slice } from "./entity-slices.ts";
import { openLogReader } from "./existing-folder.ts";
import { PresentSnapshots } from "./present-snapshots.ts";
import type { RefoldRule } from "./refold.ts";
import { Rehearsal } from "./rehearsal.ts";
import { scanInSlices } from "./scan-slices.ts";
import type { FieldDifference } from "./state-differences.ts";

export interface RehearseSliceOptions extends Slice {
  readonly data: string;
  readonly shard: number;
  /** The new code. */
  readonly domain: CompiledContext;
  /** The present code; undefined to compare with the partition's snapshots. */
  readonly against: CompiledContext | undefined;
  /** Entities that differ, and faults, that are told whole; all are counted. */
  readonly toldMax: number;
}

/** An entity whose state would be another. */
export interface EntityDifference {
  readonly shard: number;
  readonly entity: string;
  readonly aggregate: string;
  /** Sequence up to which both states are folded. */
  readonly seq: number;
  readonly fields: readonly FieldDifference[];
  readonly fieldTotal: number;
}

/** An event that could not be read, a payload that does not fit, a rule that does not hold. */
export interface RehearsalFault {
  readonly shard: number;
  readonly rule: RefoldRule;
  readonly entity: string;
  readonly seq: number;
  readonly position: number;
  readonly found: string;
  readonly wanted: string;
}

/** All faults of one kind about one event type, aggregate or rule. */
export interface FaultCount {
  readonly rule: RefoldRule;
  readonly name: string;
  readonly events: number;
}

/** Why entities were not compared. */
export interface NotCompared {
  /** The partition has no snapshot that could be used. */
  readonly noSnapshot: number;
  /** Its snapshot stands at no event of the log, or at one that is not an entry's last: the partition is another's. */
  readonly misplaced: number;
  /** It is erased: there is no state. */
  readonly erased: number;
  /** The present or the new code cannot fold it; the latter is among the faults. */
  readonly unfoldable: number;
}

/** What one slice met of an event type, for those that judge all slices together. See `MetType`. */
export interface RefusedType {
  readonly name: string;
  readonly taken: boolean;
  readonly transformed: boolean;
  /** Payloads that the new schema refuses, which may be its own doing. */
  readonly events: number;
  /** Payloads that the present schema refuses as well. */
  readonly unchecked: number;
  readonly faults: readonly RehearsalFault[];
}

export interface SliceRehearsal {
  readonly entities: number;
  readonly entries: number;
  readonly events: number;
  /** Entities of which some state was compared. */
  readonly compared: number;
  /** Those of them that were compared at an earlier sequence than their last, where their snapshot stands. */
  readonly comparedEarlier: number;
  readonly notCompared: NotCompared;
  /** Entities whose state differs. */
  readonly differing: number;
  readonly differences: readonly EntityDifference[];
  readonly faults: readonly RehearsalFault[];
  readonly faultCounts: readonly FaultCount[];
  /** Payloads that prove something only together with what the other slices met. */
  readonly refused: readonly RefusedType[];
  readonly tailBytes: number;
}

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
