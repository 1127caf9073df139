// Goal: tests of projections pass for what a track would do, and fail, saying why, for anything else.
import { defineAggregate, defineProjection, event } from "@heddle/domain";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { given } from "./given.ts";

const amount = z.object({ amount: z.number().positive(), tags: z.array(z.string()).default([]) });
const Account = defineAggregate("Account", {
  version: 1,
  initial: () => 0,
  events: {
    Credited: event(amount, (s) => s),
    Closed: event(z.object({}), (s) => s),
    Noted: event(z.object({}), (s) => s),
  },
});
const parts = {
  version: 1,
  from: [Account],
  columns: { account: "text", balance: "integer", at: "time?" },
  key: ["account"],
} as const;
const accounts = defineProjection("accounts", {
  ...parts,
  on: {
    Credited: (row, e) => ({ account: e.entity, balance: (row?.balance ?? 0) + e.payload.amount, at: e.time }),
    Closed: () => null,
  },
});
const credited = (entity: string, amount: number) =>
  ({ entity, type: "Credited", payload: { amount, tags: [] } }) as const;

describe("given rows", () => {
  it("all rows that the events make, in any order, and those that went are gone", () => {
    given(accounts).thenRows([]);
    given(accounts, [
      credited("account/b", 1),
      credited("account/a", 2),
      { ...credited("account/a", 3), time: 7 },
      { entity: "account/b", type: "Closed", payload: {} },
      { entity: "account/c", type: "Noted", payload: {} },
      credited("account/0", 5),
    ]).thenRows([
      { account: "account/a", balance: 5, at: 7 },
      { account: "account/0", balance: 5, at: 0 },
    ]);
  });

  it.each<[string, () => unknown, string]>([
    [
      "another value",
      () => given(accounts, [credited("account/a", 1)]).thenRows([{ account: "account/a", balance: 2, at: 0 }]),
      "the rows of accounts are not the expected ones",
    ],
    ["a row too few", () => given(accounts, [credited("account/a", 1)]).thenRows([]), "are not the expected ones"],
    [
      "a payload that does not fit",
      () => given(accounts, [credited("account/a", -1)]),
      "the given Credited does not fit its schema: amount",
    ],
    [
      "an event of nobody",
      () => given(accounts, [{ ...credited("account/a", 1), type: "Paid" } as never]),
      "no aggregate can be told that has the event Paid",
    ],
    ["an entity that is none", () => given(accounts, [credited("Account a", 1)]), "is not an entity id"],
  ])("%s fails the test", (_, test, message) => {
    expect(test).toThrow(message);
  });

  it("a function that changes what it is given, or answers differently, fails the test", () => {
    const changes = defineProjection("accounts", {
      ...parts,
      on: {
        Credited: (row, e) => ({
          account: e.entity,
          balance: (e.payload.tags as string[]).push("x") + (row?.balance ?? 0),
        }),
      },
    });
    expect(() => given(changes, [credited("account/a", 1)])).toThrow("changes what it is given");
    const clock = defineProjection("accounts", {
      ...parts,
      on: { Credited: (_, e) => ({ account: e.entity, balance: Date.now() }) },
    });
    expect(() => given(clock, [credited("account/a", 1)])).toThrow("gives different answers");
    const odd = defineProjection("accounts", {
      ...parts,
      on: { Credited: (_, e) => ({ account: e.entity, balance: 0.5 }) },
    });
    expect(() => given(odd, [credited("account/a", 1)])).toThrow("column balance: wanted a whole number");
  });
});
