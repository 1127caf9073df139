// AppendIds: ids that callers gave, kept for good (P4, second layer). New ones wait in memory for the next checkpoint;
// recovery finds them again in the log. An id is scoped to its entity.
import { secretHash } from "@heddle/kernel/internal";
import { erasedIdName, type Partition } from "@heddle/partition/internal";

export interface AppendId {
  readonly entity: string;
  readonly id: string;
  readonly position: number;
}

export class AppendIds {
  readonly #partition: Partition;
  #fresh = new IdTable();
  #flushing = new IdTable();
  /** Of the id that was looked for last, which is most often the one that is added next. */
  #lastHash = 0;
  #lastEntity = "";
  #lastId = "";

  constructor(partition: Partition) {
    this.#partition = partition;
  }

  /**
   * Log position of the entry that carried this id, or undefined. `wasErased`: the entity has had a life before, whose ids
   * are kept as digests.
   */
  find(entity: string, id: string, wasErased: boolean): number | undefined {
    const found = this.#find(entity, id);
    return found === undefined && wasErased ? this.#find(entity, erasedIdName(entity, id)) : found;
  }

  #find(entity: string, id: string): number | undefined {
    const hash = hashOf(entity, id);
    this.#lastHash = hash;
    this.#lastEntity = entity;
    this.#lastId = id;
    return (
      this.#fresh.find(entity, id, hash) ??
      this.#flushing.find(entity, id, hash) ??
      this.#partition.appendIdPosition(entity, id)
    );
  }

  add(entity: string, id: string, position: number): void {
    const isLast = id === this.#lastId && entity === this.#lastEntity;
    this.#fresh.set(entity, id, position, isLast ? this.#lastHash : hashOf(entity, id));
  }

  /** Hands what is new to a checkpoint, to be taken up piece by piece; it stays readable here until `flushed`. */
  flush(): IterableIterator<AppendId> {
    this.#flushing = this.#fresh;
    this.#fresh = new IdTable();
    return this.#flushing.entries();
  }

  flushed(): void {
    this.#flushing = new IdTable();
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack(): void {
    for (const { entity, id, position } of this.#fresh.entries()) {
      this.#flushing.set(entity, id, position, hashOf(entity, id));
    }
    this.#fresh = this.#flushing;
    this.#flushing = new IdTable();
  }
}

const slotsMin = 64;

/**
 * Positions by entity and id. A hash table of its own, because a Map wants one text for both: to make it, and to have the engine
 * keep it among all texts that are keys, took a seventeenth of the thread's time with two ids a saga.
 */
class IdTable {
  readonly #entities: string[] = [];
  readonly #ids: string[] = [];
  readonly #positions: number[] = [];
  /**
   * Open addressing with linear probing; at most half of the slots are taken. Two numbers a slot: 1 and the place in the lists, 0
   * for a free slot; and the hash of what is there, so that texts are looked at only where they are most likely the same.
   */
  #slots = new Int32Array(2 * slotsMin);

  find(entity: string, id: string, hash: number): number | undefined {
    if (this.#ids.length === 0) return undefined;
    const place = this.#slots[this.#slotOf(entity, id, hash)]!;
    return place === 0 ? undefined : this.#positions[place - 1];
  }

  set(entity: string, id: string, position: number, hash: number): void {
    const slot = this.#slotOf(entity, id, hash);
    const place = this.#slots[slot]!;
    if (place > 0) {
      this.#positions[place - 1] = position;
      return;
    }
    this.#entities.push(entity);
    this.#ids.push(id);
    this.#slots[slot] = this.#positions.push(position);
    this.#slots[slot + 1] = hash;
    if (4 * this.#ids.length > this.#slots.length) this.#grow();
  }

  *entries(): IterableIterator<AppendId> {
    for (let i = 0; i < this.#ids.length; i++) {
      yield { entity: this.#entities[i]!, id: this.#ids[i]!, position: this.#positions[i]! };
    }
  }

  // Offset of the slot where it is, or of the free one where it would be.
  #slotOf(entity: string, id: string, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = (2 * hash) & mask; ; slot = (slot + 2) & mask) {
      const place = slots[slot]!;
      if (place === 0) return slot;
      if (slots[slot + 1] === hash && this.#ids[place - 1] === id && this.#entities[place - 1] === entity) return slot;
    }
  }

  // What is in the table is there once: all that its new slot has to be is free.
  #grow(): void {
    const before = this.#slots;
    const slots = new Int32Array(4 * before.length);
    const mask = slots.length - 1;
    for (let i = 0; i < before.length; i += 2) {
      if (before[i] === 0) continue;
      let slot = (2 * before[i + 1]!) & mask;
      while (slots[slot] !== 0) slot = (slot + 2) & mask;
      slots[slot] = before[i]!;
      slots[slot + 1] = before[i + 1]!;
    }
    this.#slots = slots;
  }
}

function hashOf(entity: string, id: string): number {
  return secretHash(entity, secretHash(id));
}
