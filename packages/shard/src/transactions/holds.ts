// Holds: entities that a transaction keeps for itself until it is decided. Whoever else names one of them waits, reads too.
//
// H1. An entity has one hold at most; a held entity is not passivated.
// H2. Whoever waits is let go in the order of waiting, once the hold is gone, or refused after a bounded time.
// H3. Holds are taken in the order of ids, and what is taken is kept; shards are asked in the order of their numbers. All
//     transactions agree on that order, so nobody waits in a circle.
import type { HeddleError } from "@heddle/kernel";
import { TurnoverMap } from "@heddle/kernel/internal";
import type { TransactionKey } from "@heddle/protocol/internal";
import type { Activation } from "../activation.ts";
import type { Entity } from "../entity.ts";
import type { Plan } from "./plan.ts";

/** Whoever waits for a hold to end. One of `resume`, `refuse` and `expire` is called, once. */
export interface Waiter {
  /** Among all who wait; given when it is enlisted. */
  number: number;
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

const noEntities: readonly Entity[] = [];
const noPositions: readonly number[] = [];

export class Hold {
  /** The shard that decides, and the transaction's number there; number 0 for one that needs no other shard. */
  readonly coordinator: number;
  readonly number: number;
  /** Monotonic time. */
  readonly since: number;
  state: HoldState = "taking";
  /** Those that it has taken. */
  entities: readonly Entity[] = noEntities;
  waiters: Waiter[] | undefined = undefined;
  /** What it would write. Undefined until it is decided, and after a recovery. */
  plan: Plan | undefined = undefined;
  /** Positions of its pending entries, in the order of the plan's writes. */
  positions: readonly number[] = noPositions;
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
  const before = hold.entities.length;
  let isFree = true;
  for (let i = 0; i < ids.length && isFree; i++) {
    const entity = activation.activate(ids[i]!);
    if (entity.hold === undefined) addTo(hold, entity);
    else if (entity.hold !== hold) isFree = false;
  }
  if (isFree) return undefined;
  for (const entity of hold.entities.slice(before)) entity.hold = undefined;
  hold.entities = hold.entities.slice(0, before);
  for (const id of ids.toSorted()) {
    const entity = activation.activate(id);
    if (entity.hold === hold) continue;
    if (entity.hold !== undefined) return entity.hold;
    addTo(hold, entity);
  }
  return undefined;
}

/** Takes a free entity for a hold. Most holds have one or two: a list that grows would make room for many. */
export function addTo(hold: Hold, entity: Entity): void {
  const { entities } = hold;
  entity.hold = hold;
  if (entities.length < 2) hold.entities = entities.length === 0 ? [entity] : [entities[0]!, entity];
  else (entities as Entity[]).push(entity);
}

/** Gives all entities free, and returns who waited for them. */
export function letGo(hold: Hold): readonly Waiter[] {
  const { entities, waiters } = hold;
  for (let i = 0; i < entities.length; i++) if (entities[i]!.hold === hold) entities[i]!.hold = undefined;
  hold.state = "over";
  hold.waiters = undefined;
  return waiters ?? nobody;
}

const nobody: readonly Waiter[] = [];

/** Holds of transactions that other shards decide about, each found by its shard and its number there. */
export class HoldsByTransaction {
  readonly #byCoordinator = new Map<number, TurnoverMap<number, Hold>>();

  find({ coordinator, number }: TransactionKey): Hold | undefined {
    return this.#byCoordinator.get(coordinator)?.get(number);
  }

  add(hold: Hold): void {
    let holds = this.#byCoordinator.get(hold.coordinator);
    if (holds === undefined) {
      holds = new TurnoverMap();
      this.#byCoordinator.set(hold.coordinator, holds);
    }
    holds.set(hold.number, hold);
  }

  /** Unless another is in its place. */
  delete(hold: Hold): void {
    const holds = this.#byCoordinator.get(hold.coordinator);
    if (holds?.get(hold.number) === hold) holds.delete(hold.number);
  }

  clear(): void {
    this.#byCoordinator.clear();
  }

  *all(): Generator<Hold> {
    for (const holds of this.#byCoordinator.values()) yield* holds.values();
  }
}
