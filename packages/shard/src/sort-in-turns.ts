// SortInTurns: a sort that can be left and gone on with, because sorting a checkpoint's entities at once would hold the
// shard for a second and more (600,000 ids: 1.5 s). Runs are sorted first, then merged only as far as they are asked for.

/** Items of a run: sorting one takes about a millisecond. */
const runItemsMax = 2_000;

export class SortInTurns<T> {
  readonly #items: readonly T[];
  readonly #keyOf: (item: T) => string;
  readonly #runs: T[][] = [];
  /** Items taken from each run. */
  readonly #taken: number[] = [];
  /** A heap of runs with items left, the one with the lowest item on top. */
  readonly #heap: number[] = [];
  #sorted = 0;

  constructor(items: readonly T[], keyOf: (item: T) => string) {
    this.#items = items;
    this.#keyOf = keyOf;
  }

  /** Sorts one run more. Returns false when all are sorted and `next` may be called. */
  sortMore(): boolean {
    if (this.#sorted === this.#items.length) return false;
    const run = this.#items.slice(this.#sorted, this.#sorted + runItemsMax);
    run.sort((a, b) => (this.#keyOf(a) < this.#keyOf(b) ? -1 : 1));
    this.#sorted += run.length;
    this.#taken.push(0);
    this.#heap.push(this.#runs.push(run) - 1);
    this.#rise(this.#heap.length - 1);
    return true;
  }

  /** The lowest item that is left, or undefined. */
  next(): T | undefined {
    const run = this.#heap[0];
    if (run === undefined) return undefined;
    const item = this.#lowest(run);
    this.#taken[run]!++;
    if (this.#taken[run] === this.#runs[run]!.length) {
      const last = this.#heap.pop()!;
      if (this.#heap.length === 0) return item;
      this.#heap[0] = last;
    }
    this.#sink();
    return item;
  }

  #lowest(run: number): T {
    return this.#runs[run]![this.#taken[run]!]!;
  }

  #isBefore(run: number, other: number): boolean {
    return this.#keyOf(this.#lowest(run)) < this.#keyOf(this.#lowest(other));
  }

  #rise(from: number): void {
    const heap = this.#heap;
    for (let at = from; at > 0; ) {
      const above = (at - 1) >> 1;
      if (!this.#isBefore(heap[at]!, heap[above]!)) return;
      [heap[at], heap[above]] = [heap[above]!, heap[at]!];
      at = above;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let at = 0; ; ) {
      let lower = 2 * at + 1;
      if (lower >= heap.length) return;
      if (lower + 1 < heap.length && this.#isBefore(heap[lower + 1]!, heap[lower]!)) lower++;
      if (!this.#isBefore(heap[lower]!, heap[at]!)) return;
      [heap[at], heap[lower]] = [heap[lower]!, heap[at]!];
      at = lower;
    }
  }
}
