import { describe, expect, it } from "vitest";
import { summarise } from "./preflight.ts";

describe("preflight", () => {
  it("passes on the median, so that a few slow syncs among many do not stop a run", () => {
    const took = [...new Array<number>(95).fill(200), ...new Array<number>(5).fill(90_000)];
    expect(summarise(took)).toMatchObject({ writes: 100, medianUs: 200, p99Us: 90_000, passed: true });
  });

  it("fails a disk whose usual sync takes longer than the threshold", () => {
    expect(summarise([5_001, 5_002, 5_003])).toMatchObject({ medianUs: 5_002, thresholdUs: 5_000, passed: false });
  });
});
