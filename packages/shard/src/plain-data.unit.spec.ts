// Comparison, freezing, and what comes back from its bytes (P3: what is stored is what was folded).
import { limits } from "@heddle/kernel";
import { decodeValue, encodeValue } from "@heddle/protocol/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeState } from "./encode-state.ts";
import { compare, comparison, freeze, isPlainData, isTooDeep } from "./plain-data.ts";

const { same, different, tooDeep } = comparison;
const plain = fc.anything({ withDate: true, withBigInt: false, maxDepth: 4 });

function nested(levels: number): unknown {
  let value: unknown = null;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { in: value };
  return value;
}

describe("P3: comparing what a schema returned with what came", () => {
  it.each<[what: string, value: unknown, payload: unknown, expected: number]>([
    ["an object as it was", { a: 1, b: { c: [true, null] } }, { a: 1, b: { c: [true, null] } }, same],
    ["a key less", { a: 1 }, { a: 1, b: 2 }, different],
    ["a key more", { a: 1, b: 2 }, { a: 1 }, different],
    ["a key that is undefined now, in place of another", { a: undefined }, { b: 1 }, different],
    ["a key that is undefined now, and more", { a: undefined, b: 1 }, { b: 1, c: 2 }, different],
    ["a key that was undefined and is", { a: undefined }, { a: undefined }, same],
    ["another value", { a: "1" }, { a: 1 }, different],
    ["minus zero", { a: -0 }, { a: 0 }, different],
    ["not a number", { a: Number.NaN }, { a: Number.NaN }, same],
    ["a shorter list", [1], [1, 2], different],
    ["a longer list", [1, 2], [1], different],
    ["a list for an object", [], {}, different],
    ["an object for a list", {}, [], different],
    ["an object for a date", {}, new Date(0), different],
    ["an object for bytes", {}, new Uint8Array(), different],
    ["another date of the same time", new Date(1), new Date(1), different],
    ["an object without a prototype", Object.create(null), {}, different],
    ["an instance of a class", new (class A {})(), {}, different],
    ["text for an object", "x", {}, different],
    ["an object for text", { a: 1 }, "x", different],
    ["null for an object", null, {}, different],
  ])("P3: %s", (_what, value, payload, expected) => {
    expect(compare(value, payload)).toBe(expected);
  });

  it("P3: the very same date, bytes or instance is the same", () => {
    for (const one of [new Date(1), new Uint8Array(3), new Map()]) expect(compare({ one }, { one })).toBe(same);
  });

  it("P3: says same only when the payload's bytes give the value back", () => {
    fc.assert(
      fc.property(plain, plain, (value, payload) => {
        if (compare(value, payload) === same) expect(value).toStrictEqual(payload);
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        expect(compare(structuredClone(value), value)).toBe(same);
      }),
    );
  });

  it("P7: bounds the depth of what a schema returned, whatever came", () => {
    const { payloadDepthMax } = limits;
    for (const payload of [undefined, null, [], {}, nested(payloadDepthMax + 1)]) {
      expect(compare(nested(payloadDepthMax + 1), payload)).toBe(tooDeep);
      expect(compare(nested(payloadDepthMax), payload)).not.toBe(tooDeep);
    }
    expect([isTooDeep(nested(64)), isTooDeep(nested(65)), isTooDeep(nested(100_000))]).toEqual([false, true, true]);
  });
});

describe("P3: frozen states", () => {
  it("P3: are frozen in depth, and shared parts only once", () => {
    const before = { list: [{ n: 1 }], other: { deep: { deeper: [1] } } };
    freeze(before);
    expect(() => before.list.push({ n: 2 })).toThrow(TypeError);
    expect(() => {
      before.other.deep.deeper[0] = 2;
    }).toThrow(TypeError);
    const after = { ...before, added: { n: 1 } };
    freeze(after);
    expect(() => {
      after.added.n = 2;
    }).toThrow(TypeError);
  });

  it("P3: leave alone what cannot be frozen", () => {
    const state = { bytes: new Uint8Array(2), nothing: null, text: "x" };
    freeze(state);
    state.bytes[0] = 1;
    for (const one of [null, undefined, 5, "x", new Uint8Array(2)]) freeze(one);
  });

  it("P3: hold themselves without an end to the freezing", () => {
    const cyclic: Record<string, unknown> = {};
    cyclic["me"] = cyclic;
    freeze(cyclic);
    expect(Object.isFrozen(cyclic)).toBe(true);
  });
});

describe("P5: snapshots", () => {
  it("P5: what has one comes back from it as it was", () => {
    fc.assert(
      fc.property(
        fc.anything({
          withDate: true,
          withBigInt: true,
          withMap: true,
          withSet: true,
          withNullPrototype: true,
          maxDepth: 4,
        }),
        (state) => {
          const bytes = encodeState(state);
          if (bytes !== undefined) expect(decodeValue(bytes)).toStrictEqual(state);
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it("P5: all JSON has one, unless it holds half a surrogate pair or minus zero", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "grapheme", maxDepth: 5 }), (state) => {
        const tricky = JSON.stringify(state).includes("__proto__") || hasMinusZero(state);
        if (!tricky) expect(encodeState(state)).toBeDefined();
      }),
    );
  });

  it.each<[what: string, state: unknown]>([
    ["a map", { a: new Map() }],
    ["a set", [new Set()]],
    [
      "an instance of a class",
      new (class Money {
        amount = 1;
      })(),
    ],
    ["an object without a prototype", { index: Object.create(null) }],
    ["a function", { f: () => 1 }],
    ["minus zero", { n: -0 }],
    ["half a surrogate pair", { text: "a\ud800" }],
    ["half a surrogate pair in a key", { "a\udc00": 1 }],
    ["a key that would set a prototype", JSON.parse('{"__proto__": {"a": 1}}')],
    ["a bigint beyond 64 bits", { n: 2n ** 64n }],
    ["a nesting that no decoder takes", nested(limits.valueDepthMax)],
  ])("P5: %s has none", (_what, state) => {
    expect(encodeState(state)).toBeUndefined();
  });

  it("P5: the deepest state that a decoder takes has one", () => {
    const state = nested(limits.valueDepthMax - 1);
    expect(decodeValue(encodeState(state)!)).toEqual(state);
    expect(isPlainData(state)).toBe(true);
    expect(() => decodeValue(encodeValue(nested(limits.valueDepthMax + 1)).slice())).toThrow();
  });
});

function hasMinusZero(value: unknown): boolean {
  if (Object.is(value, -0)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(hasMinusZero);
}
