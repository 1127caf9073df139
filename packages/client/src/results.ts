// What appends and commands resolve to, and a short way for those who expect success.
import type { HeddleError } from "@heddle/kernel";
import { type AppendResult, type Receipt, RejectedError } from "@heddle/protocol";

export { RejectedError };

/** One item of `appendMany` that failed with an operating error; whether it took effect is as the error says. */
export interface FailedItem {
  readonly ok: false;
  readonly code: "FAILED";
  readonly error: HeddleError;
}

/** `ok` tells a receipt from the rest; `code` tells the rejections and the failure apart. */
export type AppendManyResult = AppendResult | FailedItem;

/**
 * The receipt, where nothing but success is expected: `committed(await alice.append(…)).seq`.
 * Errors: throws {@link RejectedError} for a rejection, and the item's own error for a failed item of `appendMany`.
 */
export function committed(result: AppendManyResult): Receipt {
  if (result.ok) return result;
  if (result.code === "FAILED") throw result.error;
  throw new RejectedError(result);
}
