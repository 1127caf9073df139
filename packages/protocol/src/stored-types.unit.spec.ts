import { expect, it } from "vitest";
import { sumTypes } from "./stored-types.ts";

it("counts of shards are summed by aggregate, type and version, and told in that order; those of Heddle's own entities are left out", () => {
  const row = (aggregate: string, type: string, schemaVersion: number, count: number) => {
    return { aggregate, type, schemaVersion, count };
  };
  const sums = sumTypes([
    [row("B", "X", 10, 1), row("A", "Y", 2, 5)],
    [],
    [row("A", "Y", 1, 3), row("B", "X", 9, 1), row("A", "Y", 2, 2)],
  ]);
  expect(sumTypes([[row("$saga", "Started", 1, 9), row("A", "Y", 1, 3)]])).toEqual([row("A", "Y", 1, 3)]);
  expect(sums).toEqual([row("A", "Y", 1, 3), row("A", "Y", 2, 7), row("B", "X", 9, 1), row("B", "X", 10, 1)]);
});
