// SliceRehearsal: what one slice of a shard is rehearsed with, and what comes of it.
import type { CompiledContext } from "@heddle/domain/internal";
import type { Slice } from "./entity-slices.ts";
import type { RefoldRule } from "./refold.ts";
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
