// Holds: entities that a transaction keeps for itself until it is decided. Whoever else names one of them waits, reads too.
//
// H1. An entity has one hold at most; a held entity is not passivated.
// H2. Whoever waits is let go in the order of waiting, once the hold is gone, or refused after a bounded time.
// H3. Holds are taken in the order of ids, and what is taken is kept; shards are asked in the order of their numbers. All
//     transactions agree on that order, so nobody waits in a circle.
import { TurnoverMap } from "@heddle/kernel/internal";
import type { TransactionKey } from "@heddle/protocol/internal";
import type { Activation } from "../activation.ts";
import type { Entity } from "../entity.ts";
import type { Holder, Waiter } from "../holder.ts";
import type { Hold } from "./hold.ts";

/**
 * Takes the entities of these ids for a hold, or as many as come before one that another has: that other hold is returned, and
 * this is called again when it is gone. Each is taken as soon as it is awake: those that wake after it could put it to sleep.
 * Errors: as `activate`; the hold is then to be let go.
 */
export function take(hold: Hold, ids: readonly string[], activation: Activation): Holder | undefined {
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
