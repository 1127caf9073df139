// Goal: the example of docs/explanation/across-entities.md: what a saga has promised and not yet confirmed cannot be spent.
import { command, defineAggregate, event, reject } from "@heddle/domain";
import { given, command as told } from "@heddle/testkit";
import { describe, it } from "vitest";
import { z } from "zod";

const money = z.object({ amount: z.int().positive() });

// #region promise
const Wallet = defineAggregate("Wallet", {
  version: 1,
  initial: () => ({ balance: 0, promised: 0 }),
  events: {
    Debited: event(money, (s, e) => ({ ...s, balance: s.balance - e.amount })),
    CreditPromised: event(money, (s, e) => ({ ...s, promised: s.promised + e.amount })),
    PromiseKept: event(money, (s, e) => ({ balance: s.balance + e.amount, promised: s.promised - e.amount })),
    PromiseDropped: event(money, (s, e) => ({ ...s, promised: s.promised - e.amount })),
  },
  invariants: {
    "nothing is spent that is only promised": (s) => s.balance >= 0,
    "only promises are kept or dropped": (s) => s.promised >= 0,
  },
  commands: {
    Spend: command(money, (s, { amount }) =>
      s.balance < amount ? reject("INSUFFICIENT", { balance: s.balance }) : { type: "Debited", payload: { amount } },
    ),
  },
});
// #endregion promise

const promised = { type: "CreditPromised", payload: { amount: 5 } } as const;
const kept = { type: "PromiseKept", payload: { amount: 5 } } as const;
const dropped = { type: "PromiseDropped", payload: { amount: 5 } } as const;

describe("promised credit", () => {
  it("cannot be spent before it is confirmed", () => {
    given(Wallet, [promised])
      .when(told("Spend", { amount: 1 }))
      .thenRejected("INSUFFICIENT", { balance: 0 });
    given(Wallet, [promised])
      .when({ type: "Debited", payload: { amount: 1 } })
      .thenRejected("nothing is spent that is only promised");
    given(Wallet, [promised, kept])
      .when(told("Spend", { amount: 5 }))
      .thenEvents([{ type: "Debited", payload: { amount: 5 } }]);
  });

  it("can always be taken back until then, and is confirmed once", () => {
    given(Wallet, [promised]).when(dropped).thenState({ balance: 0, promised: 0 });
    given(Wallet, [promised, kept]).when(kept).thenRejected("only promises are kept or dropped");
    given(Wallet, [promised, kept]).when(dropped).thenRejected("only promises are kept or dropped");
  });
});
