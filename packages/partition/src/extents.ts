// Extents: where the entries of an entity lie in the log, kept in chunks, and how chunks are read.
//
// A checkpoint writes one chunk per entity (more, if it is long). After a checkpoint that did not end, the next one may
// cut the same entries into other chunks, so chunks can overlap, and a chunk may be left over that no longer begins
// where another ends. What both say is the same, because both describe the log:
//
// X1. An extent is one log entry; two chunks that hold the same sequence hold the same extent for it.
// X2. Extents of an entity have no gaps: below the head's sequence, every sequence lies in some chunk.
//
// Reading therefore goes by sequence and not by chunk: it asks for the chunk that holds the next sequence, whichever
// that is, and each extent comes out once and in order.
import { invariant } from "@heddle/kernel/internal";
import type { Extent } from "./contract.ts";
import type { ValueWriter } from "./values.ts";
import { MalformedValue, type VarintReader, varintBytesMax } from "./varint.ts";

/** Extents in one chunk: at two to eight bytes each a chunk stays within a few of LMDB's pages. */
export const chunkExtentsMax = 2_048;

/** Fields of an extent in an array of triples: first sequence, count, position. */
const width = 3;

export interface Chunk {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Triples of first sequence, count, position, ascending. */
  readonly triples: Float64Array;
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

/** Cuts triples into pieces of at most {@link chunkExtentsMax} extents, after checking that they have no gap (X2). */
export function cutIntoChunks(triples: Float64Array): Float64Array[] {
  invariant(triples.length % width === 0, "partition/extent-triples", { length: triples.length });
  for (let i = width; i < triples.length; i += width) {
    const expected = triples[i - width]! + triples[i - width + 1]!;
    invariant(triples[i] === expected, "partition/extents-gapless", { expected, found: triples[i]! });
  }
  if (triples.length <= width * chunkExtentsMax) return triples.length === 0 ? [] : [triples];
  const chunks: Float64Array[] = [];
  for (let at = 0; at < triples.length; at += width * chunkExtentsMax) {
    chunks.push(triples.subarray(at, at + width * chunkExtentsMax));
  }
  return chunks;
}

/** A chunk's value: for each extent its count and its position, the latter as the difference from the one before. */
export function writeChunk(values: ValueWriter, key: Uint8Array, triples: Float64Array): Uint8Array {
  values.begin(2 * varintBytesMax * (triples.length / width));
  let position = 0;
  for (let i = 0; i < triples.length; i += width) {
    values.unsigned(triples[i + 1]!).unsigned(triples[i + 2]! - position);
    position = triples[i + 2]!;
  }
  return values.seal(key);
}

export function readChunk(firstSeq: number, value: VarintReader): Chunk {
  const triples: number[] = [];
  let seq = firstSeq;
  let position = 0;
  while (!value.atEnd) {
    const count = value.unsigned();
    position += value.unsigned();
    if (count === 0 || !Number.isSafeInteger(seq + count) || !Number.isSafeInteger(position)) {
      throw new MalformedValue("an extent beyond all numbers");
    }
    triples.push(seq, count, position);
    seq += count;
  }
  if (triples.length === 0) throw new MalformedValue("a chunk without extents");
  return { firstSeq, lastSeq: seq - 1, triples: Float64Array.from(triples) };
}

/** Extents from the one that holds `fromSeq` up to the one that ends at `lastSeq`. Errors: {@link ExtentsBroken}. */
export function* walkForward(
  source: ChunkSource,
  fromSeq: number,
  lastSeq: number,
): Generator<Extent, void, undefined> {
  const ahead = new ChunksAhead(source);
  let next = Math.max(1, fromSeq);
  if (next > lastSeq) return;
  let chunk = chunkHolding(source, next);
  let at = indexHolding(chunk, next);
  next = chunk.triples[at]!;
  for (;;) {
    for (; at < chunk.triples.length && next <= lastSeq; at += width) {
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

/** Extents from the one that holds `fromSeq` (at most `lastSeq`) down to the first. Errors: {@link ExtentsBroken}. */
export function* walkBackward(
  source: ChunkSource,
  fromSeq: number,
  lastSeq: number,
): Generator<Extent, void, undefined> {
  let next = Math.min(fromSeq, lastSeq);
  let started = false;
  let below = next;
  for (const size of pageSizes()) {
    if (next < 1) return;
    const page = source.atOrBelow(below, size);
    for (const chunk of page) {
      // A chunk that ends below lies inside a longer one that began earlier and is still to come.
      if (chunk.lastSeq < next) continue;
      for (let at = indexHolding(chunk, next); at >= 0; at -= width) {
        const extent = extentAt(chunk, at);
        if (started && extent.firstSeq + extent.count - 1 !== next) throw new ExtentsBroken(next);
        started = true;
        next = extent.firstSeq - 1;
        yield extent;
      }
      if (next < 1) return;
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

function indexHolding(chunk: Chunk, seq: number): number {
  let low = 0;
  let high = chunk.triples.length / width - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (chunk.triples[middle * width]! <= seq) low = middle;
    else high = middle - 1;
  }
  return low * width;
}

function extentAt(chunk: Chunk, at: number): Extent {
  return { firstSeq: chunk.triples[at]!, count: chunk.triples[at + 1]!, position: chunk.triples[at + 2]! };
}
