// Subscription: events one after the other, for as long as somebody wants them.
//
// A1. The node is asked when the reader asks and has nothing left: who is slow is not sent more (P8).
// A2. Leaving the loop, `return`, the signal and an error end it at once, also while it waits; nothing is left behind: no
//     call, no timer, no listener.
// A3. Events come in order, also to who calls `next` several times without waiting.

/** Asks for the next page, which may be empty; gives up when the signal says so. */
export type NextPage<T> = (signal: AbortSignal) => Promise<readonly T[]>;

/** Made for `for await`. Made by `Entity.subscribe` and `Heddle.subscribe`. */
export class Subscription<T> implements AsyncIterableIterator<T, undefined, undefined>, AsyncDisposable {
  readonly #nextPage: NextPage<T>;
  readonly #ending = new AbortController();
  readonly #outside: AbortSignal | undefined;
  readonly #onAbort = () => this.#end();
  #page: readonly T[] = [];
  #at = 0;
  #isOver = false;
  /** The last `next` that waits; the one behind it comes after it. */
  #waiting: Promise<unknown> | undefined;

  /** `signal` ends it from outside: `next` rejects with its reason then. */
  constructor(nextPage: NextPage<T>, signal: AbortSignal | undefined) {
    this.#nextPage = nextPage;
    this.#outside = signal;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#end();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const before = this.#waiting;
    if (before === undefined && this.#at < this.#page.length) {
      return Promise.resolve({ done: false, value: this.#page[this.#at++]! });
    }
    const next = before === undefined ? this.#take() : before.then(() => this.#take());
    // Whoever asked before may have been told of an error; who asks behind it is told that it is over.
    const settled = next.then(noop, noop).then(() => {
      if (this.#waiting === settled) this.#waiting = undefined;
    });
    this.#waiting = settled;
    return next;
  }

  /** Leaves the loop. A `next` that waits is told so. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #take(): Promise<IteratorResult<T, undefined>> {
    try {
      while (!this.#isOver && this.#at >= this.#page.length) {
        this.#page = await this.#nextPage(this.#ending.signal);
        this.#at = 0;
      }
    } catch (error) {
      // That the reader has left is no error, however the call under way took it.
      if (!this.#isOver) {
        this.#end();
        throw error;
      }
    }
    this.#outside?.throwIfAborted();
    if (this.#isOver) return { done: true, value: undefined };
    return { done: false, value: this.#page[this.#at++]! };
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#page = [];
    this.#at = 0;
    this.#outside?.removeEventListener("abort", this.#onAbort);
    this.#ending.abort();
  }
}

function noop(): void {}
