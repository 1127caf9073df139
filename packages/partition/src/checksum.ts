// Checksums over keys and values: LMDB keeps none, and a flipped bit in a snapshot would become a wrong balance without
// anybody noticing.
import { crc32 } from "@heddle/event-log/internal";

/** CRC-32 of `key` followed by `bytes[from, to)`. Unsigned. */
export function checksumOf(key: Uint8Array, bytes: Uint8Array, from: number, to: number): number {
  return crc32(bytes, from, to, crc32(key));
}
