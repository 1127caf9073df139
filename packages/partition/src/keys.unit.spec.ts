// Goal: keys sort as readers need them to, keep entities apart, and give back what they were built from.
import { InvariantViolation, parseEntityId } from "@heddle/kernel/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  entityOfKey,
  firstSeqOfKey,
  KeyBuilder,
  nameOfKey,
  sessionOfKey,
  successorOf,
  typeVersionOfKey,
} from "./keys.ts";

const keys = new KeyBuilder();
const copy = (key: Uint8Array): Buffer => Buffer.from(key);

// Short alphabets make prefixes of one another likely, which is where sorting goes wrong.
const name = fc.string({ unit: fc.constantFrom("a", "b", "/", "!", "~", "é", "€", "🧵"), minLength: 1, maxLength: 6 });
const entity = name.map((text) => parseEntityId(`k/${text}`));

describe("keys: round trip", () => {
  it("of entities, names, sequences and sessions", () => {
    fc.assert(
      fc.property(entity, fc.string({ unit: "binary", maxLength: 40 }), fc.maxSafeNat(), (id, text, number) => {
        fc.pre(text.isWellFormed());
        expect(entityOfKey(keys.entity(id))).toBe(id);
        const named = keys.named(id, text);
        expect([entityOfKey(named), nameOfKey(named)]).toEqual([id, text]);
        const extent = keys.extent(id, number);
        expect([entityOfKey(extent), firstSeqOfKey(extent)]).toEqual([id, number]);
        expect(sessionOfKey(keys.session(number))).toBe(number);
      }),
    );
  });

  it("of aggregates, types and schema versions, in this order", () => {
    const part = fc.string({ unit: fc.constantFrom("a", "b", "$", "é", "€"), maxLength: 6 });
    fc.assert(
      fc.property(fc.tuple(part, part, fc.maxSafeNat()), fc.tuple(part, part, fc.maxSafeNat()), (one, other) => {
        const [a, b] = [one, other].map(([aggregate, type, version]) =>
          copy(keys.typeVersion(aggregate, type, version)),
        );
        const [aggregate, type, schemaVersion] = one;
        expect(typeVersionOfKey(a!)).toEqual({ aggregate, type, schemaVersion });
        const order =
          Buffer.compare(Buffer.from(one[0]), Buffer.from(other[0])) ||
          Buffer.compare(Buffer.from(one[1]), Buffer.from(other[1])) ||
          Math.sign(one[2] - other[2]);
        expect(a!.compare(b!)).toBe(order);
      }),
    );
    expect(() => keys.typeVersion("a\0b", "c", 1)).toThrow(InvariantViolation);
  });

  it("of the longest entity and append id that are allowed", () => {
    const longest = `k/${"é".repeat(255)}`;
    const id = "x".repeat(200);
    expect(nameOfKey(keys.named(longest, id))).toBe(id);
    expect(entityOfKey(keys.named(longest, id))).toBe(longest);
  });

  it("does not mistake what stood in the buffer for an entity", () => {
    keys.entity("k/alice");
    keys.session(2 ** 50);
    expect(entityOfKey(keys.entity("k/alice"))).toBe("k/alice");
    keys.named("k/alice", "some name");
    expect(entityOfKey(keys.extent("k/alic", 7))).toBe("k/alic");
    keys.filterPage(1, 2);
    expect(entityOfKey(keys.entity("k/alic"))).toBe("k/alic");
  });

  it("refuses what does not fit instead of cutting it", () => {
    expect(() => keys.entity("")).toThrow(InvariantViolation);
    expect(() => keys.entity("k".repeat(524))).toThrow(InvariantViolation);
    expect(() => keys.entity("é".repeat(300))).toThrow(InvariantViolation);
    expect(() => keys.named("k/a", "x".repeat(2_000))).toThrow(InvariantViolation);
    expect(() => keys.named(`k/${"a".repeat(500)}`, "é".repeat(200))).toThrow(InvariantViolation);
    expect(() => keys.extent("k/a", -1)).toThrow(InvariantViolation);
  });
});

describe("keys: order", () => {
  it("of an entity's extents is the order of their sequences", () => {
    fc.assert(
      fc.property(entity, fc.maxSafeNat(), fc.maxSafeNat(), (id, a, b) => {
        const order = copy(keys.extent(id, a)).compare(keys.extent(id, b));
        expect(order).toBe(Math.sign(a - b));
      }),
    );
  });

  it("keeps everything of an entity together and everything of others out, even of those that begin alike", () => {
    const other = fc.oneof(entity, name).map(String);
    fc.assert(
      fc.property(entity, other, fc.maxSafeNat(), (id, more, seq) => {
        const foreigner = more.startsWith("k/") ? more : `${id}${more}`;
        fc.pre(id !== foreigner);
        const start = copy(keys.firstOf(id));
        const end = copy(keys.endOf(id));
        const own = copy(keys.extent(id, seq));
        const foreign = copy(keys.extent(foreigner, seq));
        expect(start.compare(own) <= 0 && own.compare(end) < 0).toBe(true);
        expect(start.compare(foreign) <= 0 && foreign.compare(end) < 0).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it("has nothing between a key and its successor", () => {
    const key = copy(keys.entity("k/alice"));
    const next = Buffer.from(successorOf(key));
    expect(key.compare(next)).toBe(-1);
    expect(copy(keys.firstOf("k/alice")).compare(next)).toBe(0);
  });
});
