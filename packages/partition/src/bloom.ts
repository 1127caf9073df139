// Bloom filter: says for most append ids, without a read from LMDB, that they were never seen.
//
// B1. An id that was added is always reported (no false "never seen"). The opposite error is allowed, in about one of
//     a hundred questions, and costs one read: the table of ids decides.
// B2. All bits of an id lie in one block of 64 bytes: a look is one miss of the processor's cache for each layer, not one for each
//     bit, and a checkpoint writes at most as many pages as it has new ids.
// Not promised: to forget. Ids are kept for good.
//
// It grows by layers, each twice the size of the one before and stricter, so that the errors of all layers together
// stay at the rate of one. Only the last layer takes new ids.
import type { IdHash } from "./id-hash.ts";
import type { VarintReader } from "./varint.ts";

const blockBytes = 64;
const blockBits = 8 * blockBytes;
const blocksOfPage = 63;
/** With its checksum a page fits into one page of LMDB (4,096 bytes less a header of 24). */
export const filterPageBytes = blocksOfPage * blockBytes;

/** The first layer: 63 KiB, for 40,000 ids. */
const firstLayerPages = 16;
/** Rate of false answers of the first layer; the sum over all layers is at most 0.004 / (1 - 0.6), one percent. */
const firstLayerErrorRate = 0.004;
const errorRateFactor = 0.6;

export interface FilterLayer {
  readonly bytes: Uint8Array;
  readonly blocks: number;
  /** Bits set for one id. */
  readonly hashes: number;
  /** Ids that it holds at its rate of errors. */
  readonly capacity: number;
  /** Ids that were added to it. */
  count: number;
  /** Pages that changed since a checkpoint last took them. */
  dirty: Set<number>;
}

export class BloomFilter {
  readonly #layers: FilterLayer[] = [];

  /** The layers, oldest first. */
  get layers(): readonly FilterLayer[] {
    return this.#layers;
  }

  get count(): number {
    return this.#layers.reduce((sum, layer) => sum + layer.count, 0);
  }

  /** Appends the next layer, empty: while loading, or when the last one is full. */
  addLayer(count = 0): FilterLayer {
    const number = this.#layers.length;
    const errorRate = firstLayerErrorRate * errorRateFactor ** number;
    const pages = firstLayerPages * 2 ** number;
    const blocks = pages * blocksOfPage;
    const hashes = Math.round(Math.log2(1 / errorRate));
    const layer = {
      bytes: new Uint8Array(pages * filterPageBytes),
      blocks,
      hashes,
      capacity: Math.floor(blocks * idsOfBlock(hashes, errorRate)),
      count,
      dirty: new Set<number>(),
    };
    this.#layers.push(layer);
    return layer;
  }

  /** False: this id was never added. True: it was, or this is one of the allowed errors. */
  mayContain(hash: IdHash): boolean {
    // The last layer holds about half of all ids.
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      if (probe(this.#layers[i]!, hash)) return true;
    }
    return false;
  }

  /** Returns whether it was certainly new. Adding an id again, as every replay does, changes nothing. */
  add(hash: IdHash): boolean {
    if (this.mayContain(hash)) return false;
    let layer = this.#layers.at(-1);
    if (layer === undefined || layer.count >= layer.capacity) layer = this.addLayer();
    const { bytes, hashes } = layer;
    const block = blockOf(layer, hash);
    const step = stepOf(hash);
    let mixed = hash.second;
    for (let i = 0; i < hashes; i++) {
      mixed = next(mixed, step);
      const at = block * blockBytes + (mixed >>> 26);
      bytes[at] = bytes[at]! | (1 << ((mixed >>> 23) & 7));
    }
    layer.count++;
    layer.dirty.add(Math.floor(block / blocksOfPage));
    return true;
  }
}

export function pageBytesOf(layer: FilterLayer, page: number): Uint8Array {
  return layer.bytes.subarray(page * filterPageBytes, (page + 1) * filterPageBytes);
}

/** Puts a stored page back. False when it has no place: the store is not of this format. */
export function restorePage(layer: FilterLayer, page: number, stored: VarintReader): boolean {
  const bytes = stored.rest();
  if (bytes.length !== filterPageBytes || (page + 1) * filterPageBytes > layer.bytes.length) return false;
  layer.bytes.set(bytes, page * filterPageBytes);
  return true;
}

function probe(layer: FilterLayer, hash: IdHash): boolean {
  const { bytes, hashes } = layer;
  const start = blockOf(layer, hash) * blockBytes;
  const step = stepOf(hash);
  let mixed = hash.second;
  for (let i = 0; i < hashes; i++) {
    mixed = next(mixed, step);
    if ((bytes[start + (mixed >>> 26)]! & (1 << ((mixed >>> 23) & 7))) === 0) return false;
  }
  return true;
}

// The nine highest bits of each number of a linear congruential sequence say which bit of the block: six the byte, three the bit in it.
function next(mixed: number, step: number): number {
  return (Math.imul(mixed, 0x2c9277b5) + step) | 0;
}

function stepOf(hash: IdHash): number {
  return hash.first | 1;
}

// The same share of all blocks as the hash is of all hashes: exact, for the product is below 2^53.
function blockOf(layer: FilterLayer, hash: IdHash): number {
  return Math.floor(((hash.first >>> 0) * layer.blocks) / 0x1_0000_0000);
}

/** Ids for each block, in the mean, with which a layer reaches a rate of false answers. */
function idsOfBlock(hashes: number, errorRate: number): number {
  let [low, high] = [0, blockBits];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (errorRateOf(hashes, middle) < errorRate) low = middle;
    else high = middle;
  }
  return low;
}

// Ids fall on blocks by chance, so a block's number of them is Poisson's; a block with more than its share is wrong more often.
function errorRateOf(hashes: number, idsMean: number): number {
  let rate = 0;
  let chance = Math.exp(-idsMean);
  for (let ids = 0; ids <= blockBits; ids++) {
    rate += chance * (1 - (1 - 1 / blockBits) ** (hashes * ids)) ** hashes;
    chance *= idsMean / (ids + 1);
  }
  return rate;
}
