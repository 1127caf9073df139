// Sessions: the idempotency window of each client session on this shard (P4, first layer).
//
// A client numbers its calls and never has more than `sessionCallsMax` numbers between its oldest unanswered call and
// its newest. So the last that many numbers are all that a retry can bring; for each one that took effect the window
// holds the log position, and the log holds the receipt. Sixteen bytes a call, no index, nothing on disk per call.
import { limits } from "@heddle/kernel";

const window = limits.sessionCallsMax;

/** A session that was silent for this long has given up all its retries: the SDK's longest time-out is shorter. */
export const sessionIdleMsMax = 15 * 60_000;

export class SessionWindow {
  /** The highest call number seen. A higher one is new without any look-up. */
  lastCall = 0;
  lastSeenMs = 0;
  /** Changed since the last checkpoint. */
  dirty = false;
  // Ring of (call, position) pairs.
  #ring = new Float64Array(2 * 8);
  #first = 0;
  #count = 0;

  /** Whether a call can be told from a repetition only by looking: it is not above all that came before. */
  mayRepeat(call: number): boolean {
    return call <= this.lastCall;
  }

  /** Whether a call is so old that the window cannot say whether it took effect. */
  expired(call: number): boolean {
    return call <= this.lastCall - window;
  }

  /** Log position of the entry of a call that took effect, or undefined. */
  find(call: number): number | undefined {
    const mask = this.#ring.length - 1;
    for (let i = this.#count - 1; i >= 0; i--) {
      const at = (this.#first + 2 * i) & mask;
      if (this.#ring[at] === call) return this.#ring[at + 1];
    }
    return undefined;
  }

  add(call: number, position: number, nowMs: number): void {
    if (call > this.lastCall) this.lastCall = call;
    this.lastSeenMs = nowMs;
    this.dirty = true;
    let mask = this.#ring.length - 1;
    const oldest = this.lastCall - window;
    while (this.#count > 0 && this.#ring[this.#first]! <= oldest) {
      this.#first = (this.#first + 2) & mask;
      this.#count--;
    }
    if (2 * this.#count === this.#ring.length) {
      const calls = this.calls();
      this.#ring = new Float64Array(calls.length * 2);
      this.#ring.set(calls);
      this.#first = 0;
      mask = this.#ring.length - 1;
    }
    const at = (this.#first + 2 * this.#count) & mask;
    this.#ring[at] = call;
    this.#ring[at + 1] = position;
    this.#count++;
  }

  /** The pairs, oldest first, as the partition keeps them. */
  calls(): Float64Array {
    const mask = this.#ring.length - 1;
    const calls = new Float64Array(2 * this.#count);
    for (let i = 0; i < calls.length; i++) calls[i] = this.#ring[(this.#first + i) & mask]!;
    return calls;
  }

  restore(lastSeenMs: number, calls: Float64Array): void {
    for (let i = 0; i + 1 < calls.length; i += 2) this.add(calls[i]!, calls[i + 1]!, lastSeenMs);
    this.lastSeenMs = lastSeenMs;
    this.dirty = false;
  }
}
