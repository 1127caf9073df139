// Goal: whatever a node may answer can be printed as JSON, in the words that HTTP uses too.
import { describe, expect, it } from "vitest";
import { toJson, toPrettyJson } from "./json.ts";

describe("json", () => {
  it("says what JSON has no word for as text", () => {
    const value = {
      big: 2n ** 63n,
      bytes: new Uint8Array([1, 2, 255]),
      buffer: Buffer.from("hi"),
      date: new Date(0),
      numbers: [Number.NaN, Number.NEGATIVE_INFINITY, -0, 1.5],
      nothing: undefined,
    };
    expect(toJson(value)).toBe(
      '{"big":"9223372036854775808","bytes":"AQL/","buffer":"aGk=","date":"1970-01-01T00:00:00.000Z","numbers":["NaN","-Infinity",0,1.5]}',
    );
  });

  it("is one line, or several for a reader, and null for nothing at all", () => {
    expect([toJson(undefined), toPrettyJson({ a: [1] })]).toEqual(["null", '{\n  "a": [\n    1\n  ]\n}']);
  });
});
