// Bloom filter: says for most append ids, without a read from LMDB, that they were never seen.
//
// B1. An id that was added is always reported (no false "never seen"). The opposite error is allowed, in about one of
//     a hundred questions, and costs one read: the table of ids decides.
// B2. All bits of an id lie in one page, so that a checkpoint writes at most as many pages as it has new ids.
// Not promised: to forget. Ids are kept for good.
//
// It grows by layers, each twice the size of the one before and stricter, so that the errors of all layers together
// stay at the rate of one. Only the last layer takes new ids.
import type { IdHash } from "./id-hash.ts";
import type { VarintReader } from "./varint.ts";

/** With its checksum a page fills one page of LMDB (4,096 bytes less a header of 24); 4,096 bytes would fill two. */
export const filterPageBytes = 4_064;

const pageBits = filterPageBytes * 8;
/** The first layer: 64 KiB, for 45,000 ids. */
const firstLayerPages = 16;
/** Rate of false answers of the first layer; the sum over all layers is at most 0.004 / (1 - 0.6), one percent. */
const firstLayerErrorRate = 0.004;
const errorRateFactor = 0.6;

export interface FilterLayer {
  readonly bytes: Uint8Array;
  readonly pages: number;
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
    const layer = {
      bytes: new Uint8Array(pages * filterPageBytes),
      pages,
      hashes: Math.round(Math.log2(1 / errorRate)),
      capacity: Math.floor((pages * pageBits * Math.LN2) / Math.log2(1 / errorRate)),
      count,
      dirty: new Set<number>(),
    };
    this.#layers.push(layer);
    return layer;
  }

  /** False: this id was never added. True: it was, or this is one of the allowed errors. */
  mayContain(hash: IdHash): boolean {
    const first = hash.first >>> 0;
    const second = hash.second >>> 0;
    // The last layer holds about half of all ids.
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      if (probe(this.#layers[i]!, first, second)) return true;
    }
    return false;
  }

  /** Returns whether it was certainly new. Adding an id again, as every replay does, changes nothing. */
  add(hash: IdHash): boolean {
    if (this.mayContain(hash)) return false;
    const first = hash.first >>> 0;
    const second = hash.second >>> 0;
    let layer = this.#layers.at(-1);
    if (layer === undefined || layer.count >= layer.capacity) layer = this.addLayer();
    const page = pageOf(layer, first);
    let bit = second % pageBits;
    let step = stepOf(first, second);
    for (let i = 0; i < layer.hashes; i++) {
      const index = page * filterPageBytes + (bit >>> 3);
      layer.bytes[index] = layer.bytes[index]! | (1 << (bit & 7));
      bit = (bit + step) % pageBits;
      step += i;
    }
    layer.count++;
    layer.dirty.add(page);
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

function probe(layer: FilterLayer, first: number, second: number): boolean {
  const start = pageOf(layer, first) * filterPageBytes;
  let bit = second % pageBits;
  let step = stepOf(first, second);
  for (let i = 0; i < layer.hashes; i++) {
    if ((layer.bytes[start + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false;
    bit = (bit + step) % pageBits;
    step += i;
  }
  return true;
}

function pageOf(layer: FilterLayer, first: number): number {
  return first % layer.pages;
}

// Steps that grow (enhanced double hashing): with equal ones, a step that divides the page would hit few bits.
function stepOf(first: number, second: number): number {
  return 1 + ((Math.imul(first ^ (second >>> 15), 0x9e3779b1) >>> 0) % (pageBits - 1));
}
