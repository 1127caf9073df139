// Goal: the audit sees a call that took effect twice (P4), for as long as a client can retry it, in bounded memory.
import { limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SessionCalls, sessionSilenceMsMax } from "./session-calls.ts";

const window = limits.sessionCallsMax;

describe("session calls", () => {
  it("P4: tell a repetition from a new call within the window, in any order, for each session by itself", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ session: fc.integer({ min: 1, max: 3 }), back: fc.nat(window - 1), ahead: fc.nat(300) })),
        (steps) => {
          const calls = new SessionCalls();
          const last = new Map<number, number>();
          const seen = new Set<string>();
          for (const { session, back, ahead } of steps) {
            const newest = last.get(session) ?? window;
            const call = ahead % 2 === 0 ? newest + ahead / 2 : Math.max(1, newest - back);
            last.set(session, Math.max(newest, call));
            const key = `${session}:${call}`;
            const isNew = calls.add(session, call, 0);
            expect(isNew).toBe(!seen.has(key) || call <= last.get(session)! - window);
            seen.add(key);
          }
        },
      ),
    );
  });

  it("forget what lies a whole window back, and keep nothing of an older turn of the ring", () => {
    const calls = new SessionCalls();
    expect(calls.add(1, 5, 0)).toBe(true);
    expect(calls.add(1, 5 + window, 0)).toBe(true);
    expect(calls.add(1, 5 + 3 * window, 0)).toBe(true);
    expect(calls.add(1, 5 + 3 * window, 0)).toBe(false);
    expect(calls.add(1, 6 + 2 * window, 0)).toBe(true);
  });

  it("let a session go that was silent for longer than any retry takes", () => {
    const calls = new SessionCalls();
    calls.add(1, 1, 0);
    calls.add(2, 1, sessionSilenceMsMax);
    calls.forgetSilent();
    expect(calls.add(1, 1, sessionSilenceMsMax + 1)).toBe(false);
    calls.add(2, 2, 3 * sessionSilenceMsMax);
    calls.forgetSilent();
    expect(calls.add(1, 1, 3 * sessionSilenceMsMax)).toBe(true);
  });
});
