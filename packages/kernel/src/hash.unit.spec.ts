// Routing. The hash decides on which shard an entity lies, so its values are part of every data folder: a change here
// is a change of format. The golden values were computed by another program, from the definition.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashEntity, shardOf, shardOfHash } from "./hash.ts";
import { type EntityId, parseAnyEntityId, parseEntityId } from "./ids.ts";

const golden: [id: string, hash: number][] = [
  ["a/b", 0xa11ccf42],
  ["account/alice", 0xc4d9333a],
  ["account/bob", 0x0e8f8970],
  ["order/2026-11-20/000001", 0xfd6ff025],
  ["device/ÄÖü", 0xfffd605e],
  ["user/日本語", 0x7e2bf560],
  ["user/👩‍👩‍👧", 0xfea3c6be],
  ["k_1-x/a/b//c", 0x247f5ad9],
  ["airport/SEA", 0xbc40be56],
  [`z/${"x".repeat(510)}`, 0xc6b88a79],
];

/** The definition once more, over real UTF-8 bytes and with big integers: slow, and nothing in common with the code. */
function hashOfBytes(bytes: Uint8Array): number {
  const word = 2n ** 32n;
  let hash = 0x811c9dc5n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x01000193n) % word;
  hash = ((hash ^ (hash >> 16n)) * 0x85ebca6bn) % word;
  hash = ((hash ^ (hash >> 13n)) * 0xc2b2ae35n) % word;
  return Number(hash ^ (hash >> 16n));
}

describe("hash of an entity id", () => {
  it.each(golden)("of %s never changes", (id, hash) => {
    expect(hashEntity(parseEntityId(id))).toBe(hash);
  });

  it("is that of the id's UTF-8 bytes, whatever the characters", () => {
    const anyText = fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.replaceAll("{", "("));
    fc.assert(
      fc.property(anyText, (text) => {
        expect(hashEntity(text as EntityId)).toBe(hashOfBytes(Buffer.from(text, "utf8")));
      }),
      { numRuns: 2000 },
    );
    // The first and last character of each UTF-8 length, and those beside the surrogates.
    for (const point of [0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff]) {
      const text = `a${String.fromCodePoint(point)}b`;
      expect(hashEntity(text as EntityId)).toBe(hashOfBytes(Buffer.from(text, "utf8")));
    }
  });
});

describe("hash of an id with a tag", () => {
  // Computed as the golden values are.
  it.each([
    ["order/{acme}/1", 0x7860b3c2],
    ["account/x{acme}", 0x7860b3c2],
    ["$saga/{acme}transfer-001", 0x7860b3c2],
    ["order/{acme}/{other}", 0x7860b3c2],
    ["order/{Ä}", 0x385b4903],
  ])("is that of the tag alone: %s", (id, hash) => {
    expect(hashEntity(parseAnyEntityId(id))).toBe(hash);
  });

  it.each([
    ["order/{}/1", 0x6f0818d4],
    ["order/{acme", 0xda0fa5f2],
    ["order/}{acme", 0x0c828a15],
  ])("is that of the whole id where braces hold nothing: %s", (id, hash) => {
    expect(hashEntity(parseEntityId(id))).toBe(hash);
  });

  it("places an entity's reminders where the entity is, whatever its id", () => {
    for (const id of ["account/alice", "order/{acme}/1", "order/{}/1", "order/}{", "device/ÄÖü"]) {
      expect(hashEntity(parseAnyEntityId(`$reminders/${id}`)), id).toBe(hashEntity(parseEntityId(id)));
    }
  });
});

describe("shard of an entity", () => {
  it("is the hash modulo the shard count: hash 10 of 4 shards is shard 2", () => {
    expect(shardOfHash(10, 4)).toBe(2);
    for (const [id, hash] of golden) expect(shardOf(parseEntityId(id), 7)).toBe(hash % 7);
  });

  const families: Record<string, (n: number) => string> = {
    "counted names": (n) => `account/${n}`,
    "padded numbers": (n) => `order/${String(n).padStart(12, "0")}`,
    "days and numbers": (n) => `flight/2026-${(n % 12) + 1}-${(n % 28) + 1}/${n}`,
    "steps of a thousand": (n) => `device/${n * 1000}`,
    "letters at the end": (n) => `user/member-${n.toString(36)}`,
  };
  // Entities spread as evenly as chance would have it. With k shards chi-square has a mean of k - 1 and a variance of
  // 2(k - 1); the bound lies six standard deviations out, and the ids are fixed, so the test never wavers.
  it.each(Object.entries(families))("spreads evenly over any number of shards: %s", (_, idOf) => {
    const hashes = Array.from({ length: 50_000 }, (_, n) => hashEntity(parseEntityId(idOf(n))));
    for (const shardCount of [2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 64, 100, 256]) {
      const counts = new Array<number>(shardCount).fill(0);
      for (const hash of hashes) counts[shardOfHash(hash, shardCount)]!++;
      const expected = hashes.length / shardCount;
      const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      const freedom = shardCount - 1;
      expect(chiSquare, `${shardCount} shards`).toBeLessThan(freedom + 6 * Math.sqrt(2 * freedom));
    }
  });
});
