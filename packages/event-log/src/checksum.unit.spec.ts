// What becomes of a checksum when a part of the whole changes; the checksum itself is tested in layout.unit.spec.ts.
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32, crcAfterChange } from "./checksum.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });

describe("checksum after a change", () => {
  it("is that of the whole computed anew, for any part, any length behind it, and any start", () => {
    fc.assert(
      fc.property(
        fc.uint8Array(),
        fc.uint8Array({ maxLength: 50 }),
        fc.uint8Array(),
        u32,
        u32,
        (a, part, b, seed, s) => {
          const changed = part.map((byte, i) => byte ^ (i * 37 + 1));
          const before = zlibCrc32(Buffer.concat([a, part, b]), seed);
          const after = zlibCrc32(Buffer.concat([a, changed, b]), seed);
          const [from, to] = [crc32(part, 0, part.length, s), crc32(changed, 0, part.length, s)];
          expect(crcAfterChange(before, from, to, b.length)).toBe(after);
        },
      ),
    );
  });

  it("holds over megabytes behind the change", () => {
    for (const behind of [1, 255, 4096, 65_535, 4 << 20, (4 << 20) + 13]) {
      const bytes = new Uint8Array(8 + behind).fill(0x5a);
      const before = zlibCrc32(bytes);
      const from = crc32(bytes, 0, 8);
      bytes.fill(0, 0, 8);
      expect(crcAfterChange(before, from, crc32(bytes, 0, 8), behind)).toBe(zlibCrc32(bytes));
    }
  });

  it("P5: stays wrong when it was wrong before", () => {
    const bytes = new Uint8Array(1000).fill(3);
    const wrong = zlibCrc32(bytes) ^ 0x10;
    const from = crc32(bytes, 100, 200);
    bytes.fill(0, 100, 200);
    expect(crcAfterChange(wrong, from, crc32(bytes, 100, 200), 800)).toBe((zlibCrc32(bytes) ^ 0x10) >>> 0);
  });
});
