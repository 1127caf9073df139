// A transact request, and what its answer means.
import type { TransactionRejection } from "@heddle/protocol";
import {
  hashOfTransaction,
  readTransaction,
  requestKind,
  type TransactFields,
  type WireTransaction,
  writeTransactBody,
} from "@heddle/protocol/internal";
import type { Budget } from "./budget.ts";
import { badReply } from "./link.ts";
import type { Sessions } from "./sessions.ts";

/** What came back: to be looked at with {@link outcomeOf}. */
export type TransactReply = WireTransaction | TransactionRejection;

/**
 * Sends a transaction to the shard that is to coordinate it. Errors: as `Budget.callOptions`, thrown at once or later: it is
 * to be awaited where it is called.
 */
export function send(sessions: Sessions, budget: Budget, fields: TransactFields): Promise<TransactReply> {
  const { knownShardCount } = sessions;
  if (knownShardCount !== undefined) return sendTo(knownShardCount, sessions, budget, fields);
  return sessions.shardCount(budget.options).then((shardCount) => sendTo(shardCount, sessions, budget, fields));
}

function sendTo(
  shardCount: number,
  sessions: Sessions,
  budget: Budget,
  fields: TransactFields,
): Promise<TransactReply> {
  const hash = hashOfTransaction(fields, shardCount);
  return sessions
    .of(hash)
    .request<TransactReply, TransactFields>(
      requestKind.transact,
      hash,
      writeTransactBody,
      fields,
      budget.callOptions(),
      readTransaction,
    );
}

/** Errors: `BAD_REPLY` for what is no answer to a transaction. */
export function outcomeOf(reply: TransactReply): TransactReply {
  if ("results" in reply || reply.code === "TRANSACTION_REJECTED") return reply;
  throw badReply("a rejection that is none of a transaction");
}
