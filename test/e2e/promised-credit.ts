// Wallets whose credit can be promised before it is theirs: the example of docs/explanation/across-entities.md.
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import { z } from "zod";

const money = z.object({ amount: z.int().positive() });

// #region promise
export const Wallet = defineAggregate("Wallet", {
  version: 1,
  initial: () => ({ balance: 0, promised: 0 }),
  events: {
    Credited: event(money, (s, e) => ({ ...s, balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ ...s, balance: s.balance - e.amount })),
    CreditPromised: event(money, (s, e) => ({ ...s, promised: s.promised + e.amount })),
    PromiseKept: event(money, (s, e) => ({ balance: s.balance + e.amount, promised: s.promised - e.amount })),
    PromiseBroken: event(money, (s, e) => ({ ...s, promised: s.promised - e.amount })),
  },
  invariants: {
    "nothing is spent that is only promised": (s) => s.balance >= 0,
    "only promises are kept or broken": (s) => s.promised >= 0,
  },
  commands: {
    Spend: command(money, (s, { amount }) =>
      s.balance < amount ? reject("INSUFFICIENT", { balance: s.balance }) : { type: "Debited", payload: { amount } },
    ),
  },
});
// #endregion promise

export default defineContext("wallets", { aggregates: [Wallet] });
