// The bank's rules, in the way that a user of Heddle writes them down.
import type { AnyContext, State } from "@heddle/domain";
import { compileContext } from "@heddle/domain/internal";
import { command, given } from "@heddle/testkit";
import { describe, expect, expectTypeOf, it } from "vitest";
import bank, { Account, accounts } from "./index.ts";

const credited = (amount: number) => ({ type: "Credited", payload: { amount } }) as const;
const debited = (amount: number) => ({ type: "Debited", payload: { amount } }) as const;

describe("bank: balance", () => {
  it("P3 is never negative, whoever debits", () => {
    given(Account, [credited(50)])
      .when(debited(51))
      .thenRejected("balance is never negative")
      .thenState({ balance: 50 });
    given(Account, [credited(50)])
      .when(debited(50))
      .thenState({ balance: 0 });
  });

  it("P3 is never negative in between either: the order inside of an append counts", () => {
    given(Account)
      .when([debited(5), credited(5)])
      .thenRejected("balance is never negative")
      .thenState({ balance: 0 });
    given(Account)
      .when([credited(5), debited(5)])
      .thenState({ balance: 0 });
  });
});

describe("bank: deposit and withdraw", () => {
  it("a deposit credits what was paid in, with its currency and reference", () => {
    const input = { amount: 50, currency: "EUR", reference: "salary" };
    given(Account)
      .when(command("Deposit", input))
      .thenEvents([{ type: "Credited", payload: input }])
      .thenState({ balance: 50 });
  });

  it("a withdrawal debits what is there", () => {
    given(Account, [credited(50)])
      .when(command("Withdraw", { amount: 20 }))
      .thenEvents([{ type: "Debited", payload: { amount: 20 } }])
      .thenState({ balance: 30 });
  });

  it("a withdrawal of more than is there is rejected, with what is there and what was asked", () => {
    given(Account, [credited(50)])
      .when(command("Withdraw", { amount: 51 }))
      .thenRejected("INSUFFICIENT_FUNDS", { balance: 50, asked: 51 })
      .thenState({ balance: 50 });
  });
});

describe("bank: amounts", () => {
  it.each([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])("P7 %d is not an amount", (amount) => {
    given(Account).when(credited(amount)).thenInvalid("amount");
    given(Account).when(command("Withdraw", { amount })).thenInvalid("amount");
  });

  it.each(["", "eur", "EURO", "€"])("P7 %j is not a currency", (currency) => {
    given(Account)
      .when({ type: "Credited", payload: { amount: 1, currency } })
      .thenInvalid("currency");
  });
});

// #region rows
describe("bank: accounts", () => {
  it("have a row each, with balance, movements, and the time of the last one", () => {
    given(accounts, [
      { entity: "account/alice", type: "Credited", payload: { amount: 50 }, time: 1 },
      { entity: "account/bob", type: "Credited", payload: { amount: 5 }, time: 2 },
      { entity: "account/alice", type: "Debited", payload: { amount: 20 }, time: 3 },
    ]).thenRows([
      { account: "account/alice", balance: 30, movements: 2, changed_at: 3 },
      { account: "account/bob", balance: 5, movements: 1, changed_at: 2 },
    ]);
  });
});
// #endregion rows

describe("bank: the context", () => {
  it("can be served, and its types reach a client", () => {
    expect(compileContext(bank).aggregateNames).toEqual(["Account"]);
    expectTypeOf<typeof bank>().toExtend<AnyContext>();
    expectTypeOf<State<typeof bank, "Account">>().toEqualTypeOf<{ balance: number }>();
  });
});
