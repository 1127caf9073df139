// A bank for tests of queries: a row for each account, a row for each booking, and an amount that one projection cannot take.
import { defineAggregate, defineContext, defineProjection, event } from "@heddle/domain";
import { z } from "zod";

const money = z.object({ amount: z.int() });

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(money, (s, e) => ({ balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ balance: s.balance - e.amount })),
  },
});

export const accounts = defineProjection("accounts", {
  version: 1,
  from: [Account],
  columns: { account: "text", balance: "integer", movements: "integer", changedAt: "time" },
  key: ["account"],
  indexes: [["balance"]],
  on: {
    Credited: (row, { entity, payload, time }) => ({
      account: entity,
      balance: (row?.balance ?? 0) + payload.amount,
      movements: (row?.movements ?? 0) + 1,
      changedAt: time,
    }),
    Debited: (row, { entity, payload, time }) => ({
      account: entity,
      balance: (row?.balance ?? 0) - payload.amount,
      movements: (row?.movements ?? 0) + 1,
      changedAt: time,
    }),
  },
});

/** The amount that `bookings` cannot take. */
export const unlucky = 13;

export const bookings = defineProjection("bookings", {
  version: 1,
  from: [Account],
  columns: { account: "text", seq: "integer", amount: "integer" },
  key: ["account", "seq"],
  keyOf: ({ entity, seq }) => ({ account: entity, seq }),
  on: {
    Credited: (_, { entity, seq, payload }) => {
      if (payload.amount === unlucky) throw new Error("thirteen is no amount");
      return { account: entity, seq, amount: payload.amount };
    },
  },
});

export default defineContext("bank", { aggregates: [Account], projections: [accounts, bookings] });
