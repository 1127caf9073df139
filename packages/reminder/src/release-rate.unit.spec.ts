// Goal: over any second no more leave than the bound says, but for a burst that is a small part of it.
import { describe, expect, it } from "vitest";
import { ReleaseRate } from "./release-rate.ts";

describe("release rate", () => {
  it("lets as many leave over a long time as it says, however often it is asked", () => {
    const clock = { ms: 0, monotonic: () => clock.ms };
    const rate = new ReleaseRate(1_000, clock);
    let left = 0;
    for (; clock.ms < 10_000; clock.ms += 3) {
      const taken = Math.min(7, rate.available());
      rate.take(taken);
      left += taken;
    }
    expect(left).toBeGreaterThan(9_950);
    expect(left).toBeLessThanOrEqual(10_050);
  });

  it("keeps no more than a twentieth of a second for later", () => {
    const clock = { ms: 0, monotonic: () => clock.ms };
    const rate = new ReleaseRate(1_000, clock);
    clock.ms = 1e9;
    expect(rate.available()).toBe(50);
  });

  it("what is taken beyond it is owed, and the wait says how long", () => {
    const clock = { ms: 0, monotonic: () => clock.ms };
    const rate = new ReleaseRate(100, clock);
    rate.take(25);
    expect(rate.available()).toBe(0);
    const wait = rate.waitMs();
    expect(wait).toBe(210);
    clock.ms += wait - 1;
    expect(rate.available()).toBe(0);
    clock.ms += 1;
    expect(rate.available()).toBe(1);
    expect(rate.waitMs()).toBe(0);
  });
});
