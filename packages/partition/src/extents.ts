// Extents: where the entries of an entity lie in the log, kept in chunks, and how chunks are read.
//
// A checkpoint writes one chunk per entity (more, if it is long). After a checkpoint that did not end, the next one may
// cut the same entries into other chunks, so chunks can overlap, and a chunk may be left over that no longer begins
// where another ends. What both say is the same, because both describe the log:
//
// X1. An extent is one log entry; two chunks that hold the same sequence hold the same extent for it.
// X2. Extents of an entity have no gaps: from its first sequence to the head's, every sequence lies in some chunk. The
//     first sequence is that of the last tombstone, which is an entry of its own, or 1.
//
// Reading therefore goes by sequence and not by chunk: it asks for the chunk that holds the next sequence, whichever
// that is, and each extent comes out once and in order. What an erased life may have left below the first is not read.
import { invariant } from "@heddle/kernel/internal";
import type { EntityHead, Extent } from "./records.ts";
import type { ValueWriter } from "./value-writer.ts";
import { MalformedValue, type VarintReader, varintBytesMax } from "./varint.ts";

/** Extents in one chunk: at six to twelve bytes each a chunk stays within a few of LMDB's pages. */
export const chunkExtentsMax = 2_048;

/** Fields of an extent in an array of quads: first sequence, count, position, check. */
export const extentFields = 4;
const width = extentFields;

/** The sequences that an entity's extents reach over, first and last included; none when the last is below the first. */
export interface Span {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export interface Chunk {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Quads of first sequence, count, position, check, ascending. */
  readonly quads: Float64Array;
}

/** Where chunks of one entity come from. A call returns few chunks and keeps nothing open. */
export interface ChunkSource {
  /** Chunks that begin at or below a sequence, the highest first; fewer than asked for only at the end. */
  atOrBelow(seq: number, chunksMax: number): readonly Chunk[];
  /** Chunks that begin at or above a sequence, the lowest first; fewer than asked for only at the end. */
  atOrAbove(seq: number, chunksMax: number): readonly Chunk[];
}

/** The chunks do not hold what X1 and X2 say. */
export class ExtentsBroken extends Error {
  override readonly name = "ExtentsBroken";
  readonly seq: number;

