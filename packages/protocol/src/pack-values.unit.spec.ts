// Goal: what is packed by hand is, byte for byte, what the codec of values makes, and what is read by hand is what it reads.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  PackedReader,
  packBytes,
  packedBytesHeadBytesMax,
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packedTextBytesMax,
  packListHead,
  packNumber,
  packText,
} from "./pack-values.ts";
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

describe("packed texts and bytes", () => {
  it("texts are the bytes of the codec of values, whatever their characters take", () => {
    const unit = fc.constantFrom("a", "ü", "€", "😀");
    const lengths = [0, 8, 11, 16, 31, 32, 64, 86, 128, 255, 256, 1_000];
    const text = fc.oneof(
      fc.array(unit, { maxLength: 300 }).map((units) => units.join("")),
      fc.tuple(unit, fc.constantFrom(...lengths)).map(([one, length]) => one.repeat(length)),
    );
    fc.assert(
      fc.property(text, (value) => {
        const bytes = packed((room, at) => packText(room, at, value), packedTextBytesMax(value));
        expect(bytes).toEqual(Uint8Array.from(encodeValue(value)));
      }),
    );
  });

  it("texts of ASCII are read as the codec of values reads them; anything else, and what is cut short, fails", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary-ascii", maxLength: 40 }),
      fc.nat(300).map((length) => "x".repeat(length)),
    );
    const other = fc.oneof(fc.constantFrom("ü", "€uro", "😀"), number, fc.constant(null), fc.boolean());
    const reader = new PackedReader();
    fc.assert(
      fc.property(fc.oneof(text, other), fc.nat(), (value, cut) => {
        const bytes = encodeValue(value);
        reader.begin(bytes, 0, bytes.length);
        const found = reader.text();
        const isText = typeof value === "string" && value.length < 256 && !/[^\0-\x7f]/.test(value);
        expect([reader.end(), found]).toEqual([isText, isText ? value : ""]);
        reader.begin(bytes, 0, cut % bytes.length);
        reader.text();
        expect(reader.end()).toBe(false);
      }),
    );
  });

  it("nil is passed over where it stands, and nothing else is", () => {
    const reader = new PackedReader();
    reader.begin(Uint8Array.of(0xc0, 7), 0, 2);
    expect([reader.nil(), reader.nil(), reader.number(), reader.nil(), reader.end()]).toEqual([
      true,
      false,
      7,
      false,
      true,
    ]);
  });

  it("bytes are those of the codec of values at every length of their head", () => {
    for (const length of [0, 1, 255, 256, 65_535, 65_536]) {
      const value = new Uint8Array(length).fill(length);
      const bytes = packed((room, at) => packBytes(room, at, value), packedBytesHeadBytesMax + length);
      expect(Buffer.compare(bytes, Uint8Array.from(encodeValue(value)))).toBe(0);
    }
  });
});
