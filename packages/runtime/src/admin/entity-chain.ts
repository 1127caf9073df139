// EntityChain: the hash chain over an entity's entries, computed anew from the bytes of the log.
//
//   chain(n) = SHA-256( chain(n-1), 32 bytes; zeros before the first || the entry from offset 8 of its header to its end )
//
// It starts anew, from zeros, at a tombstone: what stood before that is gone, and a chain over it would prove nothing.
// A chain is kept as 32 latin1 characters, which takes a third of a Buffer's memory.
import crypto from "node:crypto";
import { type EntryView, entryFlags, entryHeaderBytes } from "@heddle/event-log/internal";

/** Before the first entry of a chain. */
export const noChain = "";

const chainBytes = 32;
/** Checksum and length stand before what is chained. */
const chainedFrom = 8;

let scratch = Buffer.alloc(64 << 10);

/** The chain after an entry that follows `before`. */
export function chainAfter(before: string, { bytes, bodyFrom, bodyTo, flags }: EntryView): string {
  const from = bodyFrom - entryHeaderBytes + chainedFrom;
  const length = chainBytes + bodyTo - from;
  if (length > scratch.length) scratch = Buffer.alloc(2 * length);
  if (before === noChain || (flags & entryFlags.tombstone) !== 0) scratch.fill(0, 0, chainBytes);
  else scratch.write(before, 0, chainBytes, "latin1");
  scratch.set(bytes.subarray(from, bodyTo), chainBytes);
  return crypto.hash("sha256", scratch.subarray(0, length), "latin1");
}

/** What an extent keeps of a chain: its first four bytes, as a big-endian number. */
export function chainCheck(chain: string): number {
  return (
    ((chain.charCodeAt(0) << 24) | (chain.charCodeAt(1) << 16) | (chain.charCodeAt(2) << 8) | chain.charCodeAt(3)) >>> 0
  );
}

export function chainAsHex(chain: string): string {
  return Buffer.from(chain, "latin1").toString("hex");
}
