// The bank with two projections: a row for each account, and one for each booking, which cannot take one amount.
import { defineContext, defineProjection } from "@heddle/domain";
import { Account } from "../../apps/examples/bank/index.ts";

/** No booking of this amount can be shown: it is set aside. */
export const unlucky = 13;

const accounts = defineProjection("accounts", {
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

function booked(entity: string, seq: number, amount: number) {
  if (Math.abs(amount) === unlucky) throw new Error("thirteen is no amount");
  return { account: entity, seq, amount };
}

const bookings = defineProjection("bookings", {
  version: 1,
  from: [Account],
  columns: { account: "text", seq: "integer", amount: "integer" },
  key: ["account", "seq"],
  keyOf: ({ entity, seq }) => ({ account: entity, seq }),
  on: {
    Credited: (_, { entity, seq, payload }) => booked(entity, seq, payload.amount),
    Debited: (_, { entity, seq, payload }) => booked(entity, seq, -payload.amount),
  },
});

export default defineContext("bank", { aggregates: [Account], projections: [accounts, bookings] });
