// Goal: the wallet of docs/explanation/across-entities.md: what is promised and not yet kept cannot be spent. The saga that
// promises, and what follows it: promised-credit.e2e.spec.ts.
import { given, command as told } from "@heddle/testkit";
import { describe, it } from "vitest";
import { Wallet } from "./promised-credit.ts";

const promised = { type: "CreditPromised", payload: { amount: 5 } } as const;
const kept = { type: "PromiseKept", payload: { amount: 5 } } as const;
const broken = { type: "PromiseBroken", payload: { amount: 5 } } as const;

describe("promised credit", () => {
  it("cannot be spent before the promise is kept", () => {
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

  it("can always be taken back until then, and is kept once", () => {
    given(Wallet, [promised]).when(broken).thenState({ balance: 0, promised: 0 });
    given(Wallet, [promised, kept]).when(kept).thenRejected("only promises are kept or broken");
    given(Wallet, [promised, kept]).when(broken).thenRejected("only promises are kept or broken");
  });
});
