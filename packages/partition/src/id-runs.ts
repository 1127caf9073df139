// Id runs: many append ids of one entity in few values, for entities that get many of them between two checkpoints.
//
// A put for each id costs the shard's thread more than all else that a checkpoint does, and once an entity has many ids,
// each lands on a page of its own. So a checkpoint that brings many ids of an entity writes them as a run: sorted by a hash,
// cut into parts by its leading bits, so that looking for an id reads one part of each run.
//
// R1. A run is written, and those that were merged into it are removed, in one transaction, together with the entity's
//     directory of runs: an id that was there is there at every moment (P4).
// R2. Runs are merged with others of their size only, so an id is rewritten as often as the number of ids doubles, and an
//     entity has few runs: at most `runsMax`, of at most `runIdsMax` ids. What comes on top of that is stored one by one, and
//     so is what comes in larger numbers at once.
// R3. An id stands in one place. What the filter knows already is looked for before it is written: a checkpoint that failed or
//     was cut off is done again.
// Not owned: which ids are written, and when (append-id-writer.ts), and how they are erased (forgetting.ts).
import { invariant } from "@heddle/kernel/internal";
import { copyBytes, readText, readU16, readU32, writeText, writeU16, writeU32 } from "@heddle/protocol/internal";
import type { ValueWriter } from "./value-writer.ts";
import { MalformedValue, type VarintReader, varintBytesMax } from "./varint.ts";

/** Fewer ids than these are cheaper to put one by one: nothing has to be read for that. */
export const packedIdsMin = 8;
/** Ids of a run: what one turn of the shard's thread rewrites at most, in one to two milliseconds. */
export const runIdsMax = 4_096;
/** Runs of an entity: a look-up that the filter lets through, one in a hundred, reads so many values at most. */
export const runsMax = 24;
/** Ids in a part, in the mean at most; with ids of the usual length it stays below half of one of LMDB's pages. */
const partIdsMean = 32;

// Entries of a part: hash (4 bytes), position (8), length of the id (2), all little-endian; the id in UTF-8.
const positionAt = 4;
const lengthAt = 12;
const idAt = 14;
const highWord = 0x1_0000_0000;

export interface IdRun {
  /** Counts up for each entity. */
  readonly number: number;
  /** Leading bits of the hash by which it is cut into parts. */
  readonly bits: number;
  /** Ids in it, when it was written. */
  readonly count: number;
}

export interface PackedId {
  readonly id: string;
  readonly position: number;
}

/** An entity's runs, oldest first. */
export function writeDirectory(values: ValueWriter, key: Uint8Array, runs: readonly IdRun[]): Uint8Array {
  values.begin(3 * varintBytesMax * runs.length);
  for (const { number, bits, count } of runs) values.unsigned(number).unsigned(bits).unsigned(count);
  return values.seal(key);
}

export function readDirectory(value: VarintReader): IdRun[] {
  const runs: IdRun[] = [];
  while (!value.atEnd) {
    const run = { number: value.unsigned(), bits: value.unsigned(), count: value.unsigned() };
    if (run.bits > 16) throw new MalformedValue("a run of too many parts");
    runs.push(run);
  }
  return runs;
}

/** The part of a run in which an id of this hash is, if the run has it. */
export function partOf(hash: number, bits: number): number {
  return bits === 0 ? 0 : hash >>> (32 - bits);
}

export function partsOf({ bits }: IdRun): number {
  return 2 ** bits;
}

/** Bits that cut so many ids into parts. */
export function bitsFor(count: number): number {
  return count <= partIdsMean ? 0 : Math.ceil(Math.log2(count / partIdsMean));
}

/** Which runs new ids are merged with: from the newest on, each that is no larger than what comes together (R2). */
export function runsToMerge(runs: readonly IdRun[], count: number): readonly IdRun[] {
  let total = count;
  let from = runs.length;
  while (from > 0 && runs[from - 1]!.count <= total && total + runs[from - 1]!.count <= runIdsMax) {
    from--;
    total += runs[from]!.count;
  }
  return runs.slice(from);
}

/** A buffer for entries, used again and again. */
export class IdEntries {
  bytes = new Uint8Array(4_096);
  length = 0;

