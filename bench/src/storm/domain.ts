// The storm's bank: accounts that can be frozen, and a saga that moves money between two of them.
import type { Heddle } from "@heddle/client";
import { command, defineAggregate, defineContext, defineSaga, event, reject, step } from "@heddle/domain";
import { z } from "zod";

/** Whole numbers of the smallest unit, so that nothing is ever rounded. */
const money = z.object({ amount: z.int().positive() });

const frozen = () => reject("ACCOUNT_FROZEN");

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0, frozen: false }),
  events: {
    Credited: event(money, (s, e) => ({ ...s, balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ ...s, balance: s.balance - e.amount })),
    Frozen: event(z.object({}), (s) => ({ ...s, frozen: true })),
  },
  invariants: { "balance is never negative": (s) => s.balance >= 0 },
  commands: {
    Deposit: command(money, (s, { amount }) => (s.frozen ? frozen() : { type: "Credited", payload: { amount } })),
    Withdraw: command(money, (s, { amount }) => {
      if (s.frozen) return frozen();
      if (s.balance < amount) return reject("INSUFFICIENT_FUNDS", { balance: s.balance, asked: amount });
      return { type: "Debited", payload: { amount } };
    }),
  },
});

const account = z.string().regex(/^account\/./);

/** What was withdrawn goes back as an event: no rule of the account, frozen meanwhile or not, may keep it away. */
export const transferSaga = defineSaga("transfer", {
  input: money.extend({ from: account, to: account }),
  steps: ({ from, to, amount }) => [
    step(
      from,
      { command: "Withdraw", input: { amount } },
      { type: "Credited", payload: { amount } },
      {
        aggregate: Account,
      },
    ),
    step(to, { command: "Deposit", input: { amount } }, null, { aggregate: Account }),
  ],
});

const stormBank = defineContext("storm-bank", { aggregates: [Account], sagas: [transferSaga] });
export default stormBank;

/** What a storm needs of the SDK. */
export type StormClient = Pick<Heddle<typeof stormBank>, "entity" | "transaction" | "runSaga" | "getMany" | "sagas">;
