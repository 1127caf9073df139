// Goal: numbers and texts are written and read alike, in every width.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
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

describe("texts", () => {
  const text = fc
    .string({ unit: fc.constantFrom("a", "/", "é", "語", "🦄", "\u0000", "\ufeff"), maxLength: 200 })
    .filter((value) => value.isWellFormed());

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

  it("P7 are refused when they are not UTF-8", () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
      expect(() => readText(Uint8Array.from(bytes), 0, bytes.length)).toThrowError(TypeError);
      expect(() => new TextCache().read(Uint8Array.from(bytes), 0, bytes.length)).toThrowError(TypeError);
    }
  });
});
