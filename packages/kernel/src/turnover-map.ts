// TurnoverMap: a map for what comes and goes quickly: calls, sagas, transactions that are under way.
//
// The engine's own Map moves to a new table whenever so many keys came and went as it has room for, and the old table leads to
// the new one. Once one of those tables has grown old, none of them is collected with the young ones any more, nor anything that
// ever stood in them: with 500 keys of which each lives a moment, collecting took twenty times as long (docs/decisions/0017).
// This one stays where it is, and grows only with what it holds at a time.
import { secretHash, secretHashOfNumber } from "./secret-hash.ts";

const slotsMin = 16;

export type ReadonlyTurnoverMap<K extends string | number, V extends object> = Omit<
  TurnoverMap<K, V>,
  "set" | "delete" | "clear"
>;

export class TurnoverMap<K extends string | number, V extends object> {
  // Open addressing with linear probing; at most half of the slots are taken. `undefined` is a free slot.
  #keys: (K | undefined)[] = new Array(slotsMin).fill(undefined);
  #values: (V | undefined)[] = new Array(slotsMin).fill(undefined);
  /** By slot: how many keys came before. */
  #places = new Float64Array(slotsMin);
  #nextPlace = 0;
  #mask = slotsMin - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    return this.#values[this.#slotOf(key)];
  }

  has(key: K): boolean {
    return this.#keys[this.#slotOf(key)] !== undefined;
  }

  set(key: K, value: V): void {
    const slot = this.#slotOf(key);
    this.#values[slot] = value;
    if (this.#keys[slot] !== undefined) return;
    this.#keys[slot] = key;
    this.#places[slot] = this.#nextPlace++;
    if (2 * ++this.#size > this.#mask) this.#grow();
  }

  /** Takes a key out. Returns what it had. */
  delete(key: K): V | undefined {
    let free = this.#slotOf(key);
    const value = this.#values[free];
    if (this.#keys[free] === undefined) return undefined;
    this.#size--;
    // What stands behind it moves up, unless it would come to stand before its own place.
    for (let slot = (free + 1) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const other = this.#keys[slot];
      if (other === undefined) break;
      const home = hashOf(other) & this.#mask;
      if (((slot - home) & this.#mask) < ((slot - free) & this.#mask)) continue;
      this.#keys[free] = other;
      this.#values[free] = this.#values[slot];
      this.#places[free] = this.#places[slot]!;
      free = slot;
    }
    this.#keys[free] = undefined;
    this.#values[free] = undefined;
    return value;
  }

  clear(): void {
    this.#keys.fill(undefined);
    this.#values.fill(undefined);
    this.#size = 0;
  }

  /** In the order in which they came, as they are now: what comes or goes afterwards does not change the list. */
  keys(): K[] {
    return this.#slotsInOrder().map((slot) => this.#keys[slot]!);
  }

  /** As `keys`. */
  values(): V[] {
    return this.#slotsInOrder().map((slot) => this.#values[slot]!);
  }

  /** As `keys`. */
  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.#slotsInOrder()
      .map((slot): [K, V] => [this.#keys[slot]!, this.#values[slot]!])
      .values();
  }

  #slotsInOrder(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot <= this.#mask; slot++) if (this.#keys[slot] !== undefined) slots.push(slot);
    return slots.sort((a, b) => this.#places[a]! - this.#places[b]!);
  }

  // Where a key stands, or the free slot where it would.
  #slotOf(key: K): number {
    const keys = this.#keys;
    let slot = hashOf(key) & this.#mask;
    for (;;) {
      const found = keys[slot];
      if (found === undefined || found === key) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    const places = this.#places;
    const slots = 2 * keys.length;
    this.#keys = new Array(slots).fill(undefined);
    this.#values = new Array(slots).fill(undefined);
    this.#places = new Float64Array(slots);
    this.#mask = slots - 1;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (key === undefined) continue;
      const slot = this.#slotOf(key);
      this.#keys[slot] = key;
      this.#values[slot] = values[i];
      this.#places[slot] = places[i]!;
    }
  }
}

function hashOf(key: string | number): number {
  return typeof key === "number" ? secretHashOfNumber(key) : secretHash(key);
}
