// RecordedBank: what clients do with accounts of the bank, written down for the history checker.
//
// Money moves by appends, transactions and sagas. Each of their events has a reference of its own, by which it is found
// again. A call that is made again, by the same client or by another one, is the same operation: it must come to the same.
import { type Heddle, HeddleError, type SagaResult, type TransactionResult } from "@heddle/client";
import {
  checkHistory,
  describeHistoryFaults,
  type HistoryEvent,
  type HistoryModel,
  HistoryRecorder,
  type SentOperation,
  type SentSaga,
} from "@heddle/testkit";
import type bank from "@heddle-examples/bank";

export type Bank = Heddle<typeof bank>;

/** What the checker folds: the balance of an account. */
const balances: HistoryModel<{ readonly balance: number }> = {
  initial: () => ({ balance: 0 }),
  apply: ({ balance }, { value }) => ({ balance: balance + (value as number) }),
};

/** An amount that goes to an account, or one below zero that is taken from it. */
export interface Move {
  readonly account: string;
  readonly amount: number;
  /** A command looks whether there is enough; an event leaves that to the account's rule. */
  readonly as: "command" | "event";
  readonly reference: string;
}

/** A transaction that may be asked for several times. */
export interface Transfer {
  readonly id: string | undefined;
  readonly moves: readonly Move[];
  /** Balances are read first, and a transfer that would take more than there is gives up by itself. */
  readonly reads: boolean;
  readonly sent: SentOperation;
  result: TransactionResult<unknown> | undefined;
}

export interface SagaStep {
  readonly forward: Move;
  readonly back: Move | null;
}

/** A saga that may be asked for several times. */
export interface SagaCall {
  readonly id: string;
  readonly steps: readonly SagaStep[];
  readonly sent: SentSaga;
  result: SagaResult | undefined;
}

/** A reminder that is due at once, and pays in. */
export interface Reminder {
  readonly name: string;
  readonly at: number;
  readonly move: Move;
}

/** Of these it is certain that nothing was written; after the others anything may be so, until somebody asks again. */
const certainCodes: ReadonlySet<string> = new Set(["TRANSACTION_CONFLICT", "INVALID_REQUEST"]);

export class RecordedBank {
  readonly recorder = new HistoryRecorder();
  /** What was put into accounts from outside, less what was taken out. */
  money = 0;
  readonly #accounts = new Set<string>();
  #references = 0;

