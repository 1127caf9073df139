// EndedEntities: sagas that began and ended since the last checkpoint, packed until the next one has written them.
//
// There are tens of thousands between two checkpoints, and nobody is likely to look at them again. As objects they would
// live just long enough to be moved to the engine's old generation, one by one; here they take room that is used again.
//
// E1. A row is durable, chained, and never changes: whoever wants to change the entity makes an object of it first.
// E2. Here is all that there is of the entity: no checkpoint has written anything of it.
import type { EntityHead } from "@heddle/partition/internal";
import type { Entity } from "./entity.ts";

/** Numbers of a row: sequence, position, time, how many numbers of extents follow; the chain, as bytes; the extents. */
const chainAt = 4;
const chainBytes = 32;
const extentsAt = chainAt + chainBytes / Float64Array.BYTES_PER_ELEMENT;

const numbersMin = 4_096;
/** A row's id and its place in the table, about. */
const idBytes = 150;

export class EndedEntities {
  #rows = new Map<string, number>();
  #numbers = new Float64Array(numbersMin);
  #bytes = Buffer.from(this.#numbers.buffer);
  #end = 0;

  get size(): number {
    return this.#rows.size;
  }

  /** Memory that the rows take, as estimated. */
  get bytes(): number {
    return this.#end * Float64Array.BYTES_PER_ELEMENT + this.#rows.size * idBytes;
  }

  ids(): IterableIterator<string> {
    return this.#rows.keys();
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  /** Packs an entity, with all extents that there are of it. */
  add({ id, seq, position, time, chain, newExtents }: Entity): void {
    const at = this.#end;
    const end = at + extentsAt + newExtents.length;
    if (end > this.#numbers.length) this.#grow(end);
    const numbers = this.#numbers;
    numbers[at] = seq;
    numbers[at + 1] = position;
    numbers[at + 2] = time;
    numbers[at + 3] = newExtents.length;
    this.#bytes.write(chain, (at + chainAt) * Float64Array.BYTES_PER_ELEMENT, "latin1");
    for (let i = 0; i < newExtents.length; i++) numbers[at + extentsAt + i] = newExtents[i]!;
    this.#end = end;
    this.#rows.set(id, at);
  }

  /** The head that a checkpoint writes. Its extents are lent until a row is added or all are cleared. */
  get(id: string): EntityHead | undefined {
    const at = this.#rows.get(id);
    if (at === undefined) return undefined;
    const numbers = this.#numbers;
    const chainFrom = (at + chainAt) * Float64Array.BYTES_PER_ELEMENT;
    const chain = this.#bytes.toString("latin1", chainFrom, chainFrom + chainBytes);
    const inlineExtents = numbers.subarray(at + extentsAt, at + extentsAt + numbers[at + 3]!);
    return { seq: numbers[at]!, position: numbers[at + 1]!, time: numbers[at + 2]!, chain, baseSeq: 0, inlineExtents };
  }

  delete(id: string): void {
    this.#rows.delete(id);
  }

  /** Keeps the room for those that come; of what a storm took, half is given back each time. */
  clear(): void {
    const { length } = this.#numbers;
    if (length > numbersMin && length > 8 * this.#end) this.#makeRoom(length / 2);
    this.#rows = new Map();
    this.#end = 0;
  }

  #grow(wanted: number): void {
    const before = this.#bytes;
    this.#makeRoom(Math.max(wanted, 2 * this.#numbers.length));
    // As bytes: some that are a chain's would be no proper numbers.
    this.#bytes.set(before);
  }

  #makeRoom(numbers: number): void {
    this.#numbers = new Float64Array(numbers);
    this.#bytes = Buffer.from(this.#numbers.buffer);
  }
}

/** Whether all that there is of an entity can stand in a row. */
export function canBePacked({ baseSeq, hold, storedAlarm, newExtents }: Entity): boolean {
  return baseSeq === 0 && hold === undefined && storedAlarm === undefined && newExtents[0] === 1;
}
