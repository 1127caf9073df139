// The bytes of the log. docs/explanation/log-format.md tells the same story at length. Numbers are little-endian.
//
//   segment   header (64 bytes), then records; named by its base position, 16 decimal digits, ".log"
//   record    one commit group: header (24 bytes), entries, zeros up to a multiple of 8
//   entry     one append: header (48 bytes), then the append body exactly as protocol lays it out
//
// A position is a byte's place in the shard's whole log: the segment's base plus the offset in its file.
// The CRC of a record starts from its segment's random salt, so neither a payload nor an old block of the disk can be
// taken for a record. An entry has a CRC of its own, header included, because one entry is read without its record.
import { readU16, readU32, readU48, writeU16, writeU32, writeU48 } from "@heddle/protocol/internal";
import { crc32 } from "./checksum.ts";

export const logVersion = 3;

const segmentMagic = "HEDDLLOG";
export const segmentHeaderBytes = 64;

export interface SegmentHeader {
  readonly shard: number;
  readonly base: number;
  readonly salt: number;
  readonly createdMs: number;
}

/** 8 magic | u16 version | u16 shard | u32 salt | u48 base | u48 created, ms | zeros | u32 CRC of bytes 0 to 59. */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(segmentHeaderBytes);
  for (let i = 0; i < segmentMagic.length; i++) bytes[i] = segmentMagic.charCodeAt(i);
  writeU16(bytes, 8, logVersion);
  writeU16(bytes, 10, header.shard);
  writeU32(bytes, 12, header.salt);
  writeU48(bytes, 16, header.base);
  writeU48(bytes, 22, header.createdMs);
  writeU32(bytes, 60, crc32(bytes, 0, 60));
  return bytes;
}

/** Whether all of a header was written, whatever its version; if not, what is wrong with it. */
export function segmentHeaderProblem(bytes: Uint8Array): string | undefined {
  if (bytes.length < segmentHeaderBytes) return `a header of ${bytes.length} bytes, wanted ${segmentHeaderBytes}`;
  for (let i = 0; i < segmentMagic.length; i++) {
    if (bytes[i] !== segmentMagic.charCodeAt(i)) return "it does not begin like a segment";
  }
  return readU32(bytes, 60) === crc32(bytes, 0, 60) ? undefined : "the header's checksum does not match";
}

/** What a whole header says, or that it is of another version. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | string {
  if (readU16(bytes, 8) !== logVersion) return `format version ${readU16(bytes, 8)}, this program knows ${logVersion}`;
  return {
    shard: readU16(bytes, 10),
    salt: readU32(bytes, 12),
    base: readU48(bytes, 16),
    createdMs: readU48(bytes, 22),
  };
}

export function segmentName(base: number): string {
  return `${String(base).padStart(16, "0")}.log`;
}

/** The base in a segment's name, or undefined for any other file. */
export function baseOfName(name: string): number | undefined {
  return /^\d{16}\.log$/.test(name) ? Number(name.slice(0, 16)) : undefined;
}

export const recordHeaderBytes = 24;
const recordMagic = 0x43455248; // "HREC"

/** u32 magic | u32 CRC of the rest | u32 length of the whole record | u32 entries | u48 position | u16 zero. */
export function sealRecord(
  bytes: Uint8Array,
  length: number,
  facts: { entries: number; position: number; salt: number },
): void {
  writeU32(bytes, 0, recordMagic);
  writeU32(bytes, 8, length);
  writeU32(bytes, 12, facts.entries);
  writeU48(bytes, 16, facts.position);
  writeU16(bytes, 22, 0);
  writeU32(bytes, 4, crc32(bytes, 8, length, facts.salt));
}

/** Length of the record at an offset if its header makes sense there, or what is wrong. The CRC is not looked at. */
export function recordLengthAt(bytes: Uint8Array, at: number, available: number, position: number): number | string {
  if (available < recordHeaderBytes) return "it ends inside a record's header";
  if (readU32(bytes, at) !== recordMagic) return "there is no record where one must begin";
  if (readU48(bytes, at + 16) !== position) return "a record claims another position";
  const length = readU32(bytes, at + 8);
  if (length < recordHeaderBytes || length % 8 !== 0) return `a record claims ${length} bytes`;
  return length;
}

export function recordChecksumHolds(bytes: Uint8Array, at: number, length: number, salt: number): boolean {
  return readU32(bytes, at + 4) === crc32(bytes, at + 8, at + length, salt);
}

