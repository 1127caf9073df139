// A bank whose accounts can be closed, with a saga that moves what is left elsewhere. What undoes the closing is written
// wrong, on purpose: it forgets that a closed account takes no money. So sagas get stuck, and can be repaired.
import { command, defineAggregate, defineContext, defineSaga, event, reject, step } from "@heddle/domain";
import { z } from "zod";

// #region domain
const money = z.object({ amount: z.int().positive() });

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0, closed: false }),
  events: {
    Credited: event(money, (s, e) => ({ ...s, balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ ...s, balance: s.balance - e.amount })),
    Closed: event(z.object({}), (s) => ({ ...s, closed: true })),
    Reopened: event(z.object({}), (s) => ({ ...s, closed: false })),
  },
  invariants: {
    "balance is never negative": (s) => s.balance >= 0,
    "a closed account is empty": (s) => !s.closed || s.balance === 0,
    "an account holds at most 10000": (s) => s.balance <= 10_000,
  },
  commands: {
    Deposit: command(money, (s, input) => (s.closed ? reject("CLOSED") : { type: "Credited", payload: input })),
    Withdraw: command(money, (s, input) =>
      s.balance < input.amount ? reject("INSUFFICIENT_FUNDS") : { type: "Debited", payload: input },
    ),
  },
});

const closing = z.object({ from: z.string(), to: z.string(), amount: z.int().positive() });

/** Moves what is left on an account to another one, and closes it. */
export const closeAccount = defineSaga("close-account", {
  input: closing,
  steps: ({ from, to, amount }) => [
    step(
      from,
      [
        { type: "Debited", payload: { amount } },
        { type: "Closed", payload: {} },
      ],
      { type: "Credited", payload: { amount } },
      { aggregate: Account },
    ),
    step(
      to,
      { type: "Credited", payload: { amount } },
      { type: "Debited", payload: { amount } },
      { aggregate: Account },
    ),
  ],
});
// #endregion domain

/** The same amount from one account to another. */
export const transfer = defineSaga("transfer", {
  input: closing,
  steps: ({ from, to, amount }) => [
    step(
      from,
      { command: "Withdraw", input: { amount } },
      { command: "Deposit", input: { amount } },
      { aggregate: Account },
    ),
    step(
      to,
      { command: "Deposit", input: { amount } },
      { command: "Withdraw", input: { amount } },
      { aggregate: Account },
    ),
  ],
});

export default defineContext("bank", { aggregates: [Account], sagas: [closeAccount, transfer] });
