// Fresh ids: the append ids that one checkpoint brings of one entity.
import { type IdEntries, IdStream } from "./id-runs.ts";

/** Places of ids in one stream: hash and place must fit into 53 bits. */
const placesMax = 2 ** 20;

export class FreshIds {
  /** Places of those that may be stored already, because the filter knew them. */
  known: number[] = [];
  #hashes: number[] = [];
  #ids: string[] = [];
  #positions: number[] = [];

  get count(): number {
    return this.#ids.length;
  }

  /** `hash` is the first of the id's key in the table of single ids. */
  add(hash: number, id: string, position: number): void {
    this.#hashes.push(hash);
    this.#ids.push(id);
    this.#positions.push(position);
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

  /** Takes out those at some places; all others may move. */
  drop(places: ReadonlySet<number>): void {
    const isKept = (_: unknown, place: number): boolean => !places.has(place);
    this.#hashes = this.#hashes.filter(isKept);
    this.#ids = this.#ids.filter(isKept);
    this.#positions = this.#positions.filter(isKept);
    this.known = [];
  }

  /** Ids from a place up to another (exclusive) in the order of their hashes; `scratch` holds them as long as they are read. */
  stream(from: number, to: number, scratch: IdEntries): IdStream {
    // Both in one number, which sorts without a comparison of ours.
    const order = new Float64Array(to - from);
    for (let i = from; i < to; i++) order[i - from] = this.#hashes[i]! * placesMax + (i - from);
    order.sort();
    scratch.clear();
    for (const hashAndPlace of order) {
      const i = from + (hashAndPlace % placesMax);
      scratch.add(this.#hashes[i]!, this.#ids[i]!, this.#positions[i]!);
    }
    return new IdStream([scratch.filled].values());
  }
}
