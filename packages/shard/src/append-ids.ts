// AppendIds: ids that callers gave, kept for good (P4, second layer). New ones wait in memory for the next checkpoint;
// recovery finds them again in the log. An id is scoped to its entity.
//
// A1. The partition's filter knows an id from the moment on at which it is added: what it does not know is nowhere.
import {
  erasedIdName,
  FreshIds,
  hashAppendId,
  type IdHash,
  newIdHash,
  type Partition,
} from "@heddle/partition/internal";

export class AppendIds {
  readonly #partition: Partition;
  #fresh = new FreshIds();
  #flushing = new FreshIds();
  /** Of the id that was looked for last, which is most often the one that is added next. */
  readonly #hash = newIdHash();
  #hashedEntity = "";
  #hashedId = "";

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
    const hash = this.#hashOf(entity, id);
    if (!this.#partition.mayKnowAppendId(hash)) return undefined;
    return (
      this.#fresh.find(entity, id, hash) ??
      this.#flushing.find(entity, id, hash) ??
      this.#partition.appendIdPosition(entity, id)
    );
  }

  add(entity: string, id: string, position: number): void {
    const hash = this.#hashOf(entity, id);
    this.#fresh.add(entity, id, hash, position, this.#partition.announceAppendId(hash));
  }

  /** Hands what is new to a checkpoint; it stays readable here until `flushed`. */
  flush(): FreshIds {
    const cleared = this.#flushing;
    this.#flushing = this.#fresh;
    this.#fresh = cleared;
    return this.#flushing;
  }

  flushed(): void {
    this.#flushing.clear();
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack(): void {
    this.#flushing.doubtAll();
    this.#flushing.addAll(this.#fresh);
    this.#fresh.clear();
    this.flush();
  }

  #hashOf(entity: string, id: string): IdHash {
    if (id === this.#hashedId && entity === this.#hashedEntity) return this.#hash;
    this.#hashedEntity = entity;
    this.#hashedId = id;
    return hashAppendId(entity, id, this.#hash);
  }
}
