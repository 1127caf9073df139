// Hold: what a transaction has taken for itself until it is decided, and who waits for it. What is done with it: holds.ts.
import type { Entity } from "../entity.ts";
import type { Holder, Waiter } from "../holder.ts";
import type { Plan } from "./plan.ts";

/**
 * `taking`: not all entities are taken yet. `taken`: the shard has said yes. `prepared`: what it would write is in the log.
 * `aborting`: that is being overwritten. `over`: nothing is held any more.
 */
export type HoldState = "taking" | "taken" | "prepared" | "aborting" | "over";

const noEntities: readonly Entity[] = [];

const noPositions: readonly number[] = [];

export class Hold implements Holder {
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
