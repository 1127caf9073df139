// Goal: numbers and texts are written and read alike, in every width.
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import {
  copyBytes,
  readText,
  readU16,
  readU32,
  readU48,
  TextCache,
  u48Max,
  writeText,
  writeU16,
  writeU32,
  writeU48,
} from "./bytes.ts";

describe("numbers", () => {
  it("are little-endian", () => {
    const bytes = new Uint8Array(12);
    writeU16(bytes, 0, 0x0102);
    writeU32(bytes, 2, 0x03040506);
    writeU48(bytes, 6, 0x0708090a0b0c);
    expect([...bytes]).toEqual([0x02, 0x01, 0x06, 0x05, 0x04, 0x03, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x07]);
  });

  it("come back whole up to the largest of their width", () => {
    const bytes = new Uint8Array(6);
    const widths = [
      { write: writeU16, read: readU16, max: 0xffff },
      { write: writeU32, read: readU32, max: 0xffffffff },
      { write: writeU48, read: readU48, max: u48Max },
    ];
    for (const { write, read, max } of widths) {
      fc.assert(
        fc.property(
          fc.oneof(
            fc.maxSafeNat().map((n) => n % (max + 1)),
            fc.constantFrom(0, max),
          ),
          (value) => {
            write(bytes, 0, value);
            expect(read(bytes, 0)).toBe(value);
          },
        ),
      );
    }
  });
});

describe("copies", () => {
  it("take a range to its place, and touch nothing beside it, whatever their length", () => {
    const source = Uint8Array.from({ length: 300 }, (_, i) => (i % 255) + 1);
    for (let length = 0; length <= 200; length++) {
      const bytes = new Uint8Array(250);
      expect(copyBytes(source, 7, 7 + length, bytes, 11)).toBe(11 + length);
      expect(bytes).toEqual(
        Uint8Array.from([...new Uint8Array(11), ...source.slice(7, 7 + length), ...new Uint8Array(239 - length)]),
      );
    }
  });
});

describe("texts", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary-ascii", maxLength: 200 }),
    fc
      .string({ unit: fc.constantFrom("a", "/", "é", "語", "🦄", "\u0000", "\ufeff"), maxLength: 200 })
      .filter((value) => value.isWellFormed()),
  );

  it("come back, and through a cache too, however small it is", () => {
    const cache = new TextCache(4);
    fc.assert(
      fc.property(text, (value) => {
        const bytes = new Uint8Array(3 + 3 * value.length);
        const to = 3 + writeText(bytes, 3, value);
        expect(readText(bytes, 3, to)).toBe(value);
        expect(cache.read(bytes, 3, to)).toBe(value);
        expect(cache.read(bytes, 3, to)).toBe(value);
      }),
    );
  });

  it("are taken from a cache, or for what stood there before, only if every character is the same", () => {
    const cache = new TextCache(1);
    const known = "account/alice";
    for (let at = 0; at < known.length; at++) {
      const other = `${known.slice(0, at)}#${known.slice(at + 1)}`;
      const bytes = new TextEncoder().encode(other);
      cache.read(new TextEncoder().encode(known), 0, known.length);
      expect(cache.read(bytes, 0, bytes.length, known)).toBe(other);
      cache.read(new TextEncoder().encode(known), 0, known.length);
      expect(cache.read(bytes, 0, bytes.length)).toBe(other);
    }
  });

  it("and copies are the same where there is no Buffer, as in a browser", async () => {
    vi.stubGlobal("Buffer", undefined);
    vi.resetModules();
    try {
      const inBrowser = await import("./bytes.ts");
      fc.assert(
        fc.property(text, (value) => {
          const written = new Uint8Array(3 * value.length);
          const length = inBrowser.writeText(written, 0, value);
          const byNode = new Uint8Array(3 * value.length);
          expect(writeText(byNode, 0, value)).toBe(length);
          expect(written).toEqual(byNode);
          expect(inBrowser.readText(written, 0, length)).toBe(value);
          expect(new inBrowser.TextCache(4).read(written, 0, length)).toBe(value);
          const copied = new Uint8Array(3 * value.length);
          expect(inBrowser.copyBytes(written, 0, length, copied, 0)).toBe(length);
          expect(copied).toEqual(written);
        }),
      );
    } finally {
      vi.unstubAllGlobals();
      vi.resetModules();
    }
  });

  it("P7 are refused when they are not UTF-8", () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
      expect(() => readText(Uint8Array.from(bytes), 0, bytes.length)).toThrowError(TypeError);
      expect(() => new TextCache().read(Uint8Array.from(bytes), 0, bytes.length)).toThrowError(TypeError);
    }
  });
});
