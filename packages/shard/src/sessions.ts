// Sessions: the idempotency window of each client session on this shard (P4, first layer).
//
// A client numbers its calls and never has more than `sessionCallsMax` numbers between its oldest unanswered call and
// its newest. So the last that many numbers are all that a retry can bring; for each one that took effect the window
// holds the log position, and the log holds the receipt. Sixteen bytes a call, no index, nothing on disk per call.
//
// W1. A window is dropped only after its session was silent for `sessionIdleMsMax` by a clock that cannot jump.
// W2. All windows together stay within their budget of bytes: beyond it a window that would have to grow, or to be made,
//     is refused as OVERLOADED until others lapse (P8). Dropping one earlier would make a late retry take effect twice.
import { HeddleError, limits } from "@heddle/kernel";

const window = limits.sessionCallsMax;

/** A session that was silent for this long has given up all its retries: the SDK's longest time-out is shorter. */
export const sessionIdleMsMax = 15 * 60_000;

/** How often silent sessions are looked for: a walk over all of them. */
const sweepIntervalMs = 60_000;

/** A window without its ring, and its place in the map. */
const windowBytes = 256;

/** Pairs in a ring at first; it doubles when it is full. */
const firstPairs = 8;

export class SessionWindow {
  readonly session: number;
  /** The highest call number that took effect. A higher one is new without any look-up. */
  lastCall = 0;
  /** Wall time, for people who look into the partition. */
  lastSeenMs = 0;
  /** The same by the monotonic clock. */
  usedAt = 0;
  /** Changed since the last checkpoint. */
  dirty = false;
  // Ring of (call, position) pairs, positions ascending.
  #ring = new Float64Array(2 * firstPairs);
  #first = 0;
  #count = 0;

  constructor(session = 0) {
    this.session = session;
  }

  get bytes(): number {
    return windowBytes + this.#ring.byteLength;
  }

