// Book: what a client was told, account by account. The referee holds the store against it.
//
// B1. What was acknowledged is entered once, when its receipt arrives.
// B2. What was refused is known not to have happened: it is counted by its code, and by no account.
// B3. What is neither (a time-out, a lost connection, an answer that makes no sense) may have happened, whole or not at
//     all. It is kept call by call.
// Not promised: the order of calls of one account.
import type { CallTotals } from "./accounts.ts";

/** What the book needs of a receipt; the SDK's and the HTTP answer's both have it. */
export interface BookedReceipt {
  readonly seq: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly duplicate: boolean;
}

export interface UnknownCall extends CallTotals {
  readonly account: number;
}

/** A book as JSON. Lists by account run along `accounts`. */
export interface BookData {
  readonly accounts: readonly string[];
  readonly calls: readonly number[];
  readonly events: readonly number[];
  readonly credited: readonly number[];
  readonly debited: readonly number[];
  readonly highestSeq: readonly number[];
  /** For each account, the sum of {@link placeOf} over its acknowledged calls, modulo 2^32. */
  readonly places: readonly number[];
  readonly unknown: readonly UnknownCall[];
  /** Calls by the code of their refusal. */
  readonly refused: Readonly<Record<string, number>>;
  /** Calls whose outcome is unknown, by the code of their error. */
  readonly failed: Readonly<Record<string, number>>;
  /** Receipts that answered a retry: the call had taken effect before. */
  readonly duplicates: number;
  /** Sagas by the end that the client was told. */
  readonly sagas: Readonly<Record<string, number>>;
  /** Sagas of which the client does not know the end. */
  readonly unknownSagas: number;
  /** What all balances must add up to at any time: of clients that only move money once the accounts are open. */
  readonly total?: number;
  /** Receipts that contradict what was sent; the first few in words. */
  readonly contradictions: number;
  readonly contradictionExamples: readonly string[];
}

const examplesMax = 10;

export class Book {
  readonly accounts: readonly string[];
  readonly #calls: Float64Array;
  readonly #events: Float64Array;
  readonly #credited: Float64Array;
  readonly #debited: Float64Array;
  readonly #highestSeq: Float64Array;
  readonly #places: Uint32Array;
  readonly #unknown: UnknownCall[] = [];
  readonly #refused: Record<string, number> = {};
  readonly #failed: Record<string, number> = {};
  #duplicates = 0;
  readonly #sagas: Record<string, number> = {};
  #unknownSagas = 0;
  /** See {@link BookData}. */
  total: number | undefined;
  #contradictions = 0;
  readonly #examples: string[] = [];

  /** An empty book, or one that goes on from where an earlier client of the same store left off. */
  constructor(accounts: readonly string[], before?: BookData) {
    this.accounts = accounts;
    const list = (values: readonly number[] | undefined) =>
      values === undefined ? new Float64Array(accounts.length) : Float64Array.from(values);
    this.#calls = list(before?.calls);
    this.#events = list(before?.events);
    this.#credited = list(before?.credited);
    this.#debited = list(before?.debited);
    this.#highestSeq = list(before?.highestSeq);
    this.#places = Uint32Array.from(list(before?.places));
    if (before === undefined) return;
    this.#unknown.push(...before.unknown);
    Object.assign(this.#refused, before.refused);
    Object.assign(this.#failed, before.failed);
    this.#duplicates = before.duplicates;
    Object.assign(this.#sagas, before.sagas);
    this.#unknownSagas = before.unknownSagas;
    this.total = before.total;
    this.#contradictions = before.contradictions;
    this.#examples.push(...before.contradictionExamples);
  }

  acknowledged(account: number, sent: CallTotals, receipt: BookedReceipt): void {
    const { seq, firstSeq, count } = receipt;
    if (count !== sent.events || seq - firstSeq + 1 !== count || !(firstSeq >= 1)) {
      this.#contradict(account, `sent ${sent.events} events, the receipt says ${count}, ${firstSeq} to ${seq}`);
    }
    this.#calls[account]!++;
    this.#events[account]! += sent.events;
    this.#credited[account]! += sent.credited;
    this.#debited[account]! += sent.debited;
    if (seq > this.#highestSeq[account]!) this.#highestSeq[account] = seq;
    this.#places[account]! += placeOf(firstSeq, sent);
    if (receipt.duplicate) this.#duplicates++;
  }

  refused(code: string): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }

  outcomeUnknown(account: number, sent: CallTotals, code: string): void {
    const { events, credited, debited } = sent;
    this.#unknown.push({ account, events, credited, debited });
    this.#failed[code] = (this.#failed[code] ?? 0) + 1;
  }

  sagaEnded(end: string): void {
    this.#sagas[end] = (this.#sagas[end] ?? 0) + 1;
  }

  /** A transfer that may have happened: each account with all that it may have been asked to write. */
  transferUnknown(legs: readonly { account: number; sent: CallTotals }[], code: string, isSaga: boolean): void {
    for (const { account, sent } of legs) this.#unknown.push({ account, ...sent });
    this.#failed[code] = (this.#failed[code] ?? 0) + 1;
    if (isSaga) this.#unknownSagas++;
  }

  get unknownCalls(): number {
    return this.#unknown.length;
  }

  /** Events of an account that are known to be there, and its balance with them. */
  knownState(account: number): { seq: number; balance: number } {
    return { seq: this.#events[account]!, balance: this.#credited[account]! - this.#debited[account]! };
  }

  toData(): BookData {
    return {
      accounts: this.accounts,
      calls: [...this.#calls],
      events: [...this.#events],
      credited: [...this.#credited],
      debited: [...this.#debited],
      highestSeq: [...this.#highestSeq],
      places: [...this.#places],
      unknown: this.#unknown,
      refused: this.#refused,
      failed: this.#failed,
      duplicates: this.#duplicates,
      sagas: this.#sagas,
      unknownSagas: this.#unknownSagas,
      ...(this.total === undefined ? {} : { total: this.total }),
      contradictions: this.#contradictions,
      contradictionExamples: this.#examples,
    };
  }

  #contradict(account: number, problem: string): void {
    this.#contradictions++;
    if (this.#examples.length < examplesMax) this.#examples.push(`${this.accounts[account]}: ${problem}`);
  }
}

/**
 * One number for what a call wrote and where in its account's history it stands. Sums of it are equal only if the same
 * calls stand in the same places, but for one chance in 2^32; totals alone would not see two calls change places.
 */
export function placeOf(firstSeq: number, totals: CallTotals): number {
  let hash = Math.imul(firstSeq >>> 0, 0x9e3779b1) ^ Math.imul(totals.events, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35) ^ Math.imul(totals.credited >>> 0, 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 13), 0x165667b1) ^ Math.imul(totals.debited >>> 0, 0x9e3779b1);
  return (Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) ^ (hash >>> 13)) >>> 0;
}
