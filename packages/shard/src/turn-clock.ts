// TurnClock: the time of what is decided in one turn. The clock is asked once a turn, and never goes back for an entity.
import type { Clock } from "@heddle/kernel";
import type { Entity } from "./entity.ts";

export class TurnClock {
  readonly #clock: Clock;
  /** 0 until somebody asks. */
  #now = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since 1970 for the entity's next event: not before its last one. */
  timeOf(entity: Entity): number {
    return Math.max(this.now(), entity.time);
  }

  /** As `now`, for who may decide nothing: nothing in this turn has an earlier time. */
  peek(): number {
    return this.#now === 0 ? this.#clock.now() : this.#now;
  }

  /** Milliseconds since 1970. */
  now(): number {
    if (this.#now === 0) this.#now = this.#clock.now();
    return this.#now;
  }

  endTurn(): void {
    this.#now = 0;
  }
}
