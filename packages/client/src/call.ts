// A call that has no answer yet, and the window that holds all of them in number order.
import type { HeddleError } from "@heddle/kernel";

/** What to do with the value of a reply before it goes to the caller. */
export type Decode = (value: unknown) => unknown;

export class Call {
  readonly number: number;
  /** Where its frame stands. A retry sends these very bytes again. */
  readonly chunk: Uint8Array;
  readonly from: number;
  readonly to: number;
  /** On the monotonic clock, in milliseconds. */
  readonly deadline: number;
  readonly timeoutMs: number;
  readonly decode: Decode | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  /** When to send it again after a refusal that may pass; 0 when it is on its way. */
  retryAt = 0;
  /** Refusals so far, and the last of them. */
  refusals = 0;
  refusal: HeddleError | undefined = undefined;
  /** Lets go of the caller's abort signal. */
  unlisten: (() => void) | undefined = undefined;

  constructor(
    number: number,
    chunk: Uint8Array,
    from: number,
    to: number,
    deadline: number,
    timeoutMs: number,
    decode: Decode | undefined,
    resolve: (value: unknown) => void,
    reject: (reason: unknown) => void,
  ) {
    this.number = number;
    this.chunk = chunk;
    this.from = from;
    this.to = to;
    this.deadline = deadline;
    this.timeoutMs = timeoutMs;
    this.decode = decode;
    this.resolve = resolve;
    this.reject = reject;
  }
}

/**
 * The unanswered calls of one session, found by number. A ring, because numbers rise by one: it grows to the power of
 * two that spans the oldest and the newest, and a look-up is an index.
 */
export class CallWindow {
  #slots: (Call | undefined)[] = new Array(1024).fill(undefined);
  #mask = 1023;
  #size = 0;
  /** The oldest unanswered number; equal to `next` when there is none. */
  first = 1;
  /** The number that the next call gets. */
  next = 1;

  get size(): number {
    return this.#size;
  }

  /** The call must carry the number `next`. */
  add(call: Call): void {
    if (call.number - this.first > this.#mask) this.#grow();
    this.#slots[call.number & this.#mask] = call;
    this.#size++;
    this.next = call.number + 1;
  }

  find(number: number): Call | undefined {
    if (number < this.first || number >= this.next) return undefined;
    return this.#slots[number & this.#mask];
  }

  remove(call: Call): void {
    this.#slots[call.number & this.#mask] = undefined;
    this.#size--;
    while (this.first < this.next && this.#slots[this.first & this.#mask] === undefined) this.first++;
  }

  /** Visits the calls in number order. The visitor may remove the call that it was given. */
  visitAll(visit: (call: Call) => void): void {
    for (let number = this.first; number < this.next; number++) {
      const call = this.find(number);
      if (call !== undefined) visit(call);
    }
  }

  #grow(): void {
    const slots = new Array<Call | undefined>(this.#slots.length * 2).fill(undefined);
    const mask = slots.length - 1;
    for (let number = this.first; number < this.next; number++) slots[number & mask] = this.#slots[number & this.#mask];
    this.#slots = slots;
    this.#mask = mask;
  }
}
