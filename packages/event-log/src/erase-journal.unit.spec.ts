// The journal of an erasure as bytes: what it says comes back, what was not written whole counts for nothing, and its
// patches do to memory what they do to a file. What a log does with it: erase-crash.unit.spec.ts.
import { writeU16, writeU32 } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import { decodeJournal, type EraseJournal, JournalWriter, journalHeaderBytes } from "./erase-journal.ts";
import { openPatched, setPatch, setPatchesInMemory } from "./patch-files.ts";
import type { Segment } from "./segments.ts";

const base = 2 ** 40;
const patchLists = fc
  .array(
    fc.record({
      gap: fc.nat(40),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 30 }),
      zeros: fc.oneof(fc.nat(60), fc.constant(70_000)),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((list) => {
    let position = base + 64;
    return list.map(({ gap, bytes, zeros }) => {
      const patch = { position: position + gap, bytes, zeros };
      position += gap + bytes.length + zeros;
      return patch;
    });
  });

function journalOf(patches: readonly { position: number; bytes: Uint8Array; zeros: number }[]): Uint8Array {
  const writer = new JournalWriter();
  writer.beginSegment({ base: 0, salt: 5 });
  writer.beginSegment({ base, salt: 0xdeadbeef });
  for (const { position, bytes, zeros } of patches) writer.add(position, bytes, 0, bytes.length, zeros);
  return writer.seal(3).slice();
}

function decoded(bytes: Uint8Array): EraseJournal {
  const journal = decodeJournal(bytes);
  if (typeof journal !== "object") throw new Error(`no journal: ${journal}`);
  return journal;
}

const example = () => journalOf([{ position: base + 70, bytes: Uint8Array.of(1, 2, 3), zeros: 9 }]);

describe("journal of an erasure", () => {
  it("comes back as it was written", () => {
    fc.assert(
      fc.property(patchLists, (patches) => {
        const { shard, bytes, segments } = decoded(journalOf(patches));
        expect(shard).toBe(3);
        expect(segments.map(({ base, salt }) => [base, salt])).toEqual([
          [0, 5],
          [base, 0xdeadbeef],
        ]);
        expect(segments[0]!.patches).toEqual([]);
        const back = segments[1]!.patches.map(({ position, from, to, zeros }) => ({
          position,
          bytes: bytes.slice(from, to),
          zeros,
        }));
        expect(back).toEqual(patches);
      }),
    );
  });

  it("that is empty, cut anywhere, or has any bit flipped counts as not there", () => {
    const bytes = example();
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeJournal(bytes.subarray(0, length))).toBeUndefined();
      const zeroed = bytes.slice();
      zeroed.fill(0, length);
      expect(decodeJournal(zeroed)).toBeUndefined();
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeJournal(flipped)).toBeUndefined();
    }
  });

  it("ends where it says: what an older one left behind it does not count", () => {
    expect(decoded(Uint8Array.of(...example(), ...example())).bytes.length).toBe(example().length);
  });

  it("that is whole but of another version, or makes no sense, is told, not passed over", () => {
    const seal = (bytes: Uint8Array) => {
      writeU32(bytes, 28, crc32(bytes, journalHeaderBytes, bytes.length, crc32(bytes, 0, 28)));
      return bytes;
    };
    const version = example();
    writeU16(version, 8, 2);
    expect(decodeJournal(seal(version))).toBe("format version 2, this program knows 1");
    const heading = journalHeaderBytes + 16;
    for (const [at, value, problem] of [
      [16, 3, "it ends inside a heading"],
      [16, 1, "it goes on behind its last patch"],
      [heading + 12, 2, "it ends inside a patch"],
      [heading + 16 + 8, 4, "a patch reaches past its end"],
    ] as const) {
      const bytes = example();
      writeU32(bytes, at, value);
      expect(decodeJournal(seal(bytes))).toBe(problem);
    }
  });

  it("is filled anew after it was cleared", () => {
    const writer = new JournalWriter();
    for (const byte of [1, 2]) {
      expect(writer.isEmpty).toBe(true);
      writer.beginSegment({ base: 64, salt: byte });
      const at = writer.add(128, Uint8Array.of(byte, byte, byte, byte), 0, 4, 0);
      writer.rewrite(at, 0x01010101 * (byte + 6));
      const { segments, bytes } = decoded(writer.seal(1));
      expect(segments.length).toBe(1);
      const [patch] = segments[0]!.patches;
      expect([...bytes.subarray(patch!.from, patch!.to)]).toEqual(new Array(4).fill(byte + 6));
      writer.clear();
    }
  });
});

describe("patches", () => {
  const size = 64 + 12 * (40 + 30 + 70_000);
  const segment: Segment = { shard: 3, base, salt: 0xdeadbeef, createdMs: 0, file: "/log/a", length: size };

  it("make of a file what they say and nothing else, and do the same to any window of it in memory", () => {
    fc.assert(
      fc.property(patchLists, fc.nat(), fc.nat(200_000), (patches, start, length) => {
        const disk = new SimulatedDisk();
        disk.makeFolder("/log");
        const before = new Uint8Array(size).fill(0xaa);
        disk.writeFile(segment.file, before);
        const expected = before.slice();
        for (const { position, bytes, zeros } of patches) {
          expected.set(bytes, position - base);
          expected.fill(0, position - base + bytes.length, position - base + bytes.length + zeros);
        }
        const journal = decoded(journalOf(patches));
        const [, file] = openPatched(disk, { ...journal }, () => segment);
        for (const patch of file!.patches) setPatch(journal, file!, patch);
        expect(Buffer.compare(disk.readFile(segment.file), expected)).toBe(0);
        const from = start % size;
        const window = before.slice(from, from + length);
        const wanted = expected.subarray(from, from + length);
        const touched = setPatchesInMemory(journal, file!.patches, window, base + from);
        expect(Buffer.compare(window, wanted)).toBe(0);
        if (!touched) expect(Buffer.compare(wanted, before.subarray(from, from + length))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