  /** Whether noting this call would make the ring grow. */
  growsBy(call: number): boolean {
    if (2 * this.#count < this.#ring.length) return false;
    return this.#ring[this.#first]! > Math.max(call, this.lastCall) - window;
  }

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
    if (call > this.lastCall) return undefined;
    const mask = this.#ring.length - 1;
    for (let i = this.#count - 1; i >= 0; i--) {
      const at = (this.#first + 2 * i) & mask;
      if (this.#ring[at] === call) return this.#ring[at + 1];
    }
    return undefined;
  }

  /**
   * Notes a call that took effect; one that has expired has no place here and changes nothing.
   * Returns the bytes by which the window has grown, mostly none.
   */
  add(call: number, position: number, nowMs: number): number {
    this.lastSeenMs = nowMs;
    this.dirty = true;
    if (call > this.lastCall) this.lastCall = call;
    else if (this.expired(call)) return 0;
    let mask = this.#ring.length - 1;
    const oldest = this.lastCall - window;
    while (this.#count > 0 && this.#ring[this.#first]! <= oldest) {
      this.#first = (this.#first + 2) & mask;
      this.#count--;
    }
    let grown = 0;
    if (2 * this.#count === this.#ring.length) {
      grown = this.#ring.byteLength;
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
    return grown;
  }

  /** The pairs, oldest first, as the partition keeps them; only those whose position lies before one, if it is given. */
  calls(before = Number.POSITIVE_INFINITY): Float64Array {
    const mask = this.#ring.length - 1;
    let count = this.#count;
    while (count > 0 && this.#ring[(this.#first + 2 * count - 1) & mask]! >= before) count--;
    const calls = new Float64Array(2 * count);
    for (let i = 0; i < calls.length; i++) calls[i] = this.#ring[(this.#first + i) & mask]!;
    return calls;
  }

  /** Takes in what a checkpoint wrote. */
  restore(lastSeenMs: number, calls: Float64Array): void {
    for (let i = 0; i + 1 < calls.length; i += 2) this.add(calls[i]!, calls[i + 1]!, lastSeenMs);
    this.lastSeenMs = lastSeenMs;
    this.dirty = false;
  }
}

/** Calls from inside of the node belong to no client's session: they are told apart by append ids alone. */
export const noSession = 0;

export interface ChangedSessions {
  readonly changed: readonly SessionWindow[];
  /** Sessions whose window is to be dropped. */
  readonly lapsed: readonly number[];
}

export class Sessions {
  readonly #windows = new Map<number, SessionWindow>();
  readonly #bytesMax: number;
  #bytes = 0;
  #nowMonotonic: number;
  #sweptAt: number;
  #changed: SessionWindow[] = [];
  /** Dropped here, but not yet from the partition. */
  #lapsed: number[] = [];

  constructor(options: { readonly bytesMax: number; readonly nowMonotonic: number }) {
    this.#bytesMax = options.bytesMax;
    this.#nowMonotonic = options.nowMonotonic;
    this.#sweptAt = options.nowMonotonic;
  }

  get count(): number {
    return this.#windows.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(session: number): SessionWindow | undefined {
    return this.#windows.get(session);
  }

  /** Errors: `OVERLOADED` when the window, or a new one where there is none, would go beyond the budget (W2). */
  checkRoom(known: SessionWindow | undefined, call: number): void {
    if (this.#bytes < this.#bytesMax || (known !== undefined && !known.growsBy(call))) return;
    throw new HeddleError("OVERLOADED", {
      queue: "the shard's memory for the calls of its sessions (bytes)",
      depth: this.#bytes,
      depthMax: this.#bytesMax,
    });
  }

  /** Notes a call that took effect. `known` is what `find` gave, to spare a look-up on the way of an append. */
  add(known: SessionWindow | undefined, session: number, call: number, position: number, nowMs: number): void {
    if (session === noSession) return;
    const found = known ?? this.#open(session);
    found.usedAt = this.#nowMonotonic;
    if (!found.dirty) this.#changed.push(found);
    this.#bytes += found.add(call, position, nowMs);
  }

  /** Recovery: what a checkpoint wrote. Its session counts as just seen, because the wall clock may have jumped (W1). */
  restore(session: number, lastSeenMs: number, calls: Float64Array): void {
    const restored = this.#open(session);
    restored.usedAt = this.#nowMonotonic;
    this.#bytes -= restored.bytes;
    restored.restore(lastSeenMs, calls);
    this.#bytes += restored.bytes;
  }

  /** Recovery: a call from the log's tail. The partition may know it already: see checkpoint.ts, C2. */
  recover(session: number, call: number, position: number, nowMs: number): void {
    const known = this.#windows.get(session);
    // Looked for only inside of the window, or the tail of a long log would cost a walk over the ring for each entry.
    if (known !== undefined && (known.expired(call) || known.find(call) !== undefined)) return;
    this.add(known, session, call, position, nowMs);
  }

  /** To be called every now and then: tells the time, and lets go of windows that nobody can need any more (W1). */
  tick(nowMonotonic: number): void {
    this.#nowMonotonic = nowMonotonic;
    if (nowMonotonic - this.#sweptAt < sweepIntervalMs) return;
    this.#sweptAt = nowMonotonic;
    for (const [session, found] of this.#windows) {
      if (nowMonotonic - found.usedAt <= sessionIdleMsMax) continue;
      this.#windows.delete(session);
      this.#bytes -= found.bytes;
      this.#lapsed.push(session);
    }
  }

  /** Hands what changed to a checkpoint. Windows may change further: it writes only what lies before its position. */
  takeChanged(): ChangedSessions {
    // A window that lapsed may have a successor by now, which must not be overwritten or dropped.
    const changed = this.#changed.filter((found) => this.#windows.get(found.session) === found);
    const taken = { changed, lapsed: this.#lapsed.filter((session) => !this.#windows.has(session)) };
    for (const found of changed) found.dirty = false;
    this.#changed = [];
    this.#lapsed = [];
    return taken;
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack({ changed, lapsed }: ChangedSessions): void {
    for (const found of changed) {
      if (found.dirty) continue;
      found.dirty = true;
      this.#changed.push(found);
    }
    this.#lapsed.push(...lapsed);
  }

  #open(session: number): SessionWindow {
    const opened = new SessionWindow(session);
    this.#windows.set(session, opened);
    this.#bytes += opened.bytes;
    return opened;
  }
}
