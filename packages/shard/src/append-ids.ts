// AppendIds: ids that callers gave, kept for good (P4, second layer). New ones wait in memory for the next checkpoint;
// recovery finds them again in the log. An id is scoped to its entity.
import type { Partition } from "@heddle/partition/internal";

export class AppendIds {
  readonly #partition: Partition;
  #fresh = new Map<string, number>();
  #flushing: ReadonlyMap<string, number> = new Map();

  constructor(partition: Partition) {
    this.#partition = partition;
  }

  /** Log position of the entry that carried this id, or undefined. */
  find(entity: string, id: string): number | undefined {
    const key = keyOf(entity, id);
    return this.#fresh.get(key) ?? this.#flushing.get(key) ?? this.#partition.appendIdPosition(entity, id);
  }

  add(entity: string, id: string, position: number): void {
    this.#fresh.set(keyOf(entity, id), position);
  }

  get freshCount(): number {
    return this.#fresh.size;
  }

  /** Hands what is new to a checkpoint; it stays readable here until `flushed`. */
  flush(put: (entity: string, id: string, position: number) => void): void {
    this.#flushing = this.#fresh;
    this.#fresh = new Map();
    for (const [key, position] of this.#flushing) {
      const end = key.indexOf("\0");
      put(key.slice(0, end), key.slice(end + 1), position);
    }
  }

  flushed(): void {
    this.#flushing = new Map();
  }
}

// Entity ids hold no control characters, so the first zero ends the entity.
function keyOf(entity: string, id: string): string {
  return `${entity}\0${id}`;
}
