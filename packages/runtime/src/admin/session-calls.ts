// SessionCalls: which call numbers of each client session were seen, as far back as a retry can reach (P4).
//
// A bit for each of the last `sessionCallsMax` numbers: a kilobyte a session, whatever it sent.
import { limits } from "@heddle/kernel";

const windowCalls = limits.sessionCallsMax;

/**
 * A session that was silent for this long, by the times in the log, brings no retry any more. A shard waits a quarter of an
 * hour by a clock that cannot jump; the log has wall time only, which can, so it is four times as much here.
 */
export const sessionSilenceMsMax = 60 * 60_000;

interface Seen {
  lastCall: number;
  lastMs: number;
  /** A ring by call number. */
  readonly bits: Uint8Array;
}

export class SessionCalls {
  readonly #sessions = new Map<number, Seen>();
  #newestMs = 0;

  /** Takes in one call. False when it was seen before; calls older than the window are taken to be new. */
  add(session: number, call: number, timeMs: number): boolean {
    if (timeMs > this.#newestMs) this.#newestMs = timeMs;
    let seen = this.#sessions.get(session);
    if (seen === undefined) {
      seen = { lastCall: call, lastMs: timeMs, bits: new Uint8Array(windowCalls / 8) };
      this.#sessions.set(session, seen);
    }
    seen.lastMs = timeMs;
    if (call <= seen.lastCall - windowCalls) return true;
    for (let forgotten = Math.max(seen.lastCall, call - windowCalls) + 1; forgotten <= call; forgotten++) {
      clearBit(seen.bits, forgotten);
    }
    seen.lastCall = Math.max(seen.lastCall, call);
    return setBit(seen.bits, call);
  }

  /** Lets go of sessions that can bring no retry any more, by the log's own time. */
  forgetSilent(): void {
    for (const [session, { lastMs }] of this.#sessions) {
      if (this.#newestMs - lastMs > sessionSilenceMsMax) this.#sessions.delete(session);
    }
  }
}

function clearBit(bits: Uint8Array, call: number): void {
  const at = call % windowCalls;
  bits[at >>> 3]! &= ~(1 << (at & 7));
}

/** Sets a bit and says whether it was clear. */
function setBit(bits: Uint8Array, call: number): boolean {
  const at = call % windowCalls;
  const before = bits[at >>> 3]!;
  bits[at >>> 3] = before | (1 << (at & 7));
  return bits[at >>> 3] !== before;
}
