// Goal: every value that msgpack can bring survives JSON exactly.
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromTagged, toTagged } from "./export-values.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";

const throughJson = (value: unknown) => fromTagged(JSON.parse(JSON.stringify(toTagged(value))));

const keys = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 5 }),
  fc.constantFrom(
    "$",
    "$$",
    "$bigint",
    "$$bigint",
    "$date",
    "$bytes",
    "$number",
    "$undefined",
    "$x",
    "toJSON",
    "0",
    "7",
  ),
  fc.constantFrom("constructor", "hasOwnProperty", "length", ""),
);
const leaf = fc.oneof(
  fc.constantFrom(null, undefined, true, false, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0),
  fc.integer(),
  fc.double(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.string({ unit: "grapheme" }).filter((text) => text.isWellFormed()),
  fc.constantFrom('\u2028\u0000"\\', "NaN", "$bigint"),
  fc.date({ noInvalidDate: false }),
  fc.uint8Array({ maxLength: 300 }),
);
const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(keys, tie("value"), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;

/** Node's decoder gives Buffers; they are byte arrays. */
function asPlainBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(asPlainBytes);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asPlainBytes(inner)]));
}

describe("export values", () => {
  it("V1: whatever a decoder gives comes back the same, bit by bit", () => {
    fc.assert(
      fc.property(values, (value) => {
        const decoded = decodeValue(encodeValue(value).slice());
        const back = throughJson(decoded);
        if (!isDeepStrictEqual(back, asPlainBytes(decoded))) expect(back).toStrictEqual(asPlainBytes(decoded));
        expect(encodeValue(back).slice()).toEqual(encodeValue(decoded).slice());
      }),
      { numRuns: 3_000 },
    );
  });

  it("V1: -0, which another encoder may have written, stays what it is", () => {
    expect(Object.is(throughJson(decodeValue(Uint8Array.of(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0))), -0)).toBe(true);
  });

  it("what JSON has words for is written as it is, without a copy", () => {
    const value = { a: [1, "x", null, true, { b: 1.5 }] };
    expect(toTagged(value)).toBe(value);
  });

  it.each([
    [5n, '{"$bigint":"5"}'],
    [Uint8Array.of(1, 2, 255), '{"$bytes":"AQL/"}'],
    [new Date(0), '{"$date":"1970-01-01T00:00:00.000Z"}'],
    [new Date(Number.NaN), '{"$date":null}'],
    [Number.NEGATIVE_INFINITY, '{"$number":"-Infinity"}'],
    [undefined, '{"$undefined":true}'],
    [{ $bigint: "5", b: 1 }, '{"$$bigint":"5","b":1}'],
    [{ a: 1, $$x: 5n }, '{"a":1,"$$$x":{"$bigint":"5"}}'],
  ])("%s is written %s", (value, text) => {
    expect(JSON.stringify(toTagged(value))).toBe(text);
  });

  it("P7 a key named __proto__ makes no prototype", () => {
    const back = fromTagged(JSON.parse('{"__proto__":{"$bigint":"5"},"$$a":1}')) as object;
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(Object.keys(back)).toEqual(["__proto__", "$a"]);
    const tagged = toTagged(JSON.parse('{"__proto__":{"a":1},"$a":1}')) as object;
    expect(Object.getPrototypeOf(tagged)).toBe(Object.prototype);
  });

  it("P7 a function cannot be exported", () => {
    expect(() => toTagged({ a: () => 1 })).toThrowError(expect.objectContaining({ code: "INVALID_REQUEST" }));
  });
});
