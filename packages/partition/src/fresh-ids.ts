// Fresh ids: append ids that no checkpoint has written yet. Found by entity and id, handed to a checkpoint as a whole, and written
// entity by entity.
//
// Flat lists, because most entities get one id: nothing is made for an entity but its place in a map. Lists are in chunks that stay
// when the ids are gone: a list that grows is copied again and again, into memory that the system has to make first.
//
// F1. The table by which ids are found is brought up to date when somebody looks. The filter answers nearly all who would.
import { HashSlots } from "@heddle/kernel/internal";
import type { IdHash } from "./id-hash.ts";
import { type IdEntries, IdStream } from "./id-runs.ts";

/** Ids in a chunk. */
const chunkBits = 12;
const chunkIds = 1 << chunkBits;
const chunkMask = chunkIds - 1;

/** Ids in one stream: their hash and their place in it fit into 53 bits. */
const streamedMax = 2 ** 20;
const none = -1;

interface Chunk {
  readonly entities: string[];
  readonly ids: string[];
  readonly positions: Float64Array;
  /** The id's first hash and its secret one. */
  readonly firsts: Int32Array;
  readonly secrets: Int32Array;
  /** Place of the entity's id before this one. */
  readonly before: Int32Array;
}

export interface FreshId {
  readonly entity: string;
  readonly id: string;
  readonly position: number;
}

export class FreshIds {
  readonly #chunks: Chunk[] = [];
  #count = 0;
  /** Place of an entity's last id. */
  readonly #last = new Map<string, number>();
  /** Those that the partition may have already, by place, with repetitions; all of them, if `#mayAllBeStored`. */
  #doubtful: number[] = [];
  #mayAllBeStored = false;
  readonly #dropped = new Set<number>();
  readonly #slots = new HashSlots();
  /** So many stand in the table. */
  #indexed = 0;

  get count(): number {
    return this.#count;
  }

  /**
   * Adds an id, or changes its position if it is here. `isNew`: it is neither here nor in the partition, for certain, because the filter
   * did not know it.
   */
  add(entity: string, id: string, { first, secret }: IdHash, position: number, isNew: boolean): void {
    if (!isNew) {
      const place = this.#placeOf(entity, id, secret);
      if (place !== none) {
        this.#chunks[place >> chunkBits]!.positions[place & chunkMask] = position;
        return;
      }
      this.#doubtful.push(this.#count);
    }
    const place = this.#count++;
    const at = place & chunkMask;
    const chunk = this.#chunkOf(place);
    chunk.entities[at] = entity;
    chunk.ids[at] = id;
    chunk.positions[at] = position;
    chunk.firsts[at] = first;
    chunk.secrets[at] = secret;
    chunk.before[at] = this.#last.get(entity) ?? none;
    this.#last.set(entity, place);
  }

  /** Log position of the entry that carried an id. */
  find(entity: string, id: string, { secret }: IdHash): number | undefined {
    const place = this.#count === 0 ? none : this.#placeOf(entity, id, secret);
    return place === none ? undefined : this.positionAt(place);
  }

  /** In the order in which they came. */
  *all(): Generator<FreshId, undefined, undefined> {
    for (let place = 0; place < this.#count; place++) {
      yield { entity: this.entityAt(place), id: this.idAt(place), position: this.positionAt(place) };
    }
    return undefined;
  }

  /** Adds all of another list. */
  addAll(other: FreshIds): void {
    for (let place = 0; place < other.#count; place++) {
      const { entities, ids, positions, firsts, secrets } = other.#chunks[place >> chunkBits]!;
      const at = place & chunkMask;
      const hash = { first: firsts[at]!, second: 0, secret: secrets[at]! };
      this.add(entities[at]!, ids[at]!, hash, positions[at]!, false);
    }
  }

  entities(): Iterable<string> {
    return this.#last.keys();
  }

