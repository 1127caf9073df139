// KnownIds: which documents of a generation are not there yet, as far as this process knows: inserts are many times cheaper than
// replacements. Only a hint: a document that is there after all is replaced.
//
// Bound: 200,000 ids of each kind; beyond it nothing is known.
import type { Part } from "./redo.ts";

const idsMax = 200_000;

export class KnownIds {
  /** Asked for, and not found. */
  #absent = new Set<string>();
  /** All that are there. Undefined where that is not known: somebody else wrote, or there are too many. */
  #present: Set<string> | undefined;

  /** `isEmpty`: the generation was just made. */
  constructor(isEmpty: boolean) {
    this.#present = isEmpty ? new Set() : undefined;
  }

  isNew(id: string): boolean {
    return this.#present === undefined ? this.#absent.has(id) : !this.#present.has(id);
  }

  noteAbsent(id: string): void {
    if (this.#present !== undefined) return;
    if (this.#absent.size >= idsMax) this.#absent.clear();
    this.#absent.add(id);
  }

  noteWritten(parts: readonly Part[]): void {
    for (const { puts, removes } of parts) {
      for (const { _id } of puts) {
        this.#absent.delete(_id);
        this.#present?.add(_id);
      }
      for (const id of removes) this.#present?.delete(id);
    }
    if (this.#present !== undefined && this.#present.size > idsMax) this.#present = undefined;
  }
}
