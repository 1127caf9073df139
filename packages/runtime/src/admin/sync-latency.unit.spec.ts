// Goal: the figures that decide whether a disk is good enough are the ones that their names say.
import { describe, expect, it } from "vitest";
import { percentiles } from "./sync-latency.ts";

describe("sync latency: percentiles", () => {
  it("are samples that were measured, by nearest rank", () => {
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(percentiles(hundred)).toEqual({ p50Us: 50, p99Us: 99, maxUs: 100 });
    expect(percentiles([...hundred, 1_000])).toEqual({ p50Us: 51, p99Us: 100, maxUs: 1_000 });
  });

  it("of one sample are that sample, in whole microseconds", () => {
    expect(percentiles([7.6])).toEqual({ p50Us: 8, p99Us: 8, maxUs: 8 });
  });
});