export function recordEntryCount(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 12);
}

export const entryHeaderBytes = 48;

export const entryFlags = {
  /** Events that a command decided; the body then has the events, the fingerprint is the command's. */
  command: 1,
  /** The last event of an entity that was erased: everything before it is gone, or about to be. */
  tombstone: 2,
  /** The body was overwritten: see erased-entry.ts. */
  erased: 4,
  /**
   * The entity begins anew from its initial states; copies of the events that it goes back to follow. With `command` when it
   * was asked for here: one receipt then spans the marker and its copies. Without when it was imported.
   */
  restored: 8,
  /**
   * Of a transaction over several shards: these events will follow in the entity's history, if it is decided so. Session:
   * the coordinating shard + 1; call: the transaction's number there.
   */
  pending: 16,
  /** Events of a pending entry, now a part of the history. Session 0; call: the position of the pending entry. */
  applied: 32,
  /** What the shard notes about transactions; its body's entity is no entity. */
  journal: 64,
} as const;

/** Entries that belong to no entity's history: no sequence counts them, no reader of histories looks at them. */
export const besideFlags = entryFlags.pending | entryFlags.journal;

/** Entries after which all of an entity's states are initial. */
export const resetFlags = entryFlags.tombstone | entryFlags.restored;

/** What stands in front of an append body in the log. */
export interface EntryHeader {
  flags: number;
  /** Sequence of the entry's first event within its entity. */
  firstSeq: number;
  /** Milliseconds since 1970. */
  time: number;
  /** CRC-32 of the request as it came: tells whether a repeated id brings the same content. */
  fingerprint: number;
  /** The client session and call number that asked for it: with them recovery rebuilds the idempotency windows. */
  session: number;
  call: number;
  eventCount: number;
  /** Offset of the payloads from the body's start. */
  payloadsOffset: number;
}

/**
 * u32 CRC of the rest of the entry | u32 length of the whole entry | u8 flags | u8 zero | u48 first sequence |
 * u48 time | u32 fingerprint | u48 session | u48 call | u32 events | u32 offset of the payloads | u16 zero.
 */
export function writeEntryHeader(bytes: Uint8Array, at: number, length: number, header: EntryHeader): void {
  writeU32(bytes, at + 4, length);
  bytes[at + 8] = header.flags;
  bytes[at + 9] = 0;
  writeU48(bytes, at + 10, header.firstSeq);
  writeU48(bytes, at + 16, header.time);
  writeU32(bytes, at + 22, header.fingerprint);
  writeU48(bytes, at + 26, header.session);
  writeU48(bytes, at + 32, header.call);
  writeU32(bytes, at + 38, header.eventCount);
  writeU32(bytes, at + 42, header.payloadsOffset);
  writeU16(bytes, at + 46, 0);
  writeU32(bytes, at, crc32(bytes, at + 4, at + length));
}

/** An entry where it lies: the body is `bytes[bodyFrom, bodyTo)`. One object is reused for many entries. */
export interface EntryView extends EntryHeader {
  position: number;
  bytes: Uint8Array;
  bodyFrom: number;
  bodyTo: number;
}

export function newEntryView(): EntryView {
  return {
    flags: 0,
    firstSeq: 0,
    time: 0,
    fingerprint: 0,
    session: 0,
    call: 0,
    eventCount: 0,
    payloadsOffset: 0,
    position: 0,
    bytes: new Uint8Array(),
    bodyFrom: 0,
    bodyTo: 0,
  };
}

export function entryLengthAt(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at + 4);
}

export function readEntry(bytes: Uint8Array, at: number, position: number, into: EntryView): void {
  into.flags = bytes[at + 8]!;
  into.firstSeq = readU48(bytes, at + 10);
  into.time = readU48(bytes, at + 16);
  into.fingerprint = readU32(bytes, at + 22);
  into.session = readU48(bytes, at + 26);
  into.call = readU48(bytes, at + 32);
  into.eventCount = readU32(bytes, at + 38);
  into.payloadsOffset = readU32(bytes, at + 42);
  into.position = position;
  into.bytes = bytes;
  into.bodyFrom = at + entryHeaderBytes;
  into.bodyTo = at + entryLengthAt(bytes, at);
}

export function entryChecksumHolds(entry: EntryView): boolean {
  const at = entry.bodyFrom - entryHeaderBytes;
  return readU32(entry.bytes, at) === crc32(entry.bytes, at + 4, entry.bodyTo);
}
