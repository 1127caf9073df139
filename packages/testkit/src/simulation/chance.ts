// Chance: everything that a simulation leaves open, from one seed.
import { crc32 } from "@heddle/kernel/internal";
import { seededRandom } from "../seeded-random.ts";

export class Chance {
  readonly #seed: number;
  readonly #random: ReturnType<typeof seededRandom>;

  constructor(seed: number) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
  }

  /**
   * A stream of its own for one purpose: what one part of a simulation draws does not change what another finds.
   * The same seed and name give the same stream.
   */
  fork(name: string): Chance {
    const bytes = new TextEncoder().encode(`${this.#seed} ${name}`);
    return new Chance(crc32(bytes, 0, bytes.length));
  }

  safeInteger(): number {
    return this.#random.safeInteger();
  }

  /** A whole number from 0, below the bound. */
  below(bound: number): number {
    return this.#random.safeInteger() % bound;
  }

  /** A whole number from the least to the most, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True in so many cases of one. */
  happens(probability: number): boolean {
    return this.#random.safeInteger() < probability * 2 ** 53;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
