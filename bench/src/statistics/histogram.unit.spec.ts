import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LatencyHistogram } from "./histogram.ts";

const latencies = fc.array(fc.double({ min: 0, max: 120_000, noNaN: true }), { minLength: 1, maxLength: 300 });

describe("latency histogram", () => {
  it("never shows a percentile better than it was, nor worse than its resolution allows", () => {
    fc.assert(
      fc.property(latencies, fc.double({ min: 0.001, max: 1, noNaN: true }), (values, share) => {
        const histogram = new LatencyHistogram();
        for (const value of values) histogram.record(value);
        const sorted = values.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(values.length * share)) - 1]!;
        const shown = histogram.percentileMs(share);
        expect(shown).toBeGreaterThanOrEqual(exact);
        expect(shown).toBeLessThanOrEqual(exact * (1 + 1 / 128) + 0.001);
      }),
    );
  });

  it("keeps the greatest sample as it is", () => {
    const histogram = new LatencyHistogram();
    for (const value of [0.5, 7_123.456, 3]) histogram.record(value);
    expect(histogram.summary()).toMatchObject({ count: 3, maxMs: 7_123.456, p999Ms: 7_123.456 });
  });

  it("gives every microsecond below 256 a bucket of its own", () => {
    const histogram = new LatencyHistogram();
    for (let us = 1; us <= 255; us++) histogram.record(us / 1000);
    expect(histogram.percentileMs(100 / 255)).toBe(0.1);
    expect(histogram.percentileMs(0.5)).toBe(0.128);
  });

  it("says zero of no samples, and starts anew when cleared", () => {
    const histogram = new LatencyHistogram();
    const empty = histogram.summary();
    expect(empty).toEqual({ count: 0, meanMs: 0, p50Ms: 0, p90Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 });
    histogram.record(12);
    histogram.clear();
    expect(histogram.summary()).toEqual(empty);
  });
});
