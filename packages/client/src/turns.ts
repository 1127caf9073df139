// Turns: transactions of one client that meet at an entity take it one after the other.
//
// A transaction that reads and then commits fails when another was quicker. With many at one entity each is in the others'
// way, and the more there are, the fewer get through (P8). So whoever had a conflict at an entity waits for its turn there, and
// so do those who begin with reading that entity meanwhile.
//
// Only among the calls of one client: others are met as conflicts, which are as harmless as before.
import type { Budget } from "./budget.ts";

export class Turns {
  /** By entity, who waits behind the one whose turn it is. */
  readonly #waiting = new Map<string, (() => void)[]>();

  isTaken(entity: string): boolean {
    return this.#waiting.has(entity);
  }

  /** Errors: as `Budget.wait`. */
  async take(entity: string, budget: Budget): Promise<void> {
    const queue = this.#waiting.get(entity);
    if (queue === undefined) {
      this.#waiting.set(entity, []);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    queue.push(resolve);
    try {
      await budget.wait(promise);
    } catch (error) {
      const at = queue.indexOf(resolve);
      // The turn may have come at the very moment when time was up.
      if (at < 0) this.release(entity);
      else queue.splice(at, 1);
      throw error;
    }
  }

  release(entity: string): void {
    const next = this.#waiting.get(entity)?.shift();
    if (next === undefined) this.#waiting.delete(entity);
    else next();
  }
}

/** The turns that one transaction has. */
export class Lane {
  readonly #turns: Turns;
  readonly #budget: Budget;
  readonly #held: string[] = [];
  #isOver = false;

  constructor(turns: Turns, budget: Budget) {
    this.#turns = turns;
    this.#budget = budget;
  }

  /** Waits behind those who are at the entity, unless this transaction has a turn anywhere: it would wait in a circle. */
  async waitBehind(entity: string): Promise<void> {
    if (this.#held.length > 0 || !this.#turns.isTaken(entity)) return;
    await this.#turns.take(entity, this.#budget);
    // A read that nobody waited for may come here after the end.
    if (this.#isOver) this.#turns.release(entity);
    else this.#held.push(entity);
  }

  /** After a conflict at an entity: waits for the turn there. False when this transaction had it already. */
  async join(entity: string): Promise<boolean> {
    if (this.#held.includes(entity)) return false;
    // All transactions take their turns in the same order, so that no two wait for each other.
    const wanted = [...this.#held, entity].sort();
    this.#leave();
    for (const one of wanted) {
      await this.#turns.take(one, this.#budget);
      this.#held.push(one);
    }
    return true;
  }

  /** The transaction has come to its end. */
  end(): void {
    this.#isOver = true;
    this.#leave();
  }

  #leave(): void {
    if (this.#held.length === 0) return;
    for (const entity of this.#held.splice(0)) this.#turns.release(entity);
  }
}
