// Goal: values come back as they were written, and a change of any bit in value or key is noticed.
import { crc32 } from "node:zlib";
import { InvariantViolation } from "@heddle/kernel/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checksumOf } from "./checksum.ts";
import { openValue, ValueWriter } from "./value-writer.ts";
import {
  readErasure,
  readHead,
  readSession,
  readSnapshot,
  writeErasure,
  writeHead,
  writeNumber,
  writeSession,
  writeSnapshot,
} from "./values.ts";
import { MalformedValue } from "./varint.ts";

const key = new TextEncoder().encode("account/alice");
const whole = fc.maxSafeNat();

/** As long as a hash, or nothing; any byte is a character. */
const chain = fc.oneof(
  fc.constant(""),
  fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
);
const heads = fc
  .record({ seq: whole, position: whole, time: whole, chain, share: fc.double({ min: 0, max: 1, noNaN: true }) })
  .map(({ share, ...head }) => ({ ...head, baseSeq: Math.floor(head.seq * share) }));

describe("values: round trip", () => {
  it("of heads", () => {
    fc.assert(
      fc.property(heads, (head) => {
        expect(readHead(openValue(key, writeHead(new ValueWriter(), key, head)))).toEqual(head);
      }),
    );
  });

  it("of heads that hold an alarm, all extents, both or none", () => {
    const inlineExtents = Float64Array.of(1, 2, 88, 0xffff_ffff, 3, 1, 400, 7);
    const head = { seq: 3, position: 400, time: 1, chain: "c".repeat(32), baseSeq: 0 };
    for (const alarm of [undefined, 0, 2 ** 48 - 1]) {
      for (const extents of [undefined, inlineExtents]) {
        const written = { ...head, alarm, inlineExtents: extents };
        expect(readHead(openValue(key, writeHead(new ValueWriter(), key, written)))).toEqual(written);
      }
    }
  });

  it("of heads, whose chain takes a byte for each character, is refused with any other chain or base", () => {
    const head = { seq: 5, position: 1, time: 1, chain: "\xff".repeat(32), baseSeq: 5 };
    expect(writeHead(new ValueWriter(), key, head)).toHaveLength(5 + 32 + 4);
    for (const wrong of [{ chain: "x".repeat(31) }, { chain: "€".repeat(32) }, { baseSeq: 6 }]) {
      expect(() => writeHead(new ValueWriter(), key, { ...head, ...wrong })).toThrow(InvariantViolation);
    }
    const cut = (parts: number) =>
      new ValueWriter()
        .begin(20)
        .unsigned(1)
        .unsigned(1)
        .unsigned(1)
        .unsigned(0)
        .unsigned(parts)
        .latin1("abc")
        .seal(key);
    const none = new ValueWriter().begin(20).unsigned(1).unsigned(1).unsigned(1).unsigned(0).unsigned(4).seal(key);
    expect(() => readHead(openValue(key, none))).toThrow(MalformedValue);
    for (const parts of [0, 1, 2, 4, 8]) expect(() => readHead(openValue(key, cut(parts)))).toThrow(MalformedValue);
  });

  it("of erasures under way", () => {
    for (const stage of ["count", "log", "scrub"] as const) {
      expect(readErasure(openValue(key, writeErasure(new ValueWriter(), key, 2 ** 40, stage)))).toEqual({
        seq: 2 ** 40,
        stage,
      });
    }
    const unknown = new ValueWriter().begin(20).unsigned(1).unsigned(3).seal(key);
    expect(() => readErasure(openValue(key, unknown))).toThrow(MalformedValue);
  });

  it("of snapshots, whatever their state", () => {
    const snapshot = fc.record({
      aggregate: fc.constant("Account"),
      foldVersion: whole,
      seq: whole,
      state: fc.uint8Array({ size: "large" }),
    });
    fc.assert(
      fc.property(snapshot, (record) => {
        const read = readSnapshot("Account", openValue(key, writeSnapshot(new ValueWriter(), key, record)));
        expect({ ...read, state: [...read.state] }).toEqual({ ...record, state: [...record.state] });
      }),
    );
  });

  it("of sessions, whatever the order of their calls", () => {
    fc.assert(
      fc.property(whole, fc.array(fc.tuple(whole, whole)), (lastSeenMs, pairs) => {
        const calls = Float64Array.from(pairs.flat());
        const read = readSession(openValue(key, writeSession(new ValueWriter(), key, lastSeenMs, calls)));
        expect(read).toEqual({ lastSeenMs, calls });
      }),
    );
  });

  it("of many values from one writer, each unchanged by those after it", () => {
    const values = new ValueWriter();
    const written = Array.from({ length: 50_000 }, (_, i) => writeNumber(values, key, i));
    expect(written.every((value, i) => openValue(key, value).unsigned() === i)).toBe(true);
  });

  it("of a value larger than an arena", () => {
    const state = new Uint8Array(3_000_000).fill(7);
    const value = writeSnapshot(new ValueWriter(), key, { aggregate: "Account", foldVersion: 1, seq: 1, state });
    expect(readSnapshot("Account", openValue(key, value)).state.every((byte) => byte === 7)).toBe(true);
  });
});

describe("values: damage", () => {
  it("P5 a value with any one bit changed is refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(), fc.nat({ max: 7 }), (state, at, bit) => {
        const written = writeSnapshot(new ValueWriter(), key, { aggregate: "A", foldVersion: 3, seq: 9, state });
        const changed = written.slice();
        changed[at % changed.length]! ^= 1 << bit;
        expect(() => openValue(key, changed)).toThrow(MalformedValue);
      }),
    );
  });

  it("P5 a value that stands under another key is refused", () => {
    const written = writeNumber(new ValueWriter(), key, 7);
    expect(() => openValue(new TextEncoder().encode("account/alicf"), written)).toThrow(MalformedValue);
  });

  it("P5 bytes that were never a value are refused", () => {
    expect(() => openValue(key, new Uint8Array(0))).toThrow(MalformedValue);
    expect(() => openValue(key, new Uint8Array(3))).toThrow(MalformedValue);
    expect(() => openValue(key, new Uint8Array(40))).toThrow(MalformedValue);
  });

  it("the checksum is zlib's CRC-32 of key and value, on both of its roads", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), fc.uint8Array({ maxLength: 600 }), (some, more) => {
        expect(checksumOf(some, more, 0, more.length)).toBe(crc32(more, crc32(some)));
      }),
    );
  });
});
