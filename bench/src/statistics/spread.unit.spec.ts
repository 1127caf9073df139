import { describe, expect, it } from "vitest";
import { medianIndex, spreadOf } from "./spread.ts";

describe("spread of repetitions", () => {
  it("is the middle value and the two ends, in whatever order they came", () => {
    expect(spreadOf([5, 1, 3])).toEqual({ median: 3, min: 1, max: 5 });
  });

  it("takes the mean of the two in the middle of an even number", () => {
    expect(spreadOf([4, 1, 2, 9])).toEqual({ median: 3, min: 1, max: 9 });
  });

  it("is nothing for no values", () => {
    expect(spreadOf([])).toBeUndefined();
  });

  it("shows a repetition that took place: the middle one, the lower of two", () => {
    expect(medianIndex([30, 10, 20])).toBe(2);
    expect(medianIndex([40, 10])).toBe(1);
  });
});
