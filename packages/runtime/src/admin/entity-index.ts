// EntityIndex: the entities of a refold, found by the bytes of their ids as they stand in an entry.
//
// A log names an entity in every entry, in an order that no cache of a processor likes. A map by text would first make or
// look up the text, then hash it, then look up the entity; this does it in one go, and makes a text once for an entity.
import type { EntryView } from "@heddle/event-log/internal";
import { readU16, TextCache } from "@heddle/protocol/internal";
import { hashOfEntity, hashOfEntry, type Slice, sliceOfHash } from "./entity-slices.ts";

export const ofAnotherSlice = Symbol("of another slice");

export class EntityIndex<T extends { readonly id: string }> {
  /** Gives the text of the entity that was found last where the decoder asks for it. */
  readonly texts = new KnownEntity();
  readonly #slice: Slice;
  readonly #make: (id: string) => T;
  readonly #items: T[] = [];
  /** Pairs of hash and place in `#items`, from 1; open addressing with linear probing. */
  #slots = new Int32Array(2 * 1_024);
  #shift = 22;

  constructor(slice: Slice, make: (id: string) => T) {
    this.#slice = slice;
    this.#make = make;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The entity of an entry; undefined for one that is not known, as are those whose ids are not ASCII. */
  find(entry: EntryView): T | undefined | typeof ofAnotherSlice {
    const hash = hashOfEntry(entry);
    if (sliceOfHash(hash, this.#slice.slices) !== this.#slice.slice) return ofAnotherSlice;
    const from = entry.bodyFrom + 2;
    const to = from + readU16(entry.bytes, entry.bodyFrom);
    const slots = this.#slots;
    for (let at = this.#startOf(hash); slots[at + 1] !== 0; at = (at + 2) & (slots.length - 1)) {
      if (slots[at] !== (hash | 0)) continue;
      const item = this.#items[slots[at + 1]! - 1]!;
      if (!isText(entry.bytes, from, to, item.id)) continue;
      this.texts.set(from, item.id);
      return item;
    }
    this.texts.set(-1, "");
    return undefined;
  }

  /** The entity with this id, made if it is new. */
  take(id: string): T {
    const known = this.get(id);
    if (known !== undefined) return known;
    const item = this.#make(id);
    this.#items.push(item);
    if (8 * this.#items.length > this.#slots.length * 3) this.#grow();
    else this.#put(hashOfEntity(id), this.#items.length);
    return item;
  }

  get(id: string): T | undefined {
    const hash = hashOfEntity(id) | 0;
    for (let at = this.#startOf(hash); ; at = (at + 2) & (this.#slots.length - 1)) {
      const place = this.#slots[at + 1]!;
      if (place === 0) return undefined;
      if (this.#slots[at] === hash && this.#items[place - 1]!.id === id) return this.#items[place - 1];
    }
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#items[Symbol.iterator]();
  }

  #put(hash: number, place: number): void {
    let at = this.#startOf(hash);
    while (this.#slots[at + 1] !== 0) at = (at + 2) & (this.#slots.length - 1);
    this.#slots[at] = hash;
    this.#slots[at + 1] = place;
  }

  #grow(): void {
    this.#slots = new Int32Array(2 * this.#slots.length);
    this.#shift--;
    for (const [index, { id }] of this.#items.entries()) this.#put(hashOfEntity(id), index + 1);
  }

  #startOf(hash: number): number {
    return 2 * (Math.imul(hash, 0x9e3779b1) >>> this.#shift);
  }
}

class KnownEntity extends TextCache {
  #from = -1;
  #id = "";

  set(from: number, id: string): void {
    this.#from = from;
    this.#id = id;
  }

  override read(bytes: Uint8Array, from: number, to: number, likely = ""): string {
    return from === this.#from ? this.#id : super.read(bytes, from, to, likely);
  }
}

function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (text.length !== to - from) return false;
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text.charCodeAt(i)) return false;
  return true;
}
