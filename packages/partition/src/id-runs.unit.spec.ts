// Goal: ids that are packed into runs are found again, each at its position, however runs were merged (P4), and neither the
// number of runs nor how often an id is rewritten grows with the number of checkpoints (R2).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FreshIds } from "./fresh-ids.ts";
import {
  bitsFor,
  findInPart,
  IdEntries,
  type IdRun,
  IdStream,
  idsOfPart,
  mergeIds,
  partOf,
  partsOf,
  partWithout,
  readDirectory,
  runIdsMax,
  runsMax,
  runsToMerge,
  writeDirectory,
} from "./id-runs.ts";
import { openValue, ValueWriter } from "./value-writer.ts";
import { MalformedValue } from "./varint.ts";

interface Id {
  readonly hash: number;
  readonly id: string;
  readonly position: number;
}

/** Few hashes, so that different ids share one; a position that only depends on the id. */
const anId = fc
  .record({
    hash: fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff),
    id: fc.string({ unit: "grapheme" }),
  })
  .map(({ hash, id }): Id => ({ hash, id, position: 2 ** 40 + id.length }));

function streamOf(ids: readonly Id[]): IdStream {
  const fresh = new FreshIds();
  for (const { hash, id, position } of ids) {
    fresh.add("account/alice", id, { first: hash, second: 0, secret: hash }, position, true);
  }
  return fresh.stream(fresh.placesOf("account/alice", []), new IdEntries());
}

function merged(streams: readonly IdStream[], bits: number): { count: number; parts: Map<number, Uint8Array> } {
  const parts = new Map<number, Uint8Array>();
  const count = mergeIds(streams, bits, new IdEntries(), (part, entries) => {
    expect(parts.has(part)).toBe(false);
    parts.set(part, entries.slice());
  });
  return { count, parts };
}

function find({ parts }: ReturnType<typeof merged>, bits: number, hash: number, id: string): number | undefined {
  const entries = parts.get(partOf(hash, bits));
  return entries === undefined ? undefined : findInPart(entries, hash, id);
}

describe("id runs", () => {
  it("P4 every id of every run is in the merged one, once, in its part, and no other is", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(anId, { maxLength: 12 }), { maxLength: 5 }),
        fc.integer({ min: 0, max: 9 }),
        (runs, bits) => {
          const run = merged(runs.map(streamOf), bits);
          const wanted = new Map(runs.flat().map(({ hash, id, position }) => [`${hash} ${id}`, position]));
          const found = [...run.parts].flatMap(([, entries]) => idsOfPart(entries));
          expect(run.count).toBe(wanted.size);
          expect(found).toHaveLength(wanted.size);
          for (const { hash, id, position } of runs.flat()) expect(find(run, bits, hash, id)).toBe(position);
          for (const { hash, id } of runs.flat()) {
            if (!wanted.has(`${hash} ${id}!`)) expect(find(run, bits, hash, `${id}!`)).toBeUndefined();
          }
          // What was merged can be merged again, under other parts.
          const parts = [...run.parts].sort(([a], [b]) => a - b).map(([, entries]) => entries);
          const again = merged([new IdStream(parts.values()), ...runs.map(streamOf)], 3);
          expect(again.count).toBe(wanted.size);
          for (const { hash, id, position } of runs.flat()) expect(find(again, 3, hash, id)).toBe(position);
        },
      ),
    );
  });

  it("keep positions up to 2^53 - 1, and ids of any length and language", () => {
    for (const [id, position] of [
      ["", 0],
      ["é€🧵", 2 ** 32],
      ["x".repeat(60_000), Number.MAX_SAFE_INTEGER],
    ] as const) {
      const run = merged([streamOf([{ hash: 0xdead_beef, id, position }])], 4);
      expect(find(run, 4, 0xdead_beef, id)).toBe(position);
    }
  });

  it("P6 a part without some of its ids has all others", () => {
    const ids = Array.from({ length: 20 }, (_, i): Id => ({ hash: i, id: `id ${i}`, position: i }));
    const [part] = merged([streamOf(ids)], 0).parts.values();
    const rest = partWithout(part!, ({ position }) => position % 3 === 0);
    expect(idsOfPart(rest).map(({ position }) => position)).toEqual(ids.map((_, i) => i).filter((i) => i % 3 !== 0));
    expect(partWithout(part!, () => true)).toHaveLength(0);
  });

  it("R2 stay few, and rewrite an id as often as their number doubles, whatever checkpoints bring", () => {
    for (const brought of [8, 120, 1_000, 3_000, runIdsMax]) {
      let runs: readonly IdRun[] = [];
      let total = 0;
      let rewritten = 0;
      for (let n = 1; n <= 3_000 && runs.length < runsMax; n++) {
        const merging = runsToMerge(runs, brought);
        const count = merging.reduce((sum, run) => sum + run.count, brought);
        expect(count).toBeLessThanOrEqual(runIdsMax);
        runs = [...runs.slice(0, runs.length - merging.length), { number: n, bits: bitsFor(count), count }];
        total += brought;
        rewritten += count;
      }
      expect(rewritten / total).toBeLessThanOrEqual(Math.log2(runIdsMax / brought) + 1.5);
      // Small ones are one of each size at most; of large ones there are as many as it takes.
      expect(runs.filter(({ count }) => count <= runIdsMax / 2).length).toBeLessThanOrEqual(12);
    }
  });

  it("are cut into parts of a few dozen ids", () => {
    for (let count = 1; count <= runIdsMax; count += 7) {
      const run = { number: 1, bits: bitsFor(count), count };
      expect(count / partsOf(run)).toBeLessThanOrEqual(32);
      expect(partsOf(run) === 1 || count / partsOf(run) > 15).toBe(true);
      expect(partOf(0, run.bits)).toBe(0);
      expect(partOf(0xffff_ffff, run.bits)).toBe(partsOf(run) - 1);
    }
  });

  it("are listed as they were written", () => {
    const key = new Uint8Array([1]);
    const runs = [
      { number: 1, bits: 9, count: runIdsMax },
      { number: 70_000, bits: 0, count: 8 },
    ];
    expect(readDirectory(openValue(key, writeDirectory(new ValueWriter(), key, runs)))).toEqual(runs);
  });

  it("P5 whose bytes are cut off are damage, and not fewer ids", () => {
    const ids = Array.from({ length: 3 }, (_, i): Id => ({ hash: i, id: `id ${i}`, position: i }));
    const [part] = merged([streamOf(ids)], 0).parts.values();
    const whole = [0, 18, 36, 54];
    expect(part).toHaveLength(whole.at(-1)!);
    for (let length = 0; length < part!.length; length++) {
      const cut = part!.subarray(0, length);
      if (whole.includes(length)) continue;
      expect(() => idsOfPart(cut)).toThrow(MalformedValue);
      expect(() => findInPart(cut, 99, "none")).toThrow(MalformedValue);
      expect(() => merged([new IdStream([cut].values())], 0)).toThrow(MalformedValue);
    }
  });
});
