// EraseJournal: what a batch of an erasure is about to change in place, as it will stand afterwards (P5, P6).
//
//   journal   header (32 bytes), then for each segment a heading (16 bytes) and its patches, in the order of positions
//   header    8 magic | u16 version | u16 shard | u32 length of the whole journal | u32 segments | 8 zeros |
//             u32 CRC of everything else
//   heading   u48 base | u16 zero | u32 salt | u32 patches
//   patch     u48 position | u16 zero | u32 bytes that are written | u32 zeros that follow them | the bytes
//
// It never holds a byte of a payload: what goes is told by its length alone. Patches do not overlap, and setting them
// twice is the same as once.
import { readU16, readU32, readU48, writeU16, writeU32, writeU48 } from "@heddle/protocol/internal";
import { crc32 } from "./checksum.ts";
import type { Disk } from "./disk.ts";

/** The journal's name in the log's folder. */
export const journalName = "erasing";

export const journalHeaderBytes = 32;
const journalVersion = 1;
const journalMagic = "HEDDLERS";
const crcOffset = 28;
const headingBytes = 16;
const patchHeadBytes = 16;

/** Bytes to set at a position of the log: `bytes[from, to)`, then zeros. */
export interface Patch {
  readonly position: number;
  readonly from: number;
  readonly to: number;
  readonly zeros: number;
}

export interface JournalSegment {
  readonly base: number;
  readonly salt: number;
  /** Where the heading stands in the journal. */
  readonly at: number;
  /** In the order of positions. */
  readonly patches: readonly Patch[];
}

export interface EraseJournal {
  readonly shard: number;
  readonly bytes: Uint8Array;
  readonly segments: readonly JournalSegment[];
}

/** Fills one journal after the other, in the same memory. */
export class JournalWriter {
  #bytes = new Uint8Array(1 << 16);
  #length = journalHeaderBytes;
  #segments = 0;
  #segmentAt = 0;

  /** Bytes so far, header included. */
  get length(): number {
    return this.#length;
  }

  get isEmpty(): boolean {
    return this.#length === journalHeaderBytes;
  }

  clear(): void {
    this.#length = journalHeaderBytes;
    this.#segments = 0;
  }

  /** Patches that are added from now on lie in this segment. */
  beginSegment(segment: { readonly base: number; readonly salt: number }): void {
    this.#makeRoom(headingBytes);
    this.#segmentAt = this.#length;
    writeU48(this.#bytes, this.#length, segment.base);
    writeU16(this.#bytes, this.#length + 6, 0);
    writeU32(this.#bytes, this.#length + 8, segment.salt);
    writeU32(this.#bytes, this.#length + 12, 0);
    this.#length += headingBytes;
    this.#segments++;
  }

  /** Adds `bytes[from, to)` and zeros behind them. Returns where the bytes stand, for {@link rewrite}. */
  add(position: number, bytes: Uint8Array, from: number, to: number, zeros: number): number {
    this.#makeRoom(patchHeadBytes + to - from);
    const at = this.#length;
    writeU48(this.#bytes, at, position);
    writeU16(this.#bytes, at + 6, 0);
    writeU32(this.#bytes, at + 8, to - from);
    writeU32(this.#bytes, at + 12, zeros);
    this.#bytes.set(bytes.subarray(from, to), at + patchHeadBytes);
    this.#length = at + patchHeadBytes + to - from;
    const countAt = this.#segmentAt + 12;
    writeU32(this.#bytes, countAt, readU32(this.#bytes, countAt) + 1);
    return at + patchHeadBytes;
  }

  /** Puts a number of four bytes where an earlier patch has its bytes. */
  rewrite(at: number, value: number): void {
    writeU32(this.#bytes, at, value);
  }

  /** The whole journal. Its bytes are only lent: until `clear` and the next patch. */
  seal(shard: number): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#length);
    bytes.fill(0, 0, journalHeaderBytes);
    for (let i = 0; i < journalMagic.length; i++) bytes[i] = journalMagic.charCodeAt(i);
    writeU16(bytes, 8, journalVersion);
    writeU16(bytes, 10, shard);
    writeU32(bytes, 12, this.#length);
    writeU32(bytes, 16, this.#segments);
    writeU32(bytes, crcOffset, checksumOf(bytes, this.#length));
    return bytes;
  }

  #makeRoom(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#length + more, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

function checksumOf(bytes: Uint8Array, length: number): number {
  return crc32(bytes, journalHeaderBytes, length, crc32(bytes, 0, crcOffset));
}

/**
 * What a file's bytes say: a whole journal; undefined for one that is empty or was not written whole; what is wrong with
 * one that is whole but cannot be used. Bytes behind the journal's own end do not count: an older, longer one left them.
 */
export function decodeJournal(bytes: Uint8Array): EraseJournal | string | undefined {
  if (bytes.length < journalHeaderBytes) return undefined;
  for (let i = 0; i < journalMagic.length; i++) if (bytes[i] !== journalMagic.charCodeAt(i)) return undefined;
  const length = readU32(bytes, 12);
  if (length < journalHeaderBytes || length > bytes.length) return undefined;
  if (readU32(bytes, crcOffset) !== checksumOf(bytes, length)) return undefined;
  const version = readU16(bytes, 8);
  if (version !== journalVersion) return `format version ${version}, this program knows ${journalVersion}`;
  const segments: JournalSegment[] = [];
  let at = journalHeaderBytes;
  for (let left = readU32(bytes, 16); left > 0; left--) {
    if (at + headingBytes > length) return "it ends inside a heading";
    const patches: Patch[] = [];
    segments.push({ base: readU48(bytes, at), salt: readU32(bytes, at + 8), at, patches });
    let patchesLeft = readU32(bytes, at + 12);
    for (at += headingBytes; patchesLeft > 0; patchesLeft--) {
      if (at + patchHeadBytes > length) return "it ends inside a patch";
      const from = at + patchHeadBytes;
      const to = from + readU32(bytes, at + 8);
      if (to > length) return "a patch reaches past its end";
      patches.push({ position: readU48(bytes, at), from, to, zeros: readU32(bytes, at + 12) });
      at = to;
    }
  }
  if (at !== length) return "it goes on behind its last patch";
  return { shard: readU16(bytes, 10), bytes: bytes.subarray(0, length), segments };
}

/** The bytes of a folder's journal file; undefined when there is none. Errors: whatever else the disk throws. */
export function readJournalFile(disk: Disk, file: string, bytesMax = Number.POSITIVE_INFINITY): Uint8Array | undefined {
  let opened: ReturnType<Disk["open"]>;
  try {
    opened = disk.open(file, "read");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const bytes = new Uint8Array(Math.min(bytesMax, opened.size()));
    return bytes.subarray(0, opened.read(bytes, 0));
  } finally {
    opened.close();
  }
}
