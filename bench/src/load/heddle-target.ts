// Heddle through its SDK, as an application calls it.

import { Heddle } from "@heddle/client";
import type { Receipt, SagaResult, SagaStepOutcome } from "@heddle/protocol";
import type bank from "@heddle-examples/bank";
import { accountNames, aggregate } from "./accounts.ts";
import type { Transfer, TransferWay } from "./pairs.ts";
import type { Leg, Target, TransferResult } from "./target.ts";

/** `way`: how transfers are made, where they are. */
export async function heddleTarget(port: number, connections: number, way?: TransferWay): Promise<Target> {
  const db = new Heddle<typeof bank>({ host: "127.0.0.1", port, connections });
  await db.ready();
  const options = { aggregate } as const;
  let sagas = 0;
  const bySaga = async (transfer: Transfer): Promise<TransferResult> => {
    const { from, to, amount } = transfer;
    const debited = { type: "Debited", payload: { amount, currency: "EUR" } } as const;
    const credited = { type: "Credited", payload: { amount, currency: "EUR" } } as const;
    const result = await db
      .saga(`transfer-${++sagas}`)
      .step(accountNames[from]!, debited, credited, options)
      .step(accountNames[to]!, credited, debited, options)
      .commit();
    return readSaga(transfer, result);
  };
  const byTransaction = async ({ from, to, amount }: Transfer): Promise<TransferResult> => {
    const payload = { amount, currency: "EUR" };
    const result = await db.transaction((tx) => {
      tx.append(accountNames[from]!, "Debited", payload, options);
      tx.append(accountNames[to]!, "Credited", payload, options);
    });
    if (!result.ok) return { moved: false, code: result.code, legs: [] };
    return { moved: true, legs: [leg(from, -amount, result.receipts[0]!), leg(to, amount, result.receipts[1]!)] };
  };
  return {
    append(_caller, account, events) {
      const entity = db.entity(accountNames[account]!);
      if (events.length > 1) return entity.append(events, options);
      const { type, payload } = events[0]!;
      return entity.append(type, payload, options);
    },
    async appendMany(items) {
      const calls = items.map(
        ({ account, event }) => ({ entity: accountNames[account]!, aggregate, ...event }) as const,
      );
      return db.appendMany(calls);
    },
    transfer: way === "saga" ? bySaga : byTransaction,
    async state(account) {
      const { state, seq } = await db.entity(accountNames[account]!).get(aggregate);
      return { seq, balance: state.balance };
    },
    close: () => db.close(),
  };
}

function leg(account: number, change: number, receipt: Receipt): Leg {
  const sent = { events: 1, credited: Math.max(change, 0), debited: Math.max(-change, 0) };
  return { account, sent, receipt };
}

// What was written: each step that was done, and what undid it.
function readSaga({ from, to, amount }: Transfer, { resultType, steps }: SagaResult): TransferResult {
  const legs: Leg[] = [];
  addLegs(legs, from, -amount, steps[0]!);
  addLegs(legs, to, amount, steps[1]!);
  if (resultType === "COMMITTED") return { moved: true, legs, sagaEnd: resultType };
  return { moved: false, legs, sagaEnd: resultType, code: resultType };
}

function addLegs(legs: Leg[], account: number, change: number, { receipt, compensation }: SagaStepOutcome): void {
  if (receipt !== undefined) legs.push(leg(account, change, receipt));
  if (compensation !== undefined) legs.push(leg(account, -change, compensation));
}
