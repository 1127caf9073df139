// Goal: what is packed by hand is, byte for byte, what the codec of values makes, and what is read by hand is what it reads.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  PackedReader,
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packListHead,
  packNumber,
} from "./pack-numbers.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";

const steps = [0x7f, 0xff, 0xffff, 0xffff_ffff, 2 ** 48, Number.MAX_SAFE_INTEGER - 1];
const edges = steps.flatMap((step) => [step - 1, step, step + 1]);
const number = fc.oneof(fc.constantFrom(0, ...edges), fc.maxSafeNat(), fc.nat());

/** `pack` at a place in the middle, as bytes of their own. */
function packed(pack: (bytes: Uint8Array, at: number) => number, bytesMax: number): Uint8Array {
  const room = new Uint8Array(2 + bytesMax);
  const end = pack(room, 2);
  expect(end - 2).toBeLessThanOrEqual(bytesMax);
  return room.slice(2, end);
}

describe("packed numbers", () => {
  it("are the bytes of the codec of values", () => {
    fc.assert(
      fc.property(number, (value) => {
        const bytes = packed((room, at) => packNumber(room, at, value), packedNumberBytesMax);
        expect(bytes).toEqual(Uint8Array.from(encodeValue(value)));
      }),
    );
  });

  it("have list heads as the codec of values", () => {
    for (const length of [0, 1, 15, 16, 255, 256, 10_000, 65_535]) {
      const bytes = packed((room, at) => packListHead(room, at, length), packedListHeadBytesMax);
      expect(bytes).toEqual(Uint8Array.from(encodeValue(new Array(length).fill(0))).slice(0, bytes.length));
    }
  });

  it("are read as the codec of values reads them, whatever wrote them; anything else fails", () => {
    const anything = fc.oneof(number, fc.integer(), fc.double(), fc.boolean(), fc.string(), fc.constant(null));
    fc.assert(
      fc.property(anything, (value) => {
        const bytes = encodeValue(value);
        const reader = new PackedReader();
        reader.begin(bytes, 0, bytes.length);
        const found = reader.number();
        if (reader.end()) expect(found).toBe(decodeValue(bytes));
        else expect(typeof value === "number" && value >= 0).toBe(false);
      }),
    );
  });

  it("cut short, fail at every length, and so does what is read behind them", () => {
    for (const value of [5, ...edges]) {
      const bytes = Uint8Array.from([...encodeValue(value), 7]);
      for (let length = 0; length < bytes.length - 1; length++) {
        const reader = new PackedReader();
        reader.begin(bytes, 0, length);
        reader.number();
        reader.number();
        expect(reader.end()).toBe(false);
      }
    }
  });
});