  get filled(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  add(hash: number, id: string, position: number): void {
    this.#makeRoom(idAt + 3 * id.length);
    const start = this.length;
    const length = writeText(this.bytes, start + idAt, id);
    if (length > 0xffff) invariant(false, "partition/id-bytes", { length });
    writeU32(this.bytes, start, hash);
    writeU32(this.bytes, start + positionAt, position >>> 0);
    writeU32(this.bytes, start + positionAt + 4, Math.floor(position / highWord));
    writeU16(this.bytes, start + lengthAt, length);
    this.length = start + idAt + length;
  }

  copy(from: Uint8Array, start: number, end: number): void {
    this.#makeRoom(end - start);
    this.length = copyBytes(from, start, end, this.bytes, this.length);
  }

  /** Whether an entry of the same id stands from an offset on, where all have the hash of that entry. */
  holdsFrom(offset: number, entries: Uint8Array, start: number, end: number): boolean {
    for (let at = offset; at < this.length; at = entryEnd(this.bytes, at, this.length)) {
      if (sameId(this.bytes, at, entryEnd(this.bytes, at, this.length), entries, start, end)) return true;
    }
    return false;
  }

  #makeRoom(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.bytes.length));
    larger.set(this.filled);
    this.bytes = larger;
  }
}

/** Ids in the order of their hashes, entry by entry: new ones, or those of a stored run, part after part. */
export class IdStream {
  hash = 0;
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  readonly #parts: Iterator<Uint8Array>;

  constructor(parts: Iterator<Uint8Array>) {
    this.#parts = parts;
  }

  /** Goes to the first entry, or the next one; false at the end. Errors: {@link MalformedValue}. */
  advance(): boolean {
    while (this.end >= this.bytes.length) {
      const { value, done } = this.#parts.next();
      if (done === true) return false;
      this.bytes = value;
      this.end = 0;
    }
    this.start = this.end;
    this.end = entryEnd(this.bytes, this.start, this.bytes.length);
    this.hash = readU32(this.bytes, this.start);
    return true;
  }
}

/**
 * Merges streams into the parts of one run, and hands out each part that has entries; its bytes are lent until the next.
 * Returns how many ids the run has: what several streams have is there once.
 */
export function mergeIds(
  streams: readonly IdStream[],
  bits: number,
  scratch: IdEntries,
  take: (part: number, entries: Uint8Array) => void,
): number {
  const open = streams.filter((stream) => stream.advance());
  scratch.clear();
  let count = 0;
  let part = 0;
  let lastHash = -1;
  let lastFrom = 0;
  while (open.length > 0) {
    const least = leastOf(open);
    const stream = open[least]!;
    const { hash } = stream;
    const next = partOf(hash, bits);
    if (next !== part) {
      if (scratch.length > 0) take(part, scratch.filled);
      scratch.clear();
      part = next;
    }
    if (hash !== lastHash) lastFrom = scratch.length;
    if (hash !== lastHash || !scratch.holdsFrom(lastFrom, stream.bytes, stream.start, stream.end)) {
      scratch.copy(stream.bytes, stream.start, stream.end);
      count++;
    }
    lastHash = hash;
    if (!stream.advance()) open.splice(least, 1);
  }
  if (scratch.length > 0) take(part, scratch.filled);
  return count;
}

function leastOf(streams: readonly IdStream[]): number {
  let least = 0;
  for (let i = 1; i < streams.length; i++) if (streams[i]!.hash < streams[least]!.hash) least = i;
  return least;
}

/** Position of an id in a part; undefined when it is not there. Errors: {@link MalformedValue}. */
export function findInPart(entries: Uint8Array, hash: number, id: string): number | undefined {
  for (let at = 0; at < entries.length; ) {
    const end = entryEnd(entries, at, entries.length);
    if (readU32(entries, at) === hash && idOf(entries, at, end) === id) return positionOf(entries, at);
    at = end;
  }
  return undefined;
}

/** Every id of a part. Errors: {@link MalformedValue}. */
export function idsOfPart(entries: Uint8Array): PackedId[] {
  const ids: PackedId[] = [];
  for (let at = 0; at < entries.length; ) {
    const end = entryEnd(entries, at, entries.length);
    ids.push({ id: idOf(entries, at, end), position: positionOf(entries, at) });
    at = end;
  }
  return ids;
}

/** A part without some of its ids. */
export function partWithout(entries: Uint8Array, isLeftOut: (stored: PackedId) => boolean): Uint8Array {
  const kept = new IdEntries();
  for (let at = 0; at < entries.length; ) {
    const end = entryEnd(entries, at, entries.length);
    if (!isLeftOut({ id: idOf(entries, at, end), position: positionOf(entries, at) })) kept.copy(entries, at, end);
    at = end;
  }
  return kept.filled;
}

function entryEnd(entries: Uint8Array, start: number, length: number): number {
  if (start + idAt > length) throw new MalformedValue("an id is cut off");
  const end = start + idAt + readU16(entries, start + lengthAt);
  if (end > length) throw new MalformedValue("an id is cut off");
  return end;
}

function idOf(entries: Uint8Array, start: number, end: number): string {
  return readText(entries, start + idAt, end);
}

function positionOf(entries: Uint8Array, start: number): number {
  return readU32(entries, start + positionAt) + readU32(entries, start + positionAt + 4) * highWord;
}

function sameId(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false;
  for (let i = idAt; i < aEnd - aStart; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}
