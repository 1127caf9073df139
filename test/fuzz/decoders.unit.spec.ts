// Goal: bad bytes hurt no decoder (P7). The short run; a million inputs and more for each: decoders.fuzz.spec.ts.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkDecoder, damaged } from "./decoder-properties.ts";
import { decoders } from "./decoders.ts";

describe.for(decoders)("$name", (decoder) => {
  it("reads its samples", () => {
    for (const sample of decoder.samples) {
      expect(() => decoder.decode(sample, 0, sample.length)).not.toThrow();
      checkDecoder(decoder, sample);
    }
  });

  it("P7 gives a value or a typed error for a sample that is cut at any byte", () => {
    for (const sample of decoder.samples) {
      for (let length = 0; length <= sample.length; length++) checkDecoder(decoder, sample.subarray(0, length));
    }
  });

  it("P7 gives a value or a typed error for a sample with any one byte changed", () => {
    for (const sample of decoder.samples) {
      for (let at = 0; at < sample.length; at++) {
        for (const byte of [0x00, 0x01, 0x7f, 0x80, 0x91, 0xc1, 0xd4, 0xdd, 0xff]) {
          const bytes = sample.slice();
          bytes[at] = byte;
          checkDecoder(decoder, bytes);
        }
      }
    }
  });

  it("P7 gives a value or a typed error for any bytes, and looks at none beside them", () => {
    fc.assert(
      fc.property(damaged(decoder), (bytes) => checkDecoder(decoder, bytes)),
      { numRuns: 3_000 },
    );
  });

  it("P7 refuses containers nested 10,000 deep, or never looks at them", () => {
    for (const container of [0x91, 0x81, 0xdc]) {
      checkDecoder(decoder, new Uint8Array(10_000).fill(container));
      for (const sample of decoder.samples) {
        const bytes = new Uint8Array(sample.length + 10_000).fill(container);
        bytes.set(sample.subarray(0, sample.length - 1));
        checkDecoder(decoder, bytes);
      }
    }
  });
});
