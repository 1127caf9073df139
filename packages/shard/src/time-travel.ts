// TimeTravel: the states of an entity as they were after an earlier event. Durable history only (P2).
//
// T1. What it gives equals a fold of the events up to that point, from the last reset on.
// T2. One turn folds no more than a bounded part of the log (P8).
import type { CompiledContext } from "@heddle/domain/internal";
import type { EventLog } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import type { Moment } from "@heddle/protocol";
import type { Activation } from "./activation.ts";
import { initialStates } from "./decide.ts";
import type { Entity } from "./entity.ts";
import { seqAtTime } from "./history.ts";

/** Events folded in one turn: some milliseconds. */
const turnEventsMax = 10_000;

export class StatesAt {
  readonly seq: number;
  readonly states: unknown[];
  readonly #covered: number[];
  #next: number;

  /** Errors: as `resolveMoment`; `DOMAIN_FAILED`. */
  constructor(activation: Activation, log: EventLog, entity: Entity, at: Moment, nowMs: number) {
    this.seq = resolveMoment(activation, log, entity, at, nowMs);
    const begun = activation.begin(entity, this.seq);
    this.states = begun.states;
    this.#covered = begun.covered;
    this.#next = Math.min(...begun.covered) + 1;
  }

  /** Folds on; true when `states` are those after `seq`. Errors: `DOMAIN_FAILED`, `LOG_DAMAGED`. */
  read(activation: Activation, entity: Entity): boolean {
    if (this.#next > this.seq) return true;
    if (this.seq < entity.baseSeq) throw erased(entity);
    let left = turnEventsMax;
    for (const extent of activation.extentsForward(entity, this.#next)) {
      if (extent.firstSeq > this.seq) return true;
      if (left <= 0) return false;
      // Snapshots may have seen a part of it, each aggregate another.
      activation.foldExtent(entity, extent, this.states, this.#covered, this.seq);
      left -= extent.count;
      this.#next = extent.firstSeq + extent.count;
    }
    return true;
  }
}

/**
 * The sequence that a moment means for an entity. Errors: `OUT_OF_RANGE` for a sequence that is not there (or not durable)
 * yet and for a time to come; `ERASED` for what lies before a tombstone.
 */
export function resolveMoment(
  activation: Activation,
  log: EventLog,
  entity: Entity,
  at: Moment,
  nowMs: number,
): number {
  if (entity.isErased) throw erased(entity);
  checkHasCome(entity.id, at, nowMs);
  const seq = at.time === undefined ? at.seq : seqAtTime(activation, log, entity, at.time);
  const last = durableSeq(activation, log, entity);
  if (seq > last) throw outOfRange(entity.id, `event with sequence ${seq}`, last);
  if (entity.baseSeq > 0 && seq < entity.baseSeq) throw erased(entity);
  return seq;
}

/** The states of an entity that was never written. Errors: `OUT_OF_RANGE` for any moment but one before its first event. */
export function statesBeforeFirst(domain: CompiledContext, entity: string, at: Moment, nowMs: number): unknown[] {
  checkHasCome(entity, at, nowMs);
  if (at.time === undefined && at.seq > 0) throw outOfRange(entity, `event with sequence ${at.seq}`, 0);
  return initialStates(domain, entity);
}

function checkHasCome(entity: string, { time }: Moment, nowMs: number): void {
  if (time === undefined || time <= nowMs) return;
  throw new HeddleError("OUT_OF_RANGE", {
    entity,
    asked: `state at ${new Date(time).toISOString()}, which is yet to come`,
    available: `a history up to ${new Date(nowMs).toISOString()}`,
  });
}

/** `last`: the entity's last sequence, 0 if it has none. */
export function outOfRange(entity: string, asked: string, last: number): HeddleError<"OUT_OF_RANGE"> {
  const available = last === 0 ? "no events" : `events up to ${last}`;
  return new HeddleError("OUT_OF_RANGE", { entity, asked, available });
}

export function durableSeq(activation: Activation, log: EventLog, entity: Entity): number {
  if (entity.seq === 0 || entity.position < log.durableEnd) return entity.seq;
  for (const extent of activation.extentsBackward(entity, entity.seq)) {
    if (extent.position < log.durableEnd) return extent.firstSeq + extent.count - 1;
  }
  return 0;
}

export function erased(entity: Entity): HeddleError<"ERASED"> {
  return new HeddleError("ERASED", { entity: entity.id, seq: entity.baseSeq, time: entity.time });
}