  constructor(seq: number) {
    super(`no extent begins or ends where sequence ${seq} needs it`);
    this.seq = seq;
  }
}

/** Cuts quads into pieces of at most {@link chunkExtentsMax} extents, after checking that they have no gap (X2). */
export function cutIntoChunks(quads: Float64Array): Float64Array[] {
  checkGapless(quads);
  if (quads.length <= width * chunkExtentsMax) return quads.length === 0 ? [] : [quads];
  const chunks: Float64Array[] = [];
  for (let at = 0; at < quads.length; at += width * chunkExtentsMax) {
    chunks.push(quads.subarray(at, at + width * chunkExtentsMax));
  }
  return chunks;
}

/** The extents that a head is to hold are all that its entity has, and as many as stand in one place. */
export function checkInlineExtents(entity: string, head: EntityHead, quads: ArrayLike<number>): void {
  const isWhole = quads[0] === 1 && head.baseSeq === 0 && quads.length <= width * chunkExtentsMax;
  if (!isWhole) invariant(false, "partition/inline-extents-are-all", { entity });
  checkGapless(quads);
  checkExtentsReachHead(entity, head, quads);
}

export function checkExtentsReachHead(entity: string, { seq }: EntityHead, quads: ArrayLike<number>): void {
  if (quads.length === 0) return;
  const lastAt = quads.length - width;
  const lastSeq = quads[lastAt]! + quads[lastAt + 1]! - 1;
  if (lastSeq !== seq) invariant(false, "partition/extents-reach-head", { entity, lastSeq, head: seq });
}

function checkGapless(quads: ArrayLike<number>): void {
  if (quads.length % width !== 0) invariant(false, "partition/extent-quads", { length: quads.length });
  for (let i = width; i < quads.length; i += width) {
    const expected = quads[i - width]! + quads[i - width + 1]!;
    if (quads[i] !== expected) invariant(false, "partition/extents-gapless", { expected, found: quads[i]! });
  }
}

/** A chunk's value: for each extent its count, its position as the difference from the one before, four bytes of check. */
export function writeChunk(values: ValueWriter, key: Uint8Array, quads: Float64Array): Uint8Array {
  values.begin(quadsBytesMax(quads));
  writeQuads(values, quads);
  return values.seal(key);
}

/** Bytes that `writeQuads` may write. */
export function quadsBytesMax(quads: ArrayLike<number>): number {
  return (2 * varintBytesMax + 4) * (quads.length / width);
}

export function writeQuads(values: ValueWriter, quads: ArrayLike<number>): void {
  let position = 0;
  for (let i = 0; i < quads.length; i += width) {
    values
      .unsigned(quads[i + 1]!)
      .unsigned(quads[i + 2]! - position)
      .u32(quads[i + 3]!);
    position = quads[i + 2]!;
  }
}

export function readChunk(firstSeq: number, value: VarintReader): Chunk {
  return chunkOf(readQuads(firstSeq, value));
}

/** A chunk that stands nowhere but in memory. */
export function chunkOf(quads: Float64Array): Chunk {
  const last = quads.length - width;
  return { firstSeq: quads[0]!, lastSeq: quads[last]! + quads[last + 1]! - 1, quads };
}

/** Quads up to the value's end, at least one. Errors: {@link MalformedValue}. */
export function readQuads(firstSeq: number, value: VarintReader): Float64Array {
  const quads: number[] = [];
  let seq = firstSeq;
  let position = 0;
  while (!value.atEnd) {
    const count = value.unsigned();
    position += value.unsigned();
    if (count === 0 || !Number.isSafeInteger(seq + count) || !Number.isSafeInteger(position)) {
      throw new MalformedValue("an extent beyond all numbers");
    }
    quads.push(seq, count, position, value.u32());
    seq += count;
  }
  if (quads.length === 0) throw new MalformedValue("no extents where some must be");
  return Float64Array.from(quads);
}

/** The one chunk of an entity whose head holds its extents. */
export function sourceOf(chunk: Chunk): ChunkSource {
  return {
    atOrBelow: (seq) => (chunk.firstSeq <= seq ? [chunk] : []),
    atOrAbove: (seq) => (chunk.firstSeq >= seq ? [chunk] : []),
  };
}

/** Extents from the one that holds `fromSeq` (at least the first) up to the last. Errors: {@link ExtentsBroken}. */
export function* walkForward(
  source: ChunkSource,
  fromSeq: number,
  { firstSeq, lastSeq }: Span,
): Generator<Extent, void, undefined> {
  const ahead = new ChunksAhead(source);
  let next = Math.max(firstSeq, fromSeq);
  if (next > lastSeq) return;
  let chunk = chunkHolding(source, next);
  let at = indexHolding(chunk, next);
  if (chunk.quads[at]! < firstSeq) throw new ExtentsBroken(firstSeq);
  next = chunk.quads[at]!;
  for (;;) {
    for (; at < chunk.quads.length && next <= lastSeq; at += width) {
      const extent = extentAt(chunk, at);
      if (extent.firstSeq !== next) throw new ExtentsBroken(next);
      next += extent.count;
      yield extent;
    }
    if (next > lastSeq) return;
    chunk = ahead.holding(next);
    at = indexHolding(chunk, next);
  }
}

/** Extents from the one that holds `fromSeq` (at most the last) down to the first. Errors: {@link ExtentsBroken}. */
export function* walkBackward(
  source: ChunkSource,
  fromSeq: number,
  { firstSeq, lastSeq }: Span,
): Generator<Extent, void, undefined> {
  let next = Math.min(fromSeq, lastSeq);
  let started = false;
  let below = next;
  for (const size of pageSizes()) {
    if (next < firstSeq) return;
    const page = source.atOrBelow(below, size);
    for (const chunk of page) {
      // A chunk that ends below lies inside a longer one that began earlier and is still to come.
      if (chunk.lastSeq < next) continue;
      for (let at = indexHolding(chunk, next); at >= 0 && next >= firstSeq; at -= width) {
        const extent = extentAt(chunk, at);
        const follows = !started || extent.firstSeq + extent.count - 1 === next;
        if (!follows || extent.firstSeq < firstSeq) throw new ExtentsBroken(next);
        started = true;
        next = extent.firstSeq - 1;
        yield extent;
      }
      if (next < firstSeq) return;
    }
    if (page.length < size) throw new ExtentsBroken(next);
    below = page[page.length - 1]!.firstSeq - 1;
  }
}

// Reads chunks in ascending pages, and falls back to looking below when the next sequence lies in an earlier chunk.
class ChunksAhead {
  readonly #source: ChunkSource;
  readonly #sizes = pageSizes();
  #page: readonly Chunk[] = [];
  #at = 0;

  constructor(source: ChunkSource) {
    this.#source = source;
  }

  holding(seq: number): Chunk {
    if (this.#at >= this.#page.length) {
      this.#page = this.#source.atOrAbove(seq, this.#sizes.next().value);
      this.#at = 0;
    }
    while (this.#at < this.#page.length) {
      const chunk = this.#page[this.#at]!;
      if (chunk.firstSeq > seq) break;
      this.#at++;
      if (chunk.lastSeq >= seq) return chunk;
    }
    return chunkHolding(this.#source, seq);
  }
}

function chunkHolding(source: ChunkSource, seq: number): Chunk {
  let below = seq;
  for (const size of pageSizes()) {
    const page = source.atOrBelow(below, size);
    for (const chunk of page) if (chunk.lastSeq >= seq) return chunk;
    if (page.length < size) break;
    below = page[page.length - 1]!.firstSeq - 1;
  }
  throw new ExtentsBroken(seq);
}

// One chunk is nearly always enough at first; whoever reads on gets ever more at a time.
function* pageSizes(): Generator<number, never, undefined> {
  for (let size = 1; ; size = Math.min(4 * size, 64)) yield size;
}

/** The extents of a chunk from the one on that begins at a sequence; undefined when none begins there. */
export function quadsFrom(chunk: Chunk, seq: number): Float64Array | undefined {
  const at = indexHolding(chunk, seq);
  return chunk.quads[at] === seq ? chunk.quads.subarray(at) : undefined;
}

function indexHolding(chunk: Chunk, seq: number): number {
  let low = 0;
  let high = chunk.quads.length / width - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (chunk.quads[middle * width]! <= seq) low = middle;
    else high = middle - 1;
  }
  return low * width;
}

function extentAt(chunk: Chunk, at: number): Extent {
  const { quads } = chunk;
  return { firstSeq: quads[at]!, count: quads[at + 1]!, position: quads[at + 2]!, check: quads[at + 3]! };
}
