// Holder: who keeps an entity for itself for a while, and who waits for that to end. It is a transaction: transactions/hold.ts.
import type { HeddleError } from "@heddle/kernel";

/** Whoever waits for a hold to end. One of `resume`, `refuse` and `expire` is called, once. */
export interface Waiter {
  /** Among all who wait; given when it is enlisted. */
  number: number;
  /** Monotonic time at which the waiting began. */
  readonly since: number;
  /** The hold is gone: to be tried once more, and perhaps to wait again. */
  resume(): void;
  /** The shard stops. */
  refuse(error: HeddleError): void;
  /** It has waited for too long. */
  expire(waitedMs: number): void;
  /** The shard has lost its memory: what is resumed begins from the start. */
  forget(): void;
}

export interface Holder {
  waiters: Waiter[] | undefined;
}
