// Goal: a document is only said to be new where nothing speaks against it.
import { describe, expect, it } from "vitest";
import { KnownIds } from "./known-ids.ts";

const part = (puts: readonly string[], removes: readonly string[] = []) => ({
  puts: puts.map((_id) => ({ _id })),
  removes,
});

describe("mongodb: known ids", () => {
  it("of a generation that was just made all are new, once each, and again when they were removed", () => {
    const known = new KnownIds(true);
    expect([known.isNew("a"), known.isNew("a")]).toEqual([true, true]);
    known.noteWritten([part(["a", "b"]), part(["c"])]);
    expect(["a", "b", "c", "d"].map((id) => known.isNew(id))).toEqual([false, false, false, true]);
    known.noteWritten([part([], ["b"])]);
    expect(["a", "b"].map((id) => known.isNew(id))).toEqual([false, true]);
  });

  it("of any other only those are new that were looked for and not found", () => {
    const known = new KnownIds(false);
    expect(known.isNew("a")).toBe(false);
    known.noteAbsent("a");
    expect([known.isNew("a"), known.isNew("b")]).toEqual([true, false]);
    known.noteWritten([part(["a"])]);
    expect(known.isNew("a")).toBe(false);
  });

  it("of a generation with more than can be kept none is new", () => {
    const known = new KnownIds(true);
    known.noteWritten([part(Array.from({ length: 200_001 }, (_, i) => String(i)))]);
    expect(known.isNew("another")).toBe(false);
    known.noteAbsent("another");
    expect(known.isNew("another")).toBe(true);
  });
});
