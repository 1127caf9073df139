// Holds: entities that a transaction keeps for itself until it is decided. Whoever else names one of them waits, reads too.
//
// H1. An entity has one hold at most; a held entity is not passivated.
// H2. Whoever waits is let go in the order of waiting, once the hold is gone, or refused after a bounded time.
// H3. Holds are taken in the order of ids, and what is taken is kept; shards are asked in the order of their numbers. All
//     transactions agree on that order, so nobody waits in a circle.
import type { HeddleError } from "@heddle/kernel";
import type { Activation } from "../activation.ts";
import type { Entity } from "../entity.ts";
import type { Plan } from "./plan.ts";

/** Whoever waits for a hold to end. One of `resume`, `refuse` and `expire` is called, once. */
export interface Waiter {
  /** Monotonic time at which the waiting began. */
  readonly since: number;
  /** The hold is gone: to be tried once more, and perhaps to wait again. */
  resume(): void;
  /** The shard stops. */
  refuse(error: HeddleError): void;
  /** It has waited for too long. */
  expire(waitedMs: number): void;
  /** The shard has lost its memory: what is resumed begins from the start. */
  forget(): void;
}

/**
 * `taking`: not all entities are taken yet. `taken`: the shard has said yes. `prepared`: what it would write is in the log.
 * `aborting`: that is being overwritten. `over`: nothing is held any more.
 */
export type HoldState = "taking" | "taken" | "prepared" | "aborting" | "over";

export class Hold {
  /** The shard that decides, and the transaction's number there; number 0 for one that needs no other shard. */
  readonly coordinator: number;
  readonly number: number;
  /** Monotonic time. */
  readonly since: number;
  state: HoldState = "taking";
  /** Those that it has taken. */
  readonly entities: Entity[] = [];
  readonly waiters: Waiter[] = [];
  /** What it would write. Undefined until it is decided, and after a recovery. */
  plan: Plan | undefined = undefined;
  /** Positions of its pending entries, in the order of the plan's writes. */
  readonly positions: number[] = [];
  /** When its coordinator is asked what became of it, if nothing is heard before. */
  askAt = 0;
  /** How often that failed in a row. */
  failures = 0;
  isAsking = false;
  /** Whether somebody was told that it is held for long. */
  isTold = false;

  constructor(coordinator: number, number: number, since: number) {
    this.coordinator = coordinator;
    this.number = number;
    this.since = since;
  }
}

/**
 * Takes the entities of these ids for a hold, or as many as come before one that another has: that other hold is returned, and
 * this is called again when it is gone. Each is taken as soon as it is awake: those that wake after it could put it to sleep.
 * Errors: as `activate`; the hold is then to be let go.
 */
export function take(hold: Hold, ids: readonly string[], activation: Activation): Hold | undefined {
  const { entities } = hold;
  const before = entities.length;
  let isFree = true;
  for (let i = 0; i < ids.length && isFree; i++) {
    const entity = activation.activate(ids[i]!);
    if (entity.hold === undefined) {
      entity.hold = hold;
      entities.push(entity);
    } else if (entity.hold !== hold) isFree = false;
  }
  if (isFree) return undefined;
  for (const entity of entities.splice(before)) entity.hold = undefined;
  for (const id of ids.toSorted()) {
    const entity = activation.activate(id);
    if (entity.hold === hold) continue;
    if (entity.hold !== undefined) return entity.hold;
    entity.hold = hold;
    entities.push(entity);
  }
  return undefined;
}

/** Gives all entities free, and returns who waited for them. */
export function letGo(hold: Hold): Waiter[] {
  for (const entity of hold.entities) if (entity.hold === hold) entity.hold = undefined;
  hold.state = "over";
  return hold.waiters.length === 0 ? nobody : hold.waiters.splice(0);
}

const nobody: Waiter[] = [];
