import { describe, expect, it } from "vitest";
import { type Sample, sampleSecondsFor, trendOf } from "./trend.ts";

function samples(seconds: number, rates: readonly number[]): Sample[] {
  return rates.map((rate, i) => ({
    atS: (i + 1) * seconds,
    seconds,
    events: rate * seconds,
    eventsPerSecond: rate,
    p50Ms: 0,
    p99Ms: 0,
    maxMs: 0,
  }));
}

describe("trend of a run", () => {
  it("compares the first minute with the last in a run of ten", () => {
    const rates = Array.from({ length: 40 }, (_, i) => (i < 4 ? 1000 : i < 36 ? 900 : 800));
    expect(trendOf(samples(15, rates))).toMatchObject({
      windowS: 60,
      firstEventsPerSecond: 1000,
      lastEventsPerSecond: 800,
      ratio: 0.8,
    });
  });

  it("compares thirds of a short run", () => {
    expect(trendOf(samples(1, [100, 100, 100, 50, 200, 200]))).toMatchObject({ windowS: 2, ratio: 2 });
  });

  it("says how far the rates deviate, relative to their mean", () => {
    expect(trendOf(samples(1, [90, 110, 90, 110]))!.deviation).toBe(0.1);
    expect(trendOf(samples(1, [100, 100, 100]))!.deviation).toBe(0);
  });

  it("says nothing of fewer than three samples", () => {
    expect(trendOf(samples(1, [1, 2]))).toBeUndefined();
  });

  it("samples every 15 seconds at the longest, and every second at the shortest", () => {
    expect([1, 10, 60, 150, 600].map(sampleSecondsFor)).toEqual([1, 1, 6, 15, 15]);
  });
});
