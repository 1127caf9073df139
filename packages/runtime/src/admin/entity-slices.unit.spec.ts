// Goal: every entity belongs to one slice, whichever way it is asked, and slices are about equally full.
import { newEntryView } from "@heddle/event-log/internal";
import { describe, expect, it } from "vitest";
import { hashOfEntry, sliceLogBytes, sliceOfEntity, sliceOfHash, slicesOf } from "./entity-slices.ts";

function entryOf(entity: string) {
  const id = Buffer.from(entity);
  const bytes = Buffer.concat([Buffer.alloc(7), Buffer.of(id.length & 255, id.length >>> 8), id, Buffer.from("rest")]);
  return { ...newEntryView(), bytes, bodyFrom: 7, bodyTo: bytes.length };
}

describe("entity slices", () => {
  it("give an entity the same slice by its name and by its entry's bytes", () => {
    for (const entity of ["account/alice", "konto/jürgen", "口座/花子", "x/😀"]) {
      for (const slices of [1, 2, 3, 7]) {
        expect(sliceOfHash(hashOfEntry(entryOf(entity)), slices)).toBe(sliceOfEntity(entity, slices));
      }
    }
  });

  it("are about equally full, also where names are numbers", () => {
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 40_000; i++) counts[sliceOfEntity(`account/${i}`, 4)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });

  it("read nothing beyond an entry's body, however long it says its entity is", () => {
    const entry = entryOf("a/b");
    entry.bytes[7] = 0xff;
    entry.bytes[8] = 0xff;
    expect(sliceOfHash(hashOfEntry(entry), 3)).toBeLessThan(3);
  });

  it("are as many as it takes to keep every thread busy, and to hold a part of a long log at a time", () => {
    expect(slicesOf(1_000, 8, 2)).toBe(1);
    expect(slicesOf(1_000, 1, 2)).toBe(2);
    expect(slicesOf(1_000, 3, 8)).toBe(3);
    expect(slicesOf(5 * sliceLogBytes, 8, 2)).toBe(5);
  });
});
