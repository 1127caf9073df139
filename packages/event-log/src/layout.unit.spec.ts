// The bytes of headers, record frames and checksums, each on its own. How they are put together stands in
// log-format.unit.spec.ts; what damage to them does, in recovery.unit.spec.ts.
import { crc32 as nativeCrc32 } from "node:zlib";
import { u48Max } from "@heddle/protocol/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import {
  baseOfName,
  decodeSegmentHeader,
  type EntryHeader,
  encodeSegmentHeader,
  entryChecksumHolds,
  entryHeaderBytes,
  newEntryView,
  readEntry,
  recordChecksumHolds,
  recordEntryCount,
  recordHeaderBytes,
  recordLengthAt,
  sealRecord,
  segmentHeaderBytes,
  segmentHeaderProblem,
  segmentName,
  writeEntryHeader,
} from "./layout.ts";

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u48 = fc.integer({ min: 0, max: u48Max });

const segmentHeaders = fc.record({ shard: u16, salt: u32, base: u48, createdMs: u48 });
const entryHeaders: fc.Arbitrary<EntryHeader> = fc.record({
  flags: fc.integer({ min: 0, max: 255 }),
  firstSeq: u48,
  time: u48,
  fingerprint: u32,
  session: u48,
  call: u48,
  eventCount: u32,
  payloadsOffset: u32,
});

describe("checksum", () => {
  it("is zlib's, for any range and any start, below and above the length where the native one takes over", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(100), fc.nat(100), u32, (bytes, skip, drop, seed) => {
        const from = Math.min(skip, bytes.length);
        const to = Math.max(from, bytes.length - drop);
        expect(crc32(bytes, from, to, seed)).toBe(nativeCrc32(bytes.subarray(from, to), seed));
      }),
    );
    for (const length of [0, 1, 255, 256, 257]) {
      const bytes = new Uint8Array(length).fill(0xa5);
      expect(crc32(bytes)).toBe(nativeCrc32(bytes));
    }
  });

  it("of the letters 123456789 is the published check value", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  });
});

describe("segment header", () => {
  it("comes back as it was written", () => {
    fc.assert(
      fc.property(segmentHeaders, (header) => {
        const bytes = encodeSegmentHeader(header);
        expect([bytes.length, segmentHeaderProblem(bytes)]).toEqual([segmentHeaderBytes, undefined]);
        expect(decodeSegmentHeader(bytes)).toEqual(header);
      }),
    );
  });

  it("is not whole when cut or when any bit is flipped", () => {
    const bytes = encodeSegmentHeader({ shard: 3, salt: 0xdeadbeef, base: 2 ** 40, createdMs: 1_700_000_000_000 });
    for (let length = 0; length < bytes.length; length++) {
      expect(segmentHeaderProblem(bytes.subarray(0, length))).toBeDefined();
    }
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(segmentHeaderProblem(bytes)).toBeDefined();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it("has a name that sorts by base, and only such names count", () => {
    const bases = [0, 64, 10 ** 9, 2 ** 40, u48Max];
    const names = bases.map(segmentName);
    expect(names.toSorted()).toEqual(names);
    expect(names.map(baseOfName)).toEqual(bases);
    for (const name of ["64.log", "0000000000000064.log.tmp", "x000000000000064.log", "0000000000000064", ""]) {
      expect(baseOfName(name)).toBeUndefined();
    }
  });
});

describe("record frame", () => {
  const facts = fc.record({ entries: u32, position: u48, salt: u32 });
  const frames = fc.uint8Array({ minLength: 0, maxLength: 400 }).map((body) => {
    const bytes = new Uint8Array((recordHeaderBytes + body.length + 7) & ~7);
    bytes.set(body, recordHeaderBytes);
    return bytes;
  });

  it("tells its length and entries, wherever it lies, and its checksum holds", () => {
    fc.assert(
      fc.property(frames, facts, fc.nat(20), (frame, { entries, position, salt }, at) => {
        sealRecord(frame, frame.length, { entries, position, salt });
        const bytes = new Uint8Array(at + frame.length);
        bytes.set(frame, at);
        expect(recordLengthAt(bytes, at, frame.length, position)).toBe(frame.length);
        expect(recordEntryCount(bytes, at)).toBe(entries);
        expect(recordChecksumHolds(bytes, at, frame.length, salt)).toBe(true);
      }),
    );
  });

  it("does not hold under another salt, at another position, or with any bit flipped", () => {
    const bytes = new Uint8Array(64).fill(7);
    const position = 2 ** 33 + 8;
    sealRecord(bytes, 64, { entries: 1, position, salt: 5 });
    const holds = (salt: number, where: number) =>
      recordLengthAt(bytes, 0, 64, where) === 64 && recordChecksumHolds(bytes, 0, 64, salt);
    expect(holds(5, position)).toBe(true);
    for (let bit = 0; bit < 32; bit++) expect(holds((5 ^ (1 << bit)) >>> 0, position)).toBe(false);
    expect(holds(5, position + 8)).toBe(false);
    for (let bit = 0; bit < 64 * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(holds(5, position)).toBe(false);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it("is no record when cut inside its header or when its length makes no sense", () => {
    const bytes = new Uint8Array(64);
    for (const length of [0, 16, 23, 25, 31]) {
      sealRecord(bytes, length, { entries: 1, position: 64, salt: 1 });
      expect(recordLengthAt(bytes, 0, 64, 64)).toBe(`a record claims ${length} bytes`);
    }
    expect(recordLengthAt(bytes, 0, 23, 64)).toBe("it ends inside a record's header");
  });
});

describe("entry", () => {
  it("comes back as it was written, wherever it lies", () => {
    fc.assert(
      fc.property(entryHeaders, fc.uint8Array({ maxLength: 400 }), fc.nat(20), u48, (header, body, at, position) => {
        const bytes = new Uint8Array(at + entryHeaderBytes + body.length + 5).fill(0xee);
        bytes.set(body, at + entryHeaderBytes);
        writeEntryHeader(bytes, at, entryHeaderBytes + body.length, header);
        const view = newEntryView();
        readEntry(bytes, at, position, view);
        const bodyFrom = at + entryHeaderBytes;
        expect(view).toEqual({ ...header, position, bytes, bodyFrom, bodyTo: bodyFrom + body.length });
        expect(entryChecksumHolds(view)).toBe(true);
      }),
    );
  });

  it("does not hold with any bit of header or body flipped", () => {
    fc.assert(
      fc.property(entryHeaders, fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.nat(), (header, body, any) => {
        const bytes = new Uint8Array(entryHeaderBytes + body.length + 300);
        bytes.set(body, entryHeaderBytes);
        const length = entryHeaderBytes + body.length;
        writeEntryHeader(bytes, 0, length, header);
        const bit = any % (length * 8);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        const view = newEntryView();
        readEntry(bytes, 0, 0, view);
        expect(entryChecksumHolds(view)).toBe(false);
      }),
    );
  });
});
