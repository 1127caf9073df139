// Plan: what a transaction does to the entities of one shard, decided and not written yet. Made by planner.ts.
import type { Rejection, WireOperationResult } from "@heddle/protocol/internal";
import type { Proposed } from "../decide.ts";
import type { Entity } from "../entity.ts";

/** One entry to be: the body is `bytes[from, to)` of its plan, counted from the plan's beginning. */
export interface PlannedWrite {
  readonly entity: Entity;
  readonly flags: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly time: number;
  readonly from: number;
  readonly to: number;
  /** From the body's start. */
  readonly payloadsOffset: number;
  /** Left out where the request's bytes may be gone by the time of writing. */
  proposed: Proposed | undefined;
  /** Which of the plan's results is this write's. */
  readonly result: number;
}

/** An entity as the transaction leaves it. */
export interface Shadow {
  readonly entity: Entity;
  seq: number;
  readonly time: number;
  /** Undefined while no state was asked for. */
  states: unknown[] | undefined;
}

export interface Plan {
  /** The plan's begin at `from`. In one that is kept, nobody writes over them. */
  bytes: Uint8Array;
  from: number;
  readonly writes: readonly PlannedWrite[];
  /** Of the entities that are written to, and perhaps of others. */
  readonly shadows: readonly Shadow[];
  /** By operation. Positions are 0 until it is written. */
  readonly results: WireOperationResult[];
}

/** Why a plan cannot be: which operation was refused, by its place among those of this shard. */
export interface Refused {
  readonly operation: number;
  readonly entity: string;
  readonly rejection: Rejection;
}
