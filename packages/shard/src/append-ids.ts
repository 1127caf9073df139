// AppendIds: ids that callers gave, kept for good (P4, second layer). New ones wait in memory for the next checkpoint;
// recovery finds them again in the log. An id is scoped to its entity.
import { erasedIdName, type Partition } from "@heddle/partition/internal";

export interface AppendId {
  readonly entity: string;
  readonly id: string;
  readonly position: number;
}

export class AppendIds {
  readonly #partition: Partition;
  #fresh = new Map<string, number>();
  #flushing = new Map<string, number>();

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
    const key = keyOf(entity, id);
    return this.#fresh.get(key) ?? this.#flushing.get(key) ?? this.#partition.appendIdPosition(entity, id);
  }

  add(entity: string, id: string, position: number): void {
    this.#fresh.set(keyOf(entity, id), position);
  }

  /** Hands what is new to a checkpoint, to be taken up piece by piece; it stays readable here until `flushed`. */
  flush(): IterableIterator<AppendId> {
    this.#flushing = this.#fresh;
    this.#fresh = new Map();
    return idsOf(this.#flushing);
  }

  flushed(): void {
    this.#flushing = new Map();
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack(): void {
    for (const [key, position] of this.#fresh) this.#flushing.set(key, position);
    this.#fresh = this.#flushing;
    this.#flushing = new Map();
  }
}

// Entity ids hold no control characters, so the first zero ends the entity.
function keyOf(entity: string, id: string): string {
  return `${entity}\0${id}`;
}

function* idsOf(positions: ReadonlyMap<string, number>): IterableIterator<AppendId> {
  for (const [key, position] of positions) {
    const end = key.indexOf("\0");
    yield { entity: key.slice(0, end), id: key.slice(end + 1), position };
  }
}