  get accounts(): string[] {
    return [...this.#accounts];
  }

  move(account: string, amount: number, as: Move["as"] = "command"): Move {
    this.#accounts.add(account);
    return { account, amount, as, reference: `r${++this.#references}` };
  }

  /** Money from outside. */
  async put(db: Bank, account: string, amount: number): Promise<void> {
    const move = this.move(account, amount);
    const write = { entity: account, events: [eventOf(move)] };
    const sent = this.recorder.send("outside", "append", [write]);
    const { type, payload } = appendOf(move);
    const receipt = await db.entity(account).append(type, payload, { id: `put:${move.reference}` });
    if (!receipt.ok) throw new Error(`${account} did not take ${amount}: ${receipt.code}`);
    sent.answer("ok", { writes: [{ ...write, firstSeq: receipt.firstSeq }] });
    this.money += amount;
  }

  async balance(db: Bank, account: string, client = "reader"): Promise<number> {
    this.#accounts.add(account);
    const sent = this.recorder.send(client, "get");
    const { state, seq } = await db.entity(account).get("Account");
    sent.answer("ok", { reads: [{ entity: account, seq, state: { balance: state.balance } }] });
    return state.balance;
  }

  /** All balances at one moment, added up. */
  async audit(db: Bank, accounts: readonly string[], client = "auditor"): Promise<number> {
    const sent = this.recorder.send(client, "get");
    const states = await db.getMany(accounts.map((entity) => ({ entity, aggregate: "Account" as const })));
    const reads = states.map(({ state, seq }, i) => ({ entity: accounts[i]!, seq, state: { balance: state.balance } }));
    sent.answer("ok", { reads });
    return states.reduce((sum, { state }) => sum + state.balance, 0);
  }

  /**
   * Nothing may be under way any more. Errors: throws unless the money is what was put in, and one order explains everything
   * that anybody was told.
   */
  async check(db: Bank): Promise<void> {
    const stored = await Promise.all(this.accounts.map((account) => storedOf(db, account)));
    const left = stored.flatMap(({ events }) => events).reduce((sum, { value }) => sum + (value as number), 0);
    if (left !== this.money) throw new Error(`${this.money} were put in, ${left} are left`);
    const faults = checkHistory(this.recorder.finish(stored), { model: balances });
    if (faults.length > 0) throw new Error(describeHistoryFaults(faults));
  }

  // ——— transactions

  newTransfer(client: string, id: string | undefined, moves: readonly Move[], reads = false): Transfer {
    const writes = moves.map((move) => ({ entity: move.account, events: [eventOf(move)] }));
    return { id, moves, reads, sent: this.recorder.send(client, "transaction", writes), result: undefined };
  }

  /**
   * Asks for a transfer; asked again, the answer must be the first one. Errors: throws what the client throws.
   */
  async transfer(db: Bank, transfer: Transfer): Promise<TransactionResult<unknown>> {
    const { id, moves, sent } = transfer;
    let seen: { readonly entity: string; readonly seq: number; readonly state: unknown }[] = [];
    let result: TransactionResult<unknown>;
    try {
      result = await db.transaction(
        async (tx) => {
          seen = [];
          for (const { account, amount } of transfer.reads ? moves : []) {
            const { state, seq } = await tx.get(account, "Account");
            seen.push({ entity: account, seq, state: { balance: state.balance } });
            if (state.balance + amount < 0) return tx.reject("NOT_ENOUGH", { account });
          }
          for (const move of moves) {
            const { type, payload } = appendOf(move);
            if (move.as === "event") tx.append(move.account, type, payload);
            else tx.execute(move.account, move.amount < 0 ? "Withdraw" : "Deposit", payload);
          }
          return null;
        },
        { ...(id !== undefined && { id }), attempts: 1_000 },
      );
    } catch (error) {
      if (error instanceof HeddleError && certainCodes.has(error.code)) sent.answer("failed");
      throw error;
    }
    if (transfer.result !== undefined) expectSame(`transaction ${id}`, factsOf(transfer.result), factsOf(result));
    else if (result.ok) {
      const { receipts, duplicate } = result;
      const writes = moves.map((move, i) => {
        return { entity: move.account, events: [eventOf(move)], firstSeq: receipts[i]!.firstSeq };
      });
      // What was read before a repeated commit is of another moment.
      sent.answer("ok", { writes, reads: duplicate ? [] : seen });
    } else sent.answer("rejected", { reads: result.code === "REJECTED" ? seen : [] });
    transfer.result = result;
    return result;
  }

  // ——— reminders

  newReminder(name: string, account: string, amount: number): Reminder {
    const move = this.move(account, amount);
    // Nobody is told of a delivery: it may be at any time from now on.
    this.recorder.send("reminder", "execute", [{ entity: account, events: [eventOf(move)] }]);
    return { name, at: Date.now(), move };
  }

  /** Sets a reminder; resolves when it is off the list again, and then it must have come. */
  async remind(db: Bank, { name, at, move: { account, amount, reference } }: Reminder): Promise<void> {
    const entity = db.entity(account);
    const content = { command: "Deposit", input: { amount, reference } } as const;
    await entity.remind(name, { at, ...content }, { aggregate: "Account", id: reference });
    while ((await entity.reminders()).some((other) => other.name === name));
    const { events } = await storedOf(db, account);
    if (!events.some(({ marker }) => marker === reference)) throw new Error(`${name} is over, and did not come`);
  }

  // ——— sagas

  newSaga(client: string, id: string, steps: readonly SagaStep[]): SagaCall {
    const runs = steps.map(({ forward, back }) => ({
      entity: forward.account,
      forward: [eventOf(forward)],
      back: back === null ? null : [eventOf(back)],
    }));
    return { id, steps, sent: this.recorder.sendSaga(client, id, runs), result: undefined };
  }

  /** Asks for a saga; asked again, the result must be the first one. Errors: throws what the client throws. */
  async saga(db: Bank, call: SagaCall): Promise<SagaResult> {
    const result = await commit(db, call);
    if (call.result === undefined) this.#settle(call, result);
    else expectSame(`saga ${call.id}`, sagaFactsOf(call.result), sagaFactsOf(result));
    return result;
  }

  /** What whoever asks is told by now: an operator may have settled it another way. */
  askAgain(db: Bank, call: SagaCall): Promise<SagaResult> {
    return commit(db, call);
  }

  /** An operator's second try of a stuck saga. */
  async retry(db: Bank, call: SagaCall): Promise<SagaResult> {
    const result = await db.retrySaga(call.id, { reason: "there is money again" });
    this.#settle(call, result);
    return result;
  }

  /** An operator declares the end of a stuck saga. */
  async resolve(db: Bank, call: SagaCall, as: "COMMITTED" | "COMPENSATED"): Promise<void> {
    await db.resolveSaga(call.id, { as, reason: "settled by hand" });
    call.sent.answer("resolved");
  }

  #settle(call: SagaCall, result: SagaResult): void {
    const outcome = ({ COMMITTED: "committed", COMPENSATED: "compensated", STUCK: "stuck" } as const)[
      result.resultType
    ];
    const states = result.steps.map(({ state }) => state);
    call.sent.answer(outcome, states);
    call.result = result;
  }
}

