// AppendIds: ids that callers gave, kept for good (P4, second layer). New ones wait in memory for the next checkpoint;
// recovery finds them again in the log. An id is scoped to its entity.
import { secretHash } from "@heddle/kernel/internal";
import { erasedIdName, type Partition } from "@heddle/partition/internal";
import { HashSlots } from "./hash-slots.ts";

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

/** Positions by entity and id. */
class IdTable {
  readonly #entities: string[] = [];
  readonly #ids: string[] = [];
  readonly #positions: number[] = [];
  readonly #slots = new HashSlots();

  find(entity: string, id: string, hash: number): number | undefined {
    if (this.#ids.length === 0) return undefined;
    const row = this.#slots.rowAt(this.#slotOf(entity, id, hash));
    return row < 0 ? undefined : this.#positions[row];
  }

  set(entity: string, id: string, position: number, hash: number): void {
    const slot = this.#slotOf(entity, id, hash);
    const row = this.#slots.rowAt(slot);
    if (row >= 0) {
      this.#positions[row] = position;
      return;
    }
    this.#entities.push(entity);
    this.#ids.push(id);
    this.#slots.put(slot, this.#positions.push(position) - 1, hash);
  }

  *entries(): IterableIterator<AppendId> {
    for (let i = 0; i < this.#ids.length; i++) {
      yield { entity: this.#entities[i]!, id: this.#ids[i]!, position: this.#positions[i]! };
    }
  }

  // The slot where it is, or the free one where it would be. Texts are looked at only where they are most likely the same.
  #slotOf(entity: string, id: string, hash: number): number {
    const slots = this.#slots;
    for (let slot = slots.first(hash); ; slot = slots.next(slot)) {
      const row = slots.rowAt(slot);
      if (row < 0) return slot;
      if (slots.hashAt(slot) === hash && this.#ids[row] === id && this.#entities[row] === entity) return slot;
    }
  }
}

function hashOf(entity: string, id: string): number {
  return secretHash(entity, secretHash(id));
}
