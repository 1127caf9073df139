import { describe, expect, it } from "vitest";
import type { Target } from "../scenarios.ts";
import { allReached, type Conditions, describeOutcome, judgeTarget } from "./targets.ts";

const ratio: Target = { id: "ratio", wanted: 0.7, sense: "at least", unit: "" };
const p99: Target = { id: "p99", wanted: 10, sense: "below", unit: "ms" };
const conditions: Conditions = { durability: "fsync", inMemory: false, ownShape: true };

describe("targets", () => {
  it("are reached at the figure for `at least`, and not for `below`", () => {
    expect(judgeTarget(ratio, 0.7, conditions).reached).toBe(true);
    expect(judgeTarget(ratio, 0.699, conditions).reached).toBe(false);
    expect(judgeTarget(p99, 10, conditions).reached).toBe(false);
    expect(judgeTarget(p99, 9.99, conditions).reached).toBe(true);
  });

  it.each([
    [{ ...conditions, durability: "os" as const }, "stated for durability fsync"],
    [{ ...conditions, inMemory: true }, "the data folder is in memory, where a sync costs nothing"],
    [{ ...conditions, ownShape: false }, "another number of callers than the scenario's"],
  ])("are not judged where they are not stated for: %o", (other, remark) => {
    expect(judgeTarget(ratio, 0.9, other)).toMatchObject({ reached: undefined, remark });
  });

  it("are not judged without a figure", () => {
    expect(judgeTarget(ratio, undefined, conditions, { missing: "no batch" })).toMatchObject({
      reached: undefined,
      remark: "no batch",
    });
  });

  it("read as a sentence", () => {
    expect(describeOutcome(judgeTarget(ratio, 0.8123, conditions, { of: "to the floor" }))).toBe(
      "ratio to the floor at least 0.7: 0.81 (reached)",
    );
    expect(describeOutcome(judgeTarget(p99, 12.34, conditions))).toBe("p99 below 10 ms: 12.3 ms (MISSED)");
    expect(describeOutcome(judgeTarget(p99, undefined, conditions))).toBe(
      "p99 below 10 ms: - (not judged: not measured)",
    );
  });

  it("are all reached only if each judged one is, and nothing is said when none was", () => {
    const reached = judgeTarget(ratio, 1, conditions);
    const missed = judgeTarget(ratio, 0, conditions);
    const open = judgeTarget(ratio, undefined, conditions);
    expect(allReached([reached, open])).toBe(true);
    expect(allReached([reached, missed])).toBe(false);
    expect(allReached([open])).toBeUndefined();
  });
});
