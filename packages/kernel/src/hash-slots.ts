// HashSlots: where the rows of a table of one's own stand, by the hash of their keys. The owner keeps the rows, and compares keys.
//
// For texts that come but once. A Map wants one text for a key, makes it one of all texts that the engine knows, and keeps it with the
// old ones: to make it, and to have it kept, took a seventeenth of the thread's time with two ids a saga.
const slotsMin = 64;

export class HashSlots {
  /** Open addressing with linear probing; at most half are taken. Two numbers a slot: 1 and the row, 0 for a free one; and the hash. */
  #slots = new Int32Array(2 * slotsMin);
  /** At most so many slots are taken. */
  #puts = 0;

  /** Offset of the slot where a search for a hash begins. */
  first(hash: number): number {
    return (2 * hash) & (this.#slots.length - 1);
  }

  next(slot: number): number {
    return (slot + 2) & (this.#slots.length - 1);
  }

  /** The row of a slot; negative for a free one, where a search ends. */
  rowAt(slot: number): number {
    return this.#slots[slot]! - 1;
  }

  hashAt(slot: number): number {
    return this.#slots[slot + 1]!;
  }

  /** Puts a row into a slot that a search has found. Offsets are not good any more. */
  put(slot: number, row: number, hash: number): void {
    this.#slots[slot] = row + 1;
    this.#slots[slot + 1] = hash;
    if (4 * ++this.#puts > this.#slots.length) this.#grow();
  }

  /** Frees all. Room for many more than were taken is given back. */
  clear(): void {
    if (this.#slots.length > 32 * (this.#puts + slotsMin)) this.#slots = new Int32Array(2 * slotsMin);
    else if (this.#puts > 0) this.#slots.fill(0);
    this.#puts = 0;
  }

  // What is in the table is there once: all that its new slot has to be is free.
  #grow(): void {
    const before = this.#slots;
    this.#slots = new Int32Array(2 * before.length);
    for (let i = 0; i < before.length; i += 2) {
      if (before[i] === 0) continue;
      let slot = this.first(before[i + 1]!);
      while (this.#slots[slot] !== 0) slot = this.next(slot);
      this.#slots[slot] = before[i]!;
      this.#slots[slot + 1] = before[i + 1]!;
    }
  }
}
