// Target: what a client's calls go to. The same loops drive the floor and Heddle; only this differs.
import type { LoadEvent } from "./accounts.ts";
import type { BookedReceipt } from "./book.ts";

/** A receipt, or what refused the call. */
export type CallResult = ({ readonly ok: true } & BookedReceipt) | { readonly ok: false; readonly code: string };

/** One event for one account, in a call for many. */
export interface ManyItem {
  readonly account: number;
  readonly event: LoadEvent;
}

export interface Target {
  /** One call for one account. Rejects when the outcome is unknown, or with an error that has a `code`. */
  append(caller: number, account: number, events: readonly LoadEvent[]): Promise<CallResult>;
  /** One call for many accounts; one result for each item, in order. Rejects as `append`. */
  appendMany(items: readonly ManyItem[]): Promise<readonly CallResult[]>;
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
  "UNKNOWN_EVENT_TYPE",
  "UNKNOWN_ROUTE",
  "UNSUPPORTED_MEDIA_TYPE",
  "FRAME_TOO_LARGE",
  "DOMAIN_FAILED",
  "OVERLOADED",
]);

export function isRefusal(code: string): boolean {
  return refusals.has(code);
}

/** The code of whatever a call rejected with. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === "string" ? code : "NO_CODE";
}