function commit(db: Bank, { id, steps }: SagaCall): Promise<SagaResult> {
  let builder = db.saga(id);
  for (const { forward, back } of steps) {
    const [content, undoing] = [contentOf(forward), back === null ? null : contentOf(back)];
    builder = builder.step(forward.account, content, undoing, { aggregate: "Account" });
  }
  return builder.commit();
}

/** What somebody who asks again must be told as well. */
function factsOf(result: TransactionResult<unknown>): unknown {
  if (!result.ok) return { code: result.code };
  return result.receipts.map(({ seq, firstSeq, position, shard, time }) => ({ seq, firstSeq, position, shard, time }));
}

function sagaFactsOf({ resultType, saga, steps }: SagaResult): unknown {
  const facts = (receipt: SagaResult["steps"][number]["receipt"]) =>
    receipt === undefined ? null : [receipt.seq, receipt.position, receipt.shard, receipt.time];
  return { resultType, saga, steps: steps.map((step) => [step.state, facts(step.receipt), facts(step.compensation)]) };
}

function expectSame(what: string, first: unknown, again: unknown): void {
  const [one, other] = [JSON.stringify(first), JSON.stringify(again)];
  if (one !== other) throw new Error(`${what} came to ${one} first, and to ${other} when it was asked for again`);
}

function eventOf({ amount, reference }: Move): HistoryEvent {
  return { marker: reference, value: amount };
}

function appendOf({ amount, reference }: Move) {
  const type = amount < 0 ? ("Debited" as const) : ("Credited" as const);
  return { type, payload: { amount: Math.abs(amount), reference } };
}

function contentOf(move: Move) {
  const { payload } = appendOf(move);
  if (move.as === "event") {
    return move.amount < 0 ? ({ type: "Debited", payload } as const) : ({ type: "Credited", payload } as const);
  }
  const input = payload;
  return move.amount < 0 ? ({ command: "Withdraw", input } as const) : ({ command: "Deposit", input } as const);
}

/** An account's events as the checker wants them. */
async function storedOf(db: Bank, account: string) {
  const events: HistoryEvent[] = [];
  for await (const { type, payload } of db.entity(account).events({ pageEvents: 1_000 })) {
    const { amount, reference } = payload as { amount: number; reference?: string };
    events.push({ marker: reference ?? "none", value: type === "Debited" ? -amount : amount });
  }
  return { entity: account, events };
}
