// A transact request, and the time that it may take together with others.
import { HeddleError } from "@heddle/kernel";
import type { TransactionRejection } from "@heddle/protocol";
import {
  hashOfTransaction,
  readTransaction,
  requestKind,
  type TransactFields,
  type WireTransaction,
  writeTransactBody,
} from "@heddle/protocol/internal";
import { badReply } from "./link.ts";
import { readTimeout } from "./options.ts";
import type { CallOptions } from "./session.ts";
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

/** The time of a whole transaction, of which every request gets what is left. */
export class Budget {
  readonly options: CallOptions;
  readonly #sessions: Sessions;
  readonly #timeoutMs: number;
  readonly #deadline: number;

  constructor(sessions: Sessions, options: CallOptions) {
    options.signal?.throwIfAborted();
    this.options = options;
    this.#sessions = sessions;
    this.#timeoutMs = readTimeout(options.timeoutMs, sessions.timeoutMs);
    this.#deadline = sessions.ports.clock.monotonic() + this.#timeoutMs;
  }

  /** Errors: `TIMEOUT`, and the signal's reason. */
  callOptions(): CallOptions {
    const { signal } = this.options;
    signal?.throwIfAborted();
    const leftMs = Math.ceil(this.#deadline - this.#sessions.ports.clock.monotonic());
    if (leftMs <= 0) throw this.#timeout();
    return { timeoutMs: leftMs, signal };
  }

  /** Waits for a promise, as long as there is time. Errors: as `callOptions`. */
  wait<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.options;
    const { clock, timers } = this.#sessions.ports;
    const { promise: ended, resolve, reject } = Promise.withResolvers<T>();
    const onAbort = (): void => reject(signal?.reason);
    const cancel = timers.after(Math.max(0, this.#deadline - clock.monotonic()), () => reject(this.#timeout()));
    signal?.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject);
    return ended.finally(() => {
      cancel();
      signal?.removeEventListener("abort", onAbort);
    });
  }

  #timeout(): HeddleError {
    return new HeddleError("TIMEOUT", { afterMs: this.#timeoutMs });
  }

  /** Ends early when the signal is aborted; whoever goes on hears of that from `callOptions`. */
  pause(ms: number): Promise<void> {
    const { signal } = this.options;
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#sessions.ports.timers.after(ms, end);
      signal?.addEventListener("abort", end, { once: true });
    });
  }
}
