// ErasedEntry: what is left of an entry when its entity was erased (P6).
//
//   entry    same place, length, sequence, time, session and call; flag `erased`; fingerprint and payloads offset are 0
//   body     u16 length, entity | u8: 1 if a digest follows | [8 bytes: digest of the append id] | zeros to the end
//
// Aggregate, event types, metadata and payloads are gone, and the fingerprint too: it would tell a guessed payload from a
// wrong one. The digest stays, so that the append's id never takes effect again (P4).
import { createHash } from "node:crypto";
import { newAppendView, readAppendBody, readU16, TextCache, writeU32 } from "@heddle/protocol/internal";
import { crc32 } from "./checksum.ts";
import { type EntryView, entryFlags, entryHeaderBytes, entryLengthAt } from "./layout.ts";

export const appendIdDigestBytes = 8;

/** Entries that erasing leaves as they are. */
const keptFlags = entryFlags.erased | entryFlags.tombstone | entryFlags.journal;

const view = newAppendView();
const texts = new TextCache();

/** The first 8 bytes of SHA-256 of entity, a zero byte, and id. */
export function appendIdDigest(entity: string, id: string): Buffer {
  return createHash("sha256").update(`${entity}\0${id}`).digest().subarray(0, appendIdDigestBytes);
}

/**
 * Erases the entry at an offset, in memory, and renews its checksum; the record's is the caller's to renew. Says whether
 * anything changed: a tombstone, what a shard notes about transactions, and an entry that is erased already, stay as they are.
 */
export function eraseEntry(bytes: Uint8Array, at: number): boolean {
  const flags = bytes[at + 8]!;
  if ((flags & keptFlags) !== 0) return false;
  const from = at + entryHeaderBytes;
  const to = at + entryLengthAt(bytes, at);
  readAppendBody(bytes, from, to, texts, view);
  const digest = view.id === "" ? undefined : appendIdDigest(view.entity, view.id);
  let p = from + 2 + readU16(bytes, from);
  bytes.fill(0, p, to);
  if (digest !== undefined) {
    bytes[p++] = 1;
    bytes.set(digest, p);
  }
  bytes[at + 8] = flags | entryFlags.erased;
  writeU32(bytes, at + 22, 0);
  writeU32(bytes, at + 42, 0);
  writeU32(bytes, at, crc32(bytes, at + 4, to));
  return true;
}

/** Bytes of an erased entry that may be other than zero, from its start; all that follow are zero. */
export function keptBytesOfErased(bytes: Uint8Array, at: number): number {
  const marker = entryHeaderBytes + 2 + readU16(bytes, at + entryHeaderBytes);
  return marker + 1 + (bytes[at + marker] === 1 ? appendIdDigestBytes : 0);
}

/** The entity of any entry, erased or not: it stands at the start of the body. */
export function entityOfEntry(entry: EntryView): string {
  const length = readU16(entry.bytes, entry.bodyFrom);
  return Buffer.from(entry.bytes.buffer, entry.bytes.byteOffset + entry.bodyFrom + 2, length).toString("utf8");
}

/** The digest of the append id that an erased entry carried, if it carried one. */
export function idDigestOfErased(entry: EntryView): Uint8Array | undefined {
  const at = entry.bodyFrom + 2 + readU16(entry.bytes, entry.bodyFrom);
  return entry.bytes[at] === 1 ? entry.bytes.slice(at + 1, at + 1 + appendIdDigestBytes) : undefined;
}