  /** Where an entity's ids are, those that were added last first; without those that were dropped. `into` is filled with them. */
  placesOf(entity: string, into: number[]): readonly number[] {
    into.length = 0;
    let place = this.#last.get(entity) ?? none;
    while (place !== none) {
      if (this.#dropped.size === 0 || !this.#dropped.has(place)) into.push(place);
      place = this.#chunks[place >> chunkBits]!.before[place & chunkMask]!;
    }
    return into;
  }

  /** Places of ids that the partition may have already. */
  *doubtful(): Generator<number, undefined, undefined> {
    if (this.#mayAllBeStored) for (let place = 0; place < this.#count; place++) yield place;
    else yield* this.#doubtful;
    return undefined;
  }

  /** A checkpoint that had these has failed: nobody knows which of them it has written. */
  doubtAll(): void {
    this.#mayAllBeStored = true;
    this.#dropped.clear();
  }

  entityAt(place: number): string {
    return this.#chunks[place >> chunkBits]!.entities[place & chunkMask]!;
  }

  idAt(place: number): string {
    return this.#chunks[place >> chunkBits]!.ids[place & chunkMask]!;
  }

  positionAt(place: number): number {
    return this.#chunks[place >> chunkBits]!.positions[place & chunkMask]!;
  }

  /** The first of its hashes, unsigned. */
  hashAt(place: number): number {
    return this.#chunks[place >> chunkBits]!.firsts[place & chunkMask]! >>> 0;
  }

  rename(place: number, id: string, { first, secret }: IdHash, isNew: boolean): void {
    this.#catchUp();
    const { ids, firsts, secrets } = this.#chunks[place >> chunkBits]!;
    const at = place & chunkMask;
    ids[at] = id;
    firsts[at] = first;
    secrets[at] = secret;
    this.#index(place);
    if (!isNew) this.#doubtful.push(place);
  }

  drop(place: number): void {
    this.#dropped.add(place);
  }

  /** Ids at some places in the order of their hashes; `scratch` holds them as long as they are read. */
  stream(places: readonly number[], scratch: IdEntries): IdStream {
    // Both in one number, which sorts without a comparison of ours.
    const order = new Float64Array(places.length);
    for (let i = 0; i < places.length; i++) order[i] = this.hashAt(places[i]!) * streamedMax + i;
    order.sort();
    scratch.clear();
    for (const hashAndPlace of order) {
      const place = places[hashAndPlace % streamedMax]!;
      scratch.add(this.hashAt(place), this.idAt(place), this.positionAt(place));
    }
    return new IdStream([scratch.filled].values());
  }

  /** Keeps room for as many that come. What a storm took beyond twice of that is given back. */
  clear(): void {
    const chunksUsed = Math.ceil(this.#count / chunkIds);
    if (this.#chunks.length > 2 * chunksUsed + 1) this.#chunks.length = 2 * chunksUsed + 1;
    for (let i = 0; i < chunksUsed; i++) {
      this.#chunks[i]!.entities.fill("");
      this.#chunks[i]!.ids.fill("");
    }
    this.#slots.clear();
    this.#count = 0;
    this.#indexed = 0;
    this.#last.clear();
    this.#doubtful = [];
    this.#mayAllBeStored = false;
    this.#dropped.clear();
  }

  // Texts are compared only where they are most likely the same.
  #placeOf(entity: string, id: string, secret: number): number {
    this.#catchUp();
    const slots = this.#slots;
    for (let slot = slots.first(secret); ; slot = slots.next(slot)) {
      const place = slots.rowAt(slot);
      if (place < 0) return none;
      if (slots.hashAt(slot) === secret && this.idAt(place) === id && this.entityAt(place) === entity) return place;
    }
  }

  #catchUp(): void {
    while (this.#indexed < this.#count) this.#index(this.#indexed++);
  }

  #index(place: number): void {
    const secret = this.#chunks[place >> chunkBits]!.secrets[place & chunkMask]!;
    const slots = this.#slots;
    let slot = slots.first(secret);
    while (slots.rowAt(slot) >= 0) slot = slots.next(slot);
    slots.put(slot, place, secret);
  }

  #chunkOf(place: number): Chunk {
    const chunk = this.#chunks[place >> chunkBits];
    if (chunk !== undefined) return chunk;
    const made = {
      entities: new Array<string>(chunkIds).fill(""),
      ids: new Array<string>(chunkIds).fill(""),
      positions: new Float64Array(chunkIds),
      firsts: new Int32Array(chunkIds),
      secrets: new Int32Array(chunkIds),
      before: new Int32Array(chunkIds),
    };
    this.#chunks.push(made);
    return made;
  }
}
