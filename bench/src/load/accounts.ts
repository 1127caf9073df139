// What every contestant is given: a thousand bank accounts, and calls that never ask for a balance below zero.
//
// Each run begins with one large credit for every account. What follows alternates between credits and debits of about
// the same size on accounts picked at random, so that the balances wander, by far less than the first credit covers.

export const accountCount = 1_000;

/** More than ten minutes of the fastest scenario take from one account; a thousand of them are still below 2^53. */
export const openingAmount = 1_000_000_000_000;

export const aggregate = "Account";

export const accountNames: readonly string[] = Array.from({ length: accountCount }, (_, i) => `account/${i}`);

export interface LoadEvent {
  readonly type: "Credited" | "Debited";
  readonly payload: { readonly amount: number; readonly currency: string };
}

/** What one call sends for one account, in figures. */
export interface CallTotals {
  events: number;
  credited: number;
  debited: number;
}

/** The event number `n` of a caller, which stands at place `i` in its call. */
export function loadEvent(n: number, i: number): LoadEvent {
  return { type: n & 1 ? "Debited" : "Credited", payload: { amount: 100 + i, currency: "EUR" } };
}

export function openingEvent(): LoadEvent {
  return { type: "Credited", payload: { amount: openingAmount, currency: "EUR" } };
}

/** `batch` events for one account, starting with the caller's event number `n`. Their figures are put into `totals`. */
export function loadEvents(n: number, batch: number, totals: CallTotals): LoadEvent[] {
  const events = new Array<LoadEvent>(batch);
  let credited = 0;
  let debited = 0;
  for (let i = 0; i < batch; i++) {
    const event = loadEvent(n + i, i);
    events[i] = event;
    if (event.type === "Credited") credited += event.payload.amount;
    else debited += event.payload.amount;
  }
  totals.events = batch;
  totals.credited = credited;
  totals.debited = debited;
  return events;
}

export function randomAccount(): number {
  return (Math.random() * accountCount) | 0;
}

/** All accounts in a new random order: a broker's call has one item for each. */
export function shuffledAccounts(order: Uint16Array): Uint16Array {
  for (let i = order.length - 1; i > 0; i--) {
    const j = (Math.random() * (i + 1)) | 0;
    const other = order[i]!;
    order[i] = order[j]!;
    order[j] = other;
  }
  return order;
}
