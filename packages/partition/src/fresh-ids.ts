// Fresh ids: the append ids that one checkpoint brings, and which of them belong to one entity.
//
// Flat lists, because most entities get one id: nothing is made for an entity but its place in a map.
import { type IdEntries, IdStream } from "./id-runs.ts";

/** Ids in one stream: their hash and their place in it fit into 53 bits. */
const streamedMax = 2 ** 20;
const none = -1;

export class FreshIds {
  readonly #ids: string[] = [];
  readonly #hashes: number[] = [];
  readonly #positions: number[] = [];
  /** Place of the entity's id before this one. */
  readonly #before: number[] = [];
  /** Place of an entity's last id. */
  readonly #last = new Map<string, number>();
  readonly #dropped = new Set<number>();

  get count(): number {
    return this.#ids.length;
  }

  /** Its place is what `count` was before. `hash` is the first of its key's in the table of single ids. */
  add(entity: string, hash: number, id: string, position: number): void {
    const place = this.#ids.push(id) - 1;
    this.#hashes.push(hash);
    this.#positions.push(position);
    this.#before.push(this.#last.get(entity) ?? none);
    this.#last.set(entity, place);
  }

  entities(): Iterable<string> {
    return this.#last.keys();
  }

  /** Where an entity's ids are, those that were added last first; without those that were dropped. `into` is filled with them. */
  placesOf(entity: string, into: number[]): readonly number[] {
    into.length = 0;
    for (let place = this.#last.get(entity) ?? none; place !== none; place = this.#before[place]!) {
      if (this.#dropped.size === 0 || !this.#dropped.has(place)) into.push(place);
    }
    return into;
  }

  hashAt(place: number): number {
    return this.#hashes[place]!;
  }

  idAt(place: number): string {
    return this.#ids[place]!;
  }

  positionAt(place: number): number {
    return this.#positions[place]!;
  }

  rename(place: number, hash: number, id: string): void {
    this.#hashes[place] = hash;
    this.#ids[place] = id;
  }

  drop(place: number): void {
    this.#dropped.add(place);
  }

  /** Ids at some places in the order of their hashes; `scratch` holds them as long as they are read. */
  stream(places: readonly number[], scratch: IdEntries): IdStream {
    // Both in one number, which sorts without a comparison of ours.
    const order = new Float64Array(places.length);
    for (let i = 0; i < places.length; i++) order[i] = this.#hashes[places[i]!]! * streamedMax + i;
    order.sort();
    scratch.clear();
    for (const hashAndPlace of order) {
      const place = places[hashAndPlace % streamedMax]!;
      scratch.add(this.#hashes[place]!, this.#ids[place]!, this.#positions[place]!);
    }
    return new IdStream([scratch.filled].values());
  }
}
