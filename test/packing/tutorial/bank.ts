// #region domain
import { command, defineAggregate, defineContext, defineProjection, event, reject } from "@heddle/domain";
import { z } from "zod";

const money = z.object({ amount: z.int().positive() });

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(money, (state, e) => ({ balance: state.balance + e.amount })),
    Debited: event(money, (state, e) => ({ balance: state.balance - e.amount })),
  },
  invariants: { "balance is never negative": (state) => state.balance >= 0 },
  commands: {
    Withdraw: command(money, (state, input) =>
      state.balance < input.amount
        ? reject("INSUFFICIENT_FUNDS", { balance: state.balance })
        : { type: "Debited", payload: input },
    ),
  },
});

export const accounts = defineProjection("accounts", {
  version: 1,
  from: [Account],
  columns: { account: "text", balance: "integer" },
  key: ["account"],
  on: {
    Credited: (row, { entity, payload }) => ({ account: entity, balance: (row?.balance ?? 0) + payload.amount }),
    Debited: (row, { entity, payload }) => ({ account: entity, balance: (row?.balance ?? 0) - payload.amount }),
  },
});

export default defineContext("bank", { aggregates: [Account], projections: [accounts], kinds: ["account"] });
// #endregion domain
