// Goal: a TurnoverMap answers as the engine's Map does, whatever comes and goes, with keys of any kind.
// Not tested here: that it leaves less behind; what that costs is measured (docs/decisions/0017).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TurnoverMap } from "./turnover-map.ts";

type Step = readonly ["set" | "delete" | "get", number] | readonly ["clear"];

const steps = (keys: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant("set" as const), fc.nat(keys - 1)) },
      { weight: 5, arbitrary: fc.tuple(fc.constant("delete" as const), fc.nat(keys - 1)) },
      { weight: 2, arbitrary: fc.tuple(fc.constant("get" as const), fc.nat(keys - 1)) },
      { weight: 1, arbitrary: fc.constant(["clear"] as const) },
    ),
    { maxLength: 400 },
  );

/** Does the same to both, and compares what they say. */
function compare<K extends string | number>(keyOf: (n: number) => K, all: readonly Step[]): void {
  const found = new TurnoverMap<K, { readonly n: number }>();
  const wanted = new Map<K, { readonly n: number }>();
  for (const [n, [what, number = 0]] of all.entries()) {
    const key = keyOf(number);
    if (what === "set") {
      const value = { n };
      found.set(key, value);
      wanted.set(key, value);
    } else if (what === "delete") {
      expect(found.delete(key)).toBe(wanted.get(key));
      wanted.delete(key);
    } else if (what === "clear") {
      found.clear();
      wanted.clear();
    }
    expect(found.get(key)).toBe(wanted.get(key));
    expect(found.has(key)).toBe(wanted.has(key));
    expect(found.size).toBe(wanted.size);
  }
  expect([...found]).toEqual([...wanted]);
  expect(found.keys()).toEqual([...wanted.keys()]);
  expect(found.values()).toEqual([...wanted.values()]);
}

const kinds: Record<string, (n: number) => string | number> = {
  "small numbers": (n) => n,
  "numbers of 48 bits that differ in their high bits only": (n) => n * 2 ** 32 + 7,
  "negative numbers, and fractions": (n) => -n / 2 - 1,
  texts: (n) => `saga-${n}`,
  "texts that are empty or long": (n) => "x".repeat(n),
};

describe("turnover map", () => {
  for (const [kind, keyOf] of Object.entries(kinds)) {
    it(`answers as a Map does: ${kind}`, () => {
      for (const keys of [3, 12, 60]) fc.assert(fc.property(steps(keys), (all) => compare(keyOf, all)));
    });
  }

  it("finds each of many among those that came and went", () => {
    const map = new TurnoverMap<number, { readonly n: number }>();
    const kept = new Set<number>();
    for (let n = 0; n < 50_000; n++) {
      map.set(n, { n });
      if (n % 100 === 0) kept.add(n);
      else if (n >= 500 && (n - 500) % 100 !== 0) map.delete(n - 500);
    }
    for (let n = 50_000 - 500; n < 50_000; n++) if (n % 100 !== 0) map.delete(n);
    expect(map.keys()).toEqual([...kept]);
    expect([...kept].every((n) => map.get(n)?.n === n)).toBe(true);
  });

  it("gives lists that later changes leave as they are", () => {
    const map = new TurnoverMap<string, { readonly n: number }>();
    map.set("a", { n: 1 });
    map.set("b", { n: 2 });
    for (const [key] of map) map.delete(key);
    expect(map.size).toBe(0);
    map.set("c", { n: 3 });
    const values = map.values();
    map.clear();
    expect(values).toEqual([{ n: 3 }]);
  });
});
