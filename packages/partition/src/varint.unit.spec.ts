// Goal: every number that Heddle uses survives the codec, and no bytes at all make the reader do anything but refuse.
import { InvariantViolation } from "@heddle/kernel/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MalformedValue, VarintReader, varintBytesMax, writeSignedVarint, writeVarint } from "./varint.ts";

const max = Number.MAX_SAFE_INTEGER;
// Uniform numbers are nearly all long: powers of two and their neighbours reach every length.
const nearPowers = fc
  .tuple(fc.integer({ min: 0, max: 53 }), fc.integer({ min: -2, max: 2 }))
  .map(([power, near]) => Math.min(max, Math.max(0, 2 ** power + near)));
const whole = fc.oneof(nearPowers, fc.maxSafeNat());
const signed = fc.oneof(
  nearPowers,
  nearPowers.map((n) => 0 - n),
  fc.maxSafeInteger(),
);

describe("varint: round trip", () => {
  it("gives back any row of whole numbers", () => {
    fc.assert(
      fc.property(fc.array(whole), (numbers) => {
        const bytes = new Uint8Array(numbers.length * varintBytesMax);
        const end = numbers.reduce((at, number) => writeVarint(bytes, at, number), 0);
        const reader = new VarintReader(bytes, 0, end);
        expect(numbers.map(() => reader.unsigned())).toEqual(numbers);
        expect(reader.atEnd).toBe(true);
      }),
    );
  });

  it("gives back any row of signed numbers", () => {
    fc.assert(
      fc.property(fc.array(signed), (numbers) => {
        const bytes = new Uint8Array(numbers.length * varintBytesMax);
        const end = numbers.reduce((at, number) => writeSignedVarint(bytes, at, number), 0);
        const reader = new VarintReader(bytes, 0, end);
        expect(numbers.map(() => reader.signed())).toEqual(numbers);
        expect(reader.atEnd).toBe(true);
      }),
    );
  });

  it("takes the fewest bytes that hold the number", () => {
    for (const [number, length] of [
      [0, 1],
      [127, 1],
      [128, 2],
      [2 ** 28 - 1, 4],
      [2 ** 28, 5],
      [2 ** 31, 5],
      [2 ** 49 - 1, 7],
      [max, 8],
    ] as const) {
      expect(writeVarint(new Uint8Array(8), 0, number), String(number)).toBe(length);
    }
    expect(writeSignedVarint(new Uint8Array(8), 0, 63)).toBe(1);
    expect(writeSignedVarint(new Uint8Array(8), 0, -64)).toBe(2);
    expect(writeSignedVarint(new Uint8Array(8), 0, -max)).toBe(8);
  });
});

describe("varint: what is no number", () => {
  it("is never written", () => {
    for (const value of [-1, 0.5, max + 1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => writeVarint(new Uint8Array(16), 0, value), String(value)).toThrow(InvariantViolation);
    }
    for (const value of [0.5, max + 1, -max - 1, Number.NaN]) {
      expect(() => writeSignedVarint(new Uint8Array(16), 0, value), String(value)).toThrow(InvariantViolation);
    }
  });

  it("P5 is refused when bytes claim it: cut off, above 2^53, or without end", () => {
    expect(() => new VarintReader(Uint8Array.of(0x80)).unsigned()).toThrow(MalformedValue);
    expect(() => new VarintReader(new Uint8Array(0)).signed()).toThrow(MalformedValue);
    expect(() => new VarintReader(new Uint8Array(8).fill(0xff).with(7, 0x10)).unsigned()).toThrow(MalformedValue);
    expect(() => new VarintReader(new Uint8Array(20).fill(0xff)).unsigned()).toThrow(MalformedValue);
    expect(() => new VarintReader(new Uint8Array(20).fill(0xff)).signed()).toThrow(MalformedValue);
  });

  it("P5 gives a safe number or a refusal for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), fc.boolean(), (bytes, unsigned) => {
        const reader = new VarintReader(bytes);
        try {
          while (!reader.atEnd) {
            const number = unsigned ? reader.unsigned() : reader.signed();
            expect(Number.isSafeInteger(number)).toBe(true);
            if (unsigned) expect(number).toBeGreaterThanOrEqual(0);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedValue);
        }
      }),
    );
  });
});
