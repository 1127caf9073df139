// Goal: the filter never says "never seen" of what it has seen (B1), keeps its rate of errors while it grows, and writes
// few pages (B2).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BloomFilter, filterPageBytes, pageBytesOf, restorePage } from "./bloom.ts";
import { hashAppendId, hashIdKey, type IdHash, newIdHash } from "./id-hash.ts";
import { VarintReader } from "./varint.ts";

const encoder = new TextEncoder();
const hashOf = (text: string): IdHash => hashIdKey(encoder.encode(text), newIdHash());
const seen = (i: number): IdHash => hashOf(`account/user-${i % 977}\0order-${i}`);
const unseen = (i: number): IdHash => hashOf(`account/user-${i % 977}\0other-${i}`);

function errorRate(filter: BloomFilter, questions: number): number {
  let wrong = 0;
  for (let i = 0; i < questions; i++) if (filter.mayContain(unseen(i))) wrong++;
  return wrong / questions;
}

function copyThroughPages(filter: BloomFilter): BloomFilter {
  const copy = new BloomFilter();
  for (const layer of filter.layers) {
    const restored = copy.addLayer(layer.count);
    for (const page of layer.dirty) {
      expect(restorePage(restored, page, new VarintReader(pageBytesOf(layer, page)))).toBe(true);
    }
  }
  return copy;
}

describe("Bloom filter", () => {
  it("P4 always reports what was added", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 })), (texts) => {
        const filter = new BloomFilter();
        const keys = texts.map((text) => hashIdKey(text, newIdHash()));
        for (const key of keys) filter.add(key);
        expect(keys.every((key) => filter.mayContain(key))).toBe(true);
      }),
    );
  });

  it("P4 reports all of half a million keys over several layers, and is wrong for about one other key in a hundred", () => {
    const filter = new BloomFilter();
    const count = 500_000;
    for (let i = 0; i < count; i++) filter.add(seen(i));
    expect(filter.layers.length).toBeGreaterThan(3);
    let missing = 0;
    for (let i = 0; i < count; i++) if (!filter.mayContain(seen(i))) missing++;
    expect(missing).toBe(0);
    expect(errorRate(filter, 200_000)).toBeLessThan(0.012);
    // A key that is taken for known is not added again: a few in a hundred less than there were.
    expect(filter.count).toBeGreaterThan(0.985 * count);
  });

  it("keeps a full first layer within its share of the errors", () => {
    const filter = new BloomFilter();
    for (let i = 0; filter.layers.length < 2; i++) filter.add(seen(i));
    const rate = errorRate(filter, 500_000);
    expect(rate).toBeGreaterThan(0.002);
    expect(rate).toBeLessThan(0.006);
  });

  it("answers an empty question with nothing allocated: a partition without ids has no layer", () => {
    const filter = new BloomFilter();
    expect(filter.mayContain(seen(1))).toBe(false);
    expect(filter.layers).toEqual([]);
  });

  it("is the same after its changed pages were written and read", () => {
    const filter = new BloomFilter();
    for (let i = 0; i < 150_000; i++) filter.add(seen(i));
    const copy = copyThroughPages(filter);
    expect(copy.count).toBe(filter.count);
    for (const [i, layer] of filter.layers.entries()) {
      expect(Buffer.compare(copy.layers[i]!.bytes, layer.bytes), `layer ${i}`).toBe(0);
    }
  });

  it("B2 has all bits of a key in one block of 64 bytes", () => {
    for (let i = 0; i < 1_000; i++) {
      const filter = new BloomFilter();
      filter.add(seen(i));
      const [layer] = filter.layers;
      const blocks = [...layer!.bytes.entries()].filter(([, bits]) => bits !== 0).map(([at]) => at >> 6);
      expect(new Set(blocks).size).toBe(1);
      expect([...layer!.dirty]).toEqual([Math.floor((blocks[0]! * 64) / filterPageBytes)]);
    }
  });

  it("changes one page for one key, and none for a key that it knows", () => {
    const filter = new BloomFilter();
    filter.add(seen(1));
    const layer = filter.layers[0]!;
    expect(layer.dirty.size).toBe(1);
    layer.dirty.clear();
    filter.add(seen(1));
    expect(layer.dirty.size).toBe(0);
    expect(filter.count).toBe(1);
  });

  it("does not take a stored page that has no place in it", () => {
    const layer = new BloomFilter().addLayer();
    const page = new Uint8Array(filterPageBytes);
    expect(restorePage(layer, 15, new VarintReader(page))).toBe(true);
    expect(restorePage(layer, 16, new VarintReader(page))).toBe(false);
    expect(restorePage(layer, 0, new VarintReader(page.subarray(1)))).toBe(false);
  });

  it("P5 hashes as it did: the values are part of the format", () => {
    const hashesOf = ({ first, second }: IdHash) => [first >>> 0, second >>> 0];
    expect(hashesOf(hashOf(""))).toEqual([2_872_998_923, 2_628_190_328]);
    expect(hashesOf(hashOf("account/alice\0order-1"))).toEqual([3_235_724_172, 97_114_755]);
    expect(hashesOf(hashAppendId("account/alice", "order-1", newIdHash()))).toEqual([3_235_724_172, 97_114_755]);
  });

  it("hashes an id as its key, whatever it is written in", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: "grapheme" }), fc.string({ unit: "grapheme" }), (name, id) => {
        const entity = `account/${name.replaceAll("\0", "")}`;
        expect(hashAppendId(entity, id, newIdHash())).toEqual(hashOf(`${entity}\0${id}`));
      }),
    );
  });
});
