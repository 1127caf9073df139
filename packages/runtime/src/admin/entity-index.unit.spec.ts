// Goal: every entry finds its own entity and no other, however many there are and however alike their ids.
import { newEntryView } from "@heddle/event-log/internal";
import { describe, expect, it } from "vitest";
import { EntityIndex, ofAnotherSlice } from "./entity-index.ts";
import { hashOfEntity } from "./entity-slices.ts";

function entryOf(entity: string, bodyFrom = 0) {
  const id = Buffer.from(entity);
  const bytes = Buffer.concat([Buffer.alloc(bodyFrom), Buffer.of(id.length & 255, id.length >>> 8), id, Buffer.of(9)]);
  return { ...newEntryView(), bytes, bodyFrom, bodyTo: bytes.length };
}

const whole = { slice: 0, slices: 1 };
const named = (id: string) => ({ id });

describe("entity index", () => {
  it("finds each of many entities by an entry, and by its id", () => {
    const index = new EntityIndex(whole, named);
    const ids = Array.from({ length: 20_000 }, (_, i) => `account/${i}`);
    for (const id of ids) {
      expect(index.find(entryOf(id))).toBeUndefined();
      index.take(id);
    }
    expect(index.size).toBe(20_000);
    for (const id of ids) {
      expect(index.find(entryOf(id))).toBe(index.get(id));
      expect(index.get(id)!.id).toBe(id);
    }
    expect(Array.from(index, ({ id }) => id)).toEqual(ids);
    expect(index.get("account/20000")).toBeUndefined();
  });

  it("tells entities apart whose hashes are the same", () => {
    const seen = new Map<number, string>();
    let pair: [string, string] | undefined;
    for (let i = 0; pair === undefined; i++) {
      const id = `k/${i.toString(36)}`;
      const other = seen.get(hashOfEntity(id));
      if (other !== undefined) pair = [other, id];
      seen.set(hashOfEntity(id), id);
    }
    const index = new EntityIndex(whole, named);
    index.take(pair[0]);
    expect(index.find(entryOf(pair[1]))).toBeUndefined();
    index.take(pair[1]);
    for (const id of pair) expect(index.find(entryOf(id))).toMatchObject({ id });
  });

  it("takes an entity once, also one whose id is not ASCII and that no entry finds by its bytes", () => {
    const index = new EntityIndex(whole, named);
    const first = index.take("konto/jürgen");
    expect(index.find(entryOf("konto/jürgen"))).toBeUndefined();
    expect(index.take("konto/jürgen")).toBe(first);
    expect(index.size).toBe(1);
  });

  it("says of an entry that it belongs to another slice, and of each entity so in all slices but one", () => {
    const slices = [0, 1, 2].map((slice) => new EntityIndex({ slice, slices: 3 }, named));
    for (let i = 0; i < 100; i++) {
      const mine = slices.filter((index) => index.find(entryOf(`account/${i}`)) !== ofAnotherSlice);
      expect(mine).toHaveLength(1);
    }
  });

  it("gives a decoder the text of the entity that was just found, where it stands, and reads every other text", () => {
    const index = new EntityIndex(whole, named);
    index.take("account/alice");
    const entry = entryOf("account/alice", 5);
    index.find(entry);
    expect(index.texts.read(entry.bytes, 7, 20)).toBe("account/alice");
    expect(index.texts.read(entry.bytes, 8, 20)).toBe("ccount/alice");
    const other = entryOf("account/malice", 5);
    index.find(other);
    expect(index.texts.read(other.bytes, 7, 21)).toBe("account/malice");
  });
});
