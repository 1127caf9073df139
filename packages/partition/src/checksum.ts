// CRC-32 (zlib's polynomial) over a key and its value.
//
// LMDB keeps no checksums, and a flipped bit in a snapshot would become a wrong balance without anybody noticing.
import { crc32 as nativeCrc32 } from "node:zlib";

/** From this length on, zlib wins over the loop: the call costs as much as 250 bytes of it. */
const nativeBytesMin = 256;

const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** Checksum of `key` followed by `bytes[from, to)`. Unsigned, 32 bits. */
export function checksumOf(key: Uint8Array, bytes: Uint8Array, from: number, to: number): number {
  const overKey = ~update(-1, key, 0, key.length) >>> 0;
  if (to - from >= nativeBytesMin) return nativeCrc32(bytes.subarray(from, to), overKey);
  return ~update(~overKey, bytes, from, to) >>> 0;
}

function update(seed: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = seed;
  for (let i = from; i < to; i++) crc = table[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return crc;
}
