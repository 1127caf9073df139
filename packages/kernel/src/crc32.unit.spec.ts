// Goal: the checksum is zlib's, in one piece or continued.
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { expect, it } from "vitest";
import { crc32 } from "./crc32.ts";

it("CRC-32 of the usual test text is the usual value", () => {
  expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  expect(crc32(new Uint8Array())).toBe(0);
});

it("CRC-32 is that of zlib, for any part of any bytes, continued from anywhere", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.nat(500), fc.nat(500), (bytes, a, b) => {
      const [from, to] = [Math.min(a, b, bytes.length), Math.min(Math.max(a, b), bytes.length)];
      expect(crc32(bytes, from, to)).toBe(zlibCrc32(bytes.subarray(from, to)));
      expect(crc32(bytes, from, bytes.length, crc32(bytes, 0, from))).toBe(zlibCrc32(bytes));
    }),
  );
});
