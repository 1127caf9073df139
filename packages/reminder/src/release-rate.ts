// ReleaseRate: the bound on how many reminders leave in a second. All runners of a thread share one.
//
// A bucket of tokens that fills with time. What is taken beyond it is owed: one entity's batch goes out whole.
import type { Clock } from "@heddle/kernel";

/**
 * Reminders that leave a node in a second, unless it is told otherwise: a tenth of the appends that two cores take. So a
 * million that were missed are through in under two minutes, and whoever else works hardly notices.
 */
export const releasePerSecondDefault = 10_000;

/** So much of a second's tokens the bucket holds at most: what leaves at once is a small part of what leaves in a second. */
const burstSeconds = 0.05;

export class ReleaseRate {
  readonly #perSecond: number;
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #burst: number;
  #tokens: number;
  #filledAt: number;

  constructor(perSecond: number, clock: Pick<Clock, "monotonic">) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#burst = Math.max(1, perSecond * burstSeconds);
    this.#tokens = this.#burst;
    this.#filledAt = clock.monotonic();
  }

  /** How many may leave now. */
  available(): number {
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1_000) * this.#perSecond);
    this.#filledAt = now;
    // Sums of fractions end a little below the whole.
    return Math.max(0, Math.floor(this.#tokens + 1e-6));
  }

  take(count: number): void {
    this.#tokens -= count;
  }

  /** How long until one may leave, in ms. */
  waitMs(): number {
    return this.available() > 0 ? 0 : Math.max(1, Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1_000 - 1e-6));
  }
}
