import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SortInTurns } from "./sort-in-turns.ts";

function sorted(keys: readonly string[]): string[] {
  const sort = new SortInTurns(keys, (key) => key);
  while (sort.sortMore());
  const found: string[] = [];
  for (let key = sort.next(); key !== undefined; key = sort.next()) found.push(key);
  return found;
}

describe("a sort in turns", () => {
  it("gives what a sort gives", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 3 }), { maxLength: 100 }), (keys) => {
        expect(sorted(keys)).toEqual(keys.toSorted());
      }),
    );
  });

  it("merges many runs of different lengths", () => {
    for (const length of [0, 1, 1_999, 2_000, 2_001, 13_777]) {
      const keys = Array.from({ length }, (_, i) => `entity/${(i * 7919) % Math.max(1, length)}`);
      expect(sorted(keys)).toEqual(keys.toSorted());
    }
  });

  it("sorts one run at a time", () => {
    const sort = new SortInTurns(
      Array.from({ length: 5_000 }, (_, i) => String(i)),
      (key) => key,
    );
    expect([sort.sortMore(), sort.sortMore(), sort.sortMore(), sort.sortMore()]).toEqual([true, true, true, false]);
  });
});
