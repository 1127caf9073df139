// The idempotency windows by themselves (P4, first layer): what they know, for how long, and what they weigh (P8).
import { HeddleError, limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Sessions, SessionWindow, sessionIdleMsMax } from "./sessions.ts";

const width = limits.sessionCallsMax;

function sessionsOf(options: { bytesMax?: number; nowMonotonic?: number } = {}): Sessions {
  return new Sessions({ bytesMax: 1 << 30, nowMonotonic: 0, ...options });
}

describe("P4: a window", () => {
  it("P4: knows exactly the last calls that a client may repeat, in whatever order they came", () => {
    // Positions rise, as a log's do; call numbers jump about as retries make them.
    const calls = fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 3 * width })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(calls, fc.array(fc.integer({ min: -width, max: width }), { maxLength: 50 }), (steps, back) => {
        const window = new SessionWindow();
        const known = new Map<number, number>();
        let last = 0;
        let position = 100;
        const take = (call: number) => {
          if (call < 1 || window.expired(call) || window.find(call) !== undefined) return;
          position += 50;
          window.add(call, position, position);
          known.set(call, position);
          last = Math.max(last, call);
        };
        for (const [i, step] of steps.entries()) {
          take(last + step);
          take(last + (back[i % Math.max(1, back.length)] ?? 0));
        }
        for (const [call, at] of known) {
          if (call > last - width) expect(window.find(call)).toBe(at);
          expect(window.expired(call)).toBe(call <= last - width);
        }
        expect(window.find(last + 1)).toBeUndefined();
        expect(window.lastCall).toBe(last);
        // A window that comes back from the partition knows the same.
        const again = new SessionWindow();
        again.restore(7, window.calls());
        for (const [call, at] of known) if (call > last - width) expect(again.find(call)).toBe(at);
        expect(again.calls()).toEqual(window.calls());
      }),
      { numRuns: 300 },
    );
  });

  it("P8: never holds more than two widths of calls, however a client orders its numbers", () => {
    const window = new SessionWindow();
    let position = 0;
    // The first stays in front and keeps those behind it, until it has expired itself.
    window.add(width + 1, ++position, 0);
    for (let call = 2; call <= width; call++) window.add(call, ++position, 0);
    for (let call = width + 2; call <= 2 * width; call++) window.add(call, ++position, 0);
    expect(window.calls().length / 2).toBeLessThan(2 * width);
    window.add(2 * width + 1, ++position, 0);
    expect(window.calls().length / 2).toBe(width);
    expect(window.bytes).toBeLessThanOrEqual(256 + 2 * width * 16);
  });

  it("P4: a call that has expired leaves no mark", () => {
    const window = new SessionWindow();
    window.add(3 * width, 100, 0);
    window.add(1, 200, 0);
    expect(window.calls()).toEqual(Float64Array.of(3 * width, 100));
  });

  it("P4: gives only what lies before a position: what came after a checkpoint's cut is not for it", () => {
    const window = new SessionWindow();
    for (let call = 1; call <= 20; call++) window.add(call, call * 100, 0);
    expect(window.calls(500)).toEqual(Float64Array.of(1, 100, 2, 200, 3, 300, 4, 400));
    expect(window.calls(100)).toHaveLength(0);
    expect(window.calls()).toHaveLength(40);
  });
});

describe("P8: all windows together", () => {
  it("P8: weigh what their rings weigh, through growth, restoring and lapsing", () => {
    const sessions = sessionsOf();
    for (let session = 1; session <= 10; session++) {
      for (let call = 1; call <= session * 20; call++) sessions.add(sessions.find(session), session, call, call, 0);
    }
    sessions.restore(
      11,
      0,
      Float64Array.from({ length: 200 }, (_, i) => i + 1),
    );
    const weights = () => Array.from({ length: 11 }, (_, i) => sessions.find(i + 1)?.bytes ?? 0);
    expect(sessions.bytes).toBe(weights().reduce((sum, bytes) => sum + bytes, 0));
    sessions.tick(sessionIdleMsMax / 2);
    sessions.add(sessions.find(3), 3, 1_000, 1_000, 0);
    sessions.tick(sessionIdleMsMax + 1);
    expect(sessions.count).toBe(1);
    expect(sessions.bytes).toBe(sessions.find(3)!.bytes);
  });

  it("P8: refuse newcomers and growth beyond their budget, and nothing that takes no more room", () => {
    const sessions = sessionsOf({ bytesMax: 1 });
    sessions.checkRoom(undefined, 1);
    sessions.add(undefined, 1, 1, 1, 0);
    expect(() => sessions.checkRoom(undefined, 1)).toThrow(HeddleError);
    const window = sessions.find(1)!;
    for (let call = 2; call <= 8; call++) {
      sessions.checkRoom(window, call);
      sessions.add(window, 1, call, call, 0);
    }
    expect(() => sessions.checkRoom(window, 9)).toThrow(HeddleError);
    // So far ahead that the oldest calls make room.
    sessions.checkRoom(window, width + 1);
  });

  it("P4: a checkpoint gets each window that changed once, and again after it failed", () => {
    const sessions = sessionsOf();
    sessions.add(undefined, 1, 1, 10, 0);
    sessions.add(undefined, 2, 1, 20, 0);
    sessions.add(sessions.find(1), 1, 2, 30, 0);
    const taken = sessions.takeChanged();
    expect(taken.changed.map(({ session }) => session)).toEqual([1, 2]);
    expect(sessions.takeChanged().changed).toEqual([]);
    sessions.add(sessions.find(2), 2, 2, 40, 0);
    sessions.giveBack(taken);
    expect(
      sessions
        .takeChanged()
        .changed.map(({ session }) => session)
        .toSorted(),
    ).toEqual([1, 2]);
  });

  it("P4: a session that comes back after it lapsed is not dropped from the partition, nor overwritten by its old window", () => {
    const sessions = sessionsOf();
    sessions.add(undefined, 1, 1, 10, 0);
    const failed = sessions.takeChanged();
    sessions.add(sessions.find(1), 1, 2, 20, 0);
    sessions.tick(sessionIdleMsMax + 60_000);
    expect(sessions.count).toBe(0);
    sessions.add(undefined, 1, 5, 50, 0);
    sessions.giveBack(failed);
    const { changed, lapsed } = sessions.takeChanged();
    expect(changed).toEqual([sessions.find(1)]);
    expect(lapsed).toEqual([]);
  });

  it("P4: recovery takes in the calls of the tail once, and not those that a newer window knows or has given up", () => {
    const sessions = sessionsOf();
    sessions.restore(1, 0, Float64Array.of(width + 10, 900, width + 11, 1_000));
    sessions.recover(1, 5, 100, 0);
    sessions.recover(1, width + 10, 900, 0);
    sessions.recover(1, width + 11, 1_000, 0);
    sessions.recover(1, width + 12, 1_100, 0);
    expect(sessions.find(1)!.calls()).toEqual(Float64Array.of(width + 10, 900, width + 11, 1_000, width + 12, 1_100));
  });
});
