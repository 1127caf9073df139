// Target: what a client's calls go to. The same loops drive the floor and Heddle; only this differs.
import type { CallTotals, LoadEvent } from "./accounts.ts";
import type { BookedReceipt } from "./book.ts";
import type { Transfer } from "./pairs.ts";

/** A receipt, or what refused the call. */
export type CallResult = ({ readonly ok: true } & BookedReceipt) | { readonly ok: false; readonly code: string };

/** One event for one account, in a call for many. */
export interface ManyItem {
  readonly account: number;
  readonly event: LoadEvent;
}

/** What one account was told of a transfer. */
export interface Leg {
  readonly account: number;
  readonly sent: CallTotals;
  readonly receipt: BookedReceipt;
}

/** `moved` or not, `legs` is everything that was written: of a saga that went back, what it did and what undid it. */
export interface TransferResult {
  readonly moved: boolean;
  /** Why it did not. */
  readonly code?: string;
  readonly legs: readonly Leg[];
  /** How a saga ended. */
  readonly sagaEnd?: string;
}

export interface Target {
  /** One call for one account. Rejects when the outcome is unknown, or with an error that has a `code`. */
  append(caller: number, account: number, events: readonly LoadEvent[]): Promise<CallResult>;
  /** One call for many accounts; one result for each item, in order. Rejects as `append`. */
  appendMany(items: readonly ManyItem[]): Promise<readonly CallResult[]>;
  /** One call that takes from one account and gives to another. Rejects as `append`. Only where one can. */
  transfer?(transfer: Transfer): Promise<TransferResult>;
  /** What an account is, for comparing after a restart. */
  state(account: number): Promise<{ readonly seq: number; readonly balance: number }>;
  close(): Promise<void>;
}

/** Errors after which it is certain that the call changed nothing; after any other it may have taken effect. */
const refusals: ReadonlySet<string> = new Set([
  "INVALID_ENTITY_ID",
  "INVALID_REQUEST",
  "INVALID_PAYLOAD",
  "UNKNOWN_AGGREGATE",
  "UNKNOWN_KIND",
  "UNKNOWN_EVENT_TYPE",
  "UNKNOWN_ROUTE",
  "UNSUPPORTED_MEDIA_TYPE",
  "FRAME_TOO_LARGE",
  "DOMAIN_FAILED",
  "OVERLOADED",
  "TRANSACTION_ABORTED",
  "TRANSACTION_CONFLICT",
  "ENTITY_HELD",
]);

export function isRefusal(code: string): boolean {
  return refusals.has(code);
}

/** The code of whatever a call rejected with. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === "string" ? code : "NO_CODE";
}
