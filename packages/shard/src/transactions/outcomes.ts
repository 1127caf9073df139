// Outcomes: what is answered about the operations of a transaction. States among them may be what cannot be sent: whoever is
// about to write makes the answer before, to know that.
import {
  encodeReply,
  encodeResultsReply,
  hasStates,
  replyKind,
  type WireOperationResult,
} from "@heddle/protocol/internal";
import { asDomainFailure } from "../decide.ts";

/** The reply to the caller, where it is not made for what was written. Errors: `DOMAIN_FAILED`. */
export function encodeOutcome(call: number, results: readonly WireOperationResult[]): Uint8Array {
  return sendable(() => encodeReply(replyKind.value, call, { results, duplicate: false }));
}

/** The reply to the shard that decides; lent. Errors: `DOMAIN_FAILED`. */
export function encodeResults(call: number, results: readonly WireOperationResult[]): Uint8Array {
  return sendable(() => encodeResultsReply(call, results));
}

/** Errors: `DOMAIN_FAILED`. */
export function checkSendable(results: readonly WireOperationResult[]): void {
  if (hasStates(results)) encodeResults(0, results);
}

function sendable(encode: () => Uint8Array): Uint8Array {
  try {
    return encode();
  } catch (thrown) {
    throw asDomainFailure(thrown, () => "the states that a transaction reads");
  }
}
