// EndedEntities: sagas that began and ended since the last checkpoint, packed until the next one has written them.
//
// There are tens of thousands between two checkpoints, and nobody is likely to look at them again. As objects they would
// live just long enough to be moved to the engine's old generation, one by one; here they take room that is used again.
//
// E1. A row is durable, chained, and never changes: whoever wants to change the entity makes an object of it first.
// E2. Here is all that there is of the entity: no checkpoint that was committed has written anything of it.
import { HashSlots, invariant, secretHash } from "@heddle/kernel/internal";
import type { EntityHead } from "@heddle/partition/internal";
import { type Entity, extentWidth, shortHistoryMax } from "./entity.ts";
import { writeChain } from "./hash-chain.ts";

/** Numbers of a row: sequence, position, time, how many numbers of extents follow; the chain, as bytes; the extents. */
const chainAt = 4;
const chainBytes = 32;
const numberBytes = Float64Array.BYTES_PER_ELEMENT;
const extentsAt = chainAt + chainBytes / numberBytes;
const rowNumbersMax = extentsAt + shortHistoryMax * extentWidth;

/** Rows stand in chunks of so many numbers, 256 KiB, none of them in two. */
const chunkNumbers = 1 << 15;
/** What a row takes beside its numbers: its id, and its places in the lists. */
const idBytes = 100;
const gone = -1;

interface Chunk {
  readonly numbers: Float64Array;
  readonly bytes: Buffer;
}

export class EndedEntities {
  readonly #chunks: Chunk[] = [];
  /** Numbers taken, with those that chunks have left at their ends. */
  #end = 0;
  /** By row. */
  readonly #ids: string[] = [];
  readonly #starts: number[] = [];
  #gone = 0;
  /** By id. */
  readonly #slots = new HashSlots();

  get size(): number {
    return this.#ids.length - this.#gone;
  }

  /** Memory that the rows take, as estimated. */
  get bytes(): number {
    return this.#end * numberBytes + this.#ids.length * idBytes;
  }

  *rows(): Generator<number, undefined, undefined> {
    for (let row = 0; row < this.#ids.length; row++) if (this.#starts[row] !== gone) yield row;
    return undefined;
  }

  has(id: string): boolean {
    return this.#rowOf(id) >= 0;
  }

  /** Packs an entity, with all extents that there are of it; it is not here yet. */
  add({ id, seq, position, time, chain, newExtents }: Entity): void {
    const length = extentsAt + newExtents.length;
    if (length > rowNumbersMax) invariant(false, "shard/ended-entity-is-short", { id, extents: newExtents.length });
    const left = chunkNumbers - (this.#end % chunkNumbers);
    const start = length > left ? this.#end + left : this.#end;
    this.#end = start + length;
    const { numbers, bytes } = this.#chunkOf(start);
    const at = start % chunkNumbers;
    numbers[at] = seq;
    numbers[at + 1] = position;
    numbers[at + 2] = time;
    numbers[at + 3] = newExtents.length;
    writeChain(chain, bytes, (at + chainAt) * numberBytes);
    for (let i = 0; i < newExtents.length; i++) numbers[at + extentsAt + i] = newExtents[i]!;
    const hash = secretHash(id);
    this.#slots.put(this.#slotOf(id, hash), this.#ids.length, hash);
    this.#ids.push(id);
    this.#starts.push(start);
  }

  idAt(row: number): string {
    return this.#ids[row]!;
  }

  get(id: string): EntityHead | undefined {
    const row = this.#rowOf(id);
    return row < 0 ? undefined : this.headAt(row);
  }

  /** The head that a checkpoint writes. Its extents are lent until all rows are cleared. */
  headAt(row: number): EntityHead {
    const start = this.#starts[row]!;
    const at = start % chunkNumbers;
    const { numbers, bytes } = this.#chunkOf(start);
    const chainFrom = (at + chainAt) * numberBytes;
    const chain = bytes.toString("latin1", chainFrom, chainFrom + chainBytes);
    const inlineExtents = numbers.subarray(at + extentsAt, at + extentsAt + numbers[at + 3]!);
    return { seq: numbers[at]!, position: numbers[at + 1]!, time: numbers[at + 2]!, chain, baseSeq: 0, inlineExtents };
  }

  delete(id: string): void {
    const row = this.#rowOf(id);
    if (row < 0) return;
    this.#starts[row] = gone;
    this.#gone++;
  }

  /** Keeps room for as many that come. What a storm took beyond twice of that is given back. */
  clear(): void {
    const chunksMax = 2 * Math.ceil(this.#end / chunkNumbers) + 1;
    if (this.#chunks.length > chunksMax) this.#chunks.length = chunksMax;
    this.#slots.clear();
    this.#end = 0;
    this.#ids.length = 0;
    this.#starts.length = 0;
    this.#gone = 0;
  }

  // Negative if there is none.
  #rowOf(id: string): number {
    if (this.#ids.length === 0) return gone;
    const row = this.#slots.rowAt(this.#slotOf(id, secretHash(id)));
    return row < 0 || this.#starts[row] === gone ? gone : row;
  }

  // The slot of its youngest row, or the free one where it would be.
  #slotOf(id: string, hash: number): number {
    const slots = this.#slots;
    for (let slot = slots.first(hash); ; slot = slots.next(slot)) {
      const row = slots.rowAt(slot);
      if (row < 0 || (slots.hashAt(slot) === hash && this.#ids[row] === id)) return slot;
    }
  }

  #chunkOf(start: number): Chunk {
    const index = Math.floor(start / chunkNumbers);
    const chunk = this.#chunks[index];
    if (chunk !== undefined) return chunk;
    const numbers = new Float64Array(chunkNumbers);
    const made = { numbers, bytes: Buffer.from(numbers.buffer) };
    this.#chunks[index] = made;
    return made;
  }
}

/** Whether all that there is of an entity can stand in a row. */
export function canBePacked({ baseSeq, hold, storedAlarm, newExtents }: Entity): boolean {
  return baseSeq === 0 && hold === undefined && storedAlarm === undefined && newExtents[0] === 1;
}
