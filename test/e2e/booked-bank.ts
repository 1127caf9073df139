// The bank for tests of queries: besides a row for each account, a row for each booking, and an amount that cannot be one.
import { defineContext, defineProjection } from "@heddle/domain";
import { Account, accounts } from "../../apps/examples/bank/index.ts";

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
