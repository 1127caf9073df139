import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonText } from "./json-text.ts";

describe("values as JSON", () => {
  it("say what JSON.stringify says of everything that JSON can hold", () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
        expect(jsonText(value)).toBe(JSON.stringify(value));
      }),
    );
  });

  it("turn what JSON has no word for into strings", () => {
    const big = 2n ** 63n;
    const bytes = new Uint8Array([0, 104, 105, 255]);
    expect(JSON.parse(jsonText({ big: -big, nested: [big] }))).toEqual({ big: `-${big}`, nested: [`${big}`] });
    expect(JSON.parse(jsonText([bytes, Buffer.from(bytes), bytes.subarray(1, 3)]))).toEqual([
      "AGhp/w==",
      "AGhp/w==",
      "aGk=",
    ]);
    expect(JSON.parse(jsonText(new Date(0)))).toBe("1970-01-01T00:00:00.000Z");
    expect(JSON.parse(jsonText([Number.NaN, Infinity, -Infinity]))).toEqual(["NaN", "Infinity", "-Infinity"]);
  });

  it("leave out fields without a value, and show null where a place cannot be left out", () => {
    expect(jsonText({ a: undefined, b: 1, c: [undefined] })).toBe('{"b":1,"c":[null]}');
    expect(jsonText(undefined)).toBe("null");
    expect(jsonText(new Date(Number.NaN))).toBe("null");
  });

  it("keep keys that mean something to JavaScript", () => {
    const text = '{"__proto__":{"a":1},"constructor":2,"toJSON":3}';
    expect(jsonText(JSON.parse(text))).toBe(text);
  });
});
