// Replies of those who carry out transactions: to the caller, and between shards. Made for each transaction, so they are packed
// by hand into bytes that the next one is packed into as well.
import { frameOffset, replyKind } from "./frames.ts";
import { hasStates, packedResultsBytesMax, packResults, packTransaction } from "./packed-results.ts";
import { encodeReply, framedValue } from "./replies.ts";
import type { WireOperationResult } from "./transaction-requests.ts";

const lent = new Uint8Array(4_096);

/** The reply to a transaction, lent until the next one is made. Errors: as `encodeReply`, for states. */
export function encodeTransactionReply(
  call: number,
  results: readonly WireOperationResult[],
  duplicate: boolean,
): Uint8Array {
  if (hasStates(results)) return encodeReply(replyKind.value, call, { results, duplicate });
  const bytes = roomFor(results.length);
  return framedValue(bytes, call, packTransaction(bytes, frameOffset.replyBody, results, duplicate));
}

/** The reply to a shard that asked for a part of a transaction; lent, and errors, as above. */
export function encodeResultsReply(call: number, results: readonly WireOperationResult[]): Uint8Array {
  if (hasStates(results)) return encodeReply(replyKind.value, call, results);
  const bytes = roomFor(results.length);
  return framedValue(bytes, call, packResults(bytes, frameOffset.replyBody, results));
}

function roomFor(count: number): Uint8Array {
  const wanted = frameOffset.replyBody + packedResultsBytesMax(count);
  return wanted <= lent.length ? lent : new Uint8Array(wanted);
}
