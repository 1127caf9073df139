// Goal: two states are told apart field by field, and what is the same is not told.
import { describe, expect, it } from "vitest";
import { toSayable } from "./sayable-value.ts";
import { differencesOf } from "./state-differences.ts";

const fieldsOf = (present: unknown, next: unknown) => differencesOf(present, next, 20)?.fields;

describe("state differences", () => {
  it("names the path of each field that differs, with both values", () => {
    const present = { balance: 5, owner: { name: "a", tags: ["x", "y"] } };
    const next = { balance: 7, owner: { name: "a", tags: ["x", "z"] } };
    expect(fieldsOf(present, next)).toEqual([
      { path: "balance", present: "5", next: "7" },
      { path: "owner.tags[1]", present: '"y"', next: '"z"' },
    ]);
  });

  it("tells fields and list items that only one side has", () => {
    expect(fieldsOf({ a: 1, list: [1] }, { b: 2, list: [1, null] })).toEqual([
      { path: "a", present: "1" },
      { path: "list[1]", next: "null" },
      { path: "b", next: "2" },
    ]);
  });

  it.each([
    ["the same values in another order of fields", { a: 1, b: [2] }, { b: [2], a: 1 }],
    ["equal dates", { at: new Date(5) }, { at: new Date(5) }],
    ["equal bytes", { raw: Uint8Array.of(1, 2) }, { raw: Uint8Array.of(1, 2) }],
    ["NaN", { n: Number.NaN }, { n: Number.NaN }],
  ])("finds nothing in %s", (_, present, next) => {
    expect(differencesOf(present, next, 20)).toBeUndefined();
  });

  it.each([
    ["a number and its text", 1, "1"],
    ["nothing and null", undefined, null],
    ["a list and an object", [], {}],
    ["dates", new Date(1), new Date(2)],
    ["bytes", Uint8Array.of(1), Uint8Array.of(2)],
    ["zero and minus zero", 0, -0],
  ])("tells %s apart", (_, present, next) => {
    expect(fieldsOf({ value: present }, { value: next })).toHaveLength(1);
  });

  it("writes keys that are no names in brackets, and the whole state as an empty path", () => {
    expect(fieldsOf({ "a b": 1 }, { "a b": 2 })).toMatchObject([{ path: '["a b"]' }]);
    expect(fieldsOf(1, 2)).toMatchObject([{ path: "" }]);
  });

  it("tells so many fields and counts all of them", () => {
    const present = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, i]));
    const next = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, -1 - i]));
    const found = differencesOf(present, next, 3)!;
    expect(found.fields).toHaveLength(3);
    expect(found.fieldTotal).toBe(50);
  });
});

describe("sayable values", () => {
  it("shortens what is long and has a word for what JSON has none for", () => {
    expect(toSayable("x".repeat(1_000))).toMatch(/^"x{199}… \(1002 characters\)$/);
    expect(toSayable([1n, Number.NaN, undefined])).toBe('["1","NaN",null]');
    expect(toSayable(undefined)).toBe("nothing");
    expect(toSayable({ raw: Uint8Array.of(1) })).toBe('{"raw":"1 bytes: AQ=="}');
  });
});
