// EventRate: events a second, over the last few seconds.

/** Older counts weigh less: after this long, a third. */
const memoryMs = 5_000;

export class EventRate {
  #perMs = 0;
  #at: number;
  #events: number;

  constructor(now: number, events: number) {
    this.#at = now;
    this.#events = events;
  }

  /** `events` is a total that only grows; `now` is monotonic, in ms. Events a second. */
  at(now: number, events: number): number {
    const passed = now - this.#at;
    // Asked too often, each answer would be made of nearly nothing.
    if (passed >= 250) {
      const weight = Math.exp(-passed / memoryMs);
      this.#perMs = this.#perMs * weight + ((events - this.#events) / passed) * (1 - weight);
      this.#at = now;
      this.#events = events;
    }
    return this.#perMs * 1_000;
  }
}
