// The real clock and the real randomness, as far as they promise anything.
import { describe, expect, it } from "vitest";
import { systemClock, systemRandom } from "./clock.ts";

describe("system clock", () => {
  it("gives whole milliseconds since 1970", () => {
    expect(Number.isInteger(systemClock.now())).toBe(true);
    expect(new Date(systemClock.now()).getUTCFullYear()).toBeGreaterThan(2025);
  });

  it("gives a monotonic time that never goes backwards", () => {
    let last = systemClock.monotonic();
    for (let i = 0; i < 10_000; i++) {
      const next = systemClock.monotonic();
      if (next < last) expect.unreachable(`${next} after ${last}`);
      last = next;
    }
  });
});

describe("system randomness", () => {
  it("gives integers from 0 to 2^53 - 1 in which every bit is sometimes set and sometimes not", () => {
    let ever = 0n;
    let always = 2n ** 53n - 1n;
    // A given bit stays the same for 200 draws once in 2^199.
    for (let i = 0; i < 200; i++) {
      const value = systemRandom.safeInteger();
      expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      ever |= BigInt(value);
      always &= BigInt(value);
    }
    expect([ever, always]).toEqual([2n ** 53n - 1n, 0n]);
  });
});
