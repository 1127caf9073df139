import { describe, expect, it } from "vitest";
import { InvariantViolation, invariant } from "./invariant.ts";

describe("invariant", () => {
  it("says nothing while the fact holds", () => {
    expect(() => invariant(true, "P1/gapless")).not.toThrow();
  });

  it("throws with its label and facts when it does not: a fault of Heddle, not of the caller", () => {
    const act = () => invariant(false, "P1/gapless", { expected: 3, found: 5 });
    expect(act).toThrow(InvariantViolation);
    expect(act).toThrow('broken invariant P1/gapless {"expected":3,"found":5}');
    expect(act).toThrow(expect.objectContaining({ label: "P1/gapless", facts: { expected: 3, found: 5 } }));
    expect(() => invariant(false, "P1/gapless")).toThrow("broken invariant P1/gapless {}");
  });
});
