// runTransaction: runs a transaction's function, and commits; again if something that it read has changed.
import { HeddleError } from "@heddle/kernel";
import { Budget } from "./budget.ts";
import { jittered } from "./jitter.ts";
import { whole } from "./options.ts";
import type { Sessions } from "./sessions.ts";
import type { TransactionOptions, TransactionResult } from "./transaction.ts";
import { Attempt, type TransactionFunction } from "./transaction-attempt.ts";
import { Lane } from "./turns.ts";

/** The shortest pause after a conflict with another client, and the longest. */
const conflictPauseMs = 1;
const conflictPauseMsMax = 100;
const attemptsDefault = 10;
const attemptsMax = 1_000;

/** Runs a transaction to its end. */
export async function runTransaction(
  sessions: Sessions,
  run: TransactionFunction,
  options: TransactionOptions = {},
): Promise<TransactionResult<unknown>> {
  const attemptCount = whole("attempts", options.attempts, attemptsDefault, 1, attemptsMax);
  const budget = new Budget(sessions, options);
  const lane = new Lane(sessions.turns, budget);
  try {
    for (let attempts = 1; ; attempts++) {
      const attempt = new Attempt(sessions, budget, lane);
      const outcome = await attempt.make(run, options.id);
      if (outcome.kind === "ended") return outcome.result;
      if (outcome.kind === "committed") {
        const { value, receipts, duplicate } = outcome;
        return { ok: true, value, attempts, receipts, duplicate };
      }
      const { entity } = outcome;
      if (attempts === attemptCount) throw new HeddleError("TRANSACTION_CONFLICT", { entity, attempts });
      // In the turn of this transaction, somebody of another client was quicker: they should not meet again.
      if (await lane.join(entity)) continue;
      await budget.pause(jittered(sessions.ports.random, conflictPauseMs, conflictPauseMsMax, attempts));
    }
  } finally {
    lane.end();
  }
}
