// Dice: choices that a seed repeats. What a run chooses is repeatable; what processes and disks then do is not.
import { seededRandom } from "@heddle/testkit";

export class Dice {
  readonly #random;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + (this.#random.safeInteger() % (most - least + 1));
  }

  chance(percent: number): boolean {
    return this.between(1, 100) <= percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.between(0, list.length - 1)]!;
  }

  shuffle<T>(list: readonly T[]): T[] {
    const shuffled = [...list];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.between(0, last);
      [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
    }
    return shuffled;
  }

  /** Dice of their own for somebody, so that what others throw does not change theirs. */
  fork(): Dice {
    return new Dice(this.between(0, 0xffff_ffff));
  }
}

/** From the environment where somebody wants a run again, or a new one. */
export function chooseSeed(): number {
  const given = process.env["HEDDLE_SEED"];
  return given === undefined ? Math.floor(Math.random() * 0x1_0000_0000) : Number(given);
}
