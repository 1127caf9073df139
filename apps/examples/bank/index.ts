// bank: accounts whose balance is never negative. The smallest domain that shows every part, and the benchmark's.
import { command, defineAggregate, defineContext, defineProjection, event, reject } from "@heddle/domain";
import { z } from "zod";

/** Amounts are whole numbers of the currency's smallest unit, so that nothing is ever rounded. */
const money = z.object({
  amount: z.int().positive(),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, "wanted a currency of three letters, such as EUR")
    .optional(),
  reference: z.string().optional(),
});

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(money, (s, e) => ({ balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ balance: s.balance - e.amount })),
  },
  invariants: { "balance is never negative": (s) => s.balance >= 0 },
  commands: {
    Deposit: command(money, (_, input) => ({ type: "Credited", payload: input })),
    Withdraw: command(money, (s, input) =>
      s.balance < input.amount
        ? reject("INSUFFICIENT_FUNDS", { balance: s.balance, asked: input.amount })
        : { type: "Debited", payload: input },
    ),
  },
});

// #region accounts
/** A row for each account, to be asked with SQL: who has how much, and since when nothing happened. */
export const accounts = defineProjection("accounts", {
  version: 1,
  from: [Account],
  columns: { account: "text", balance: "integer", movements: "integer", changed_at: "time" },
  key: ["account"],
  indexes: [["balance"]],
  on: {
    Credited: (row, { entity, payload, time }) => ({
      account: entity,
      balance: (row?.balance ?? 0) + payload.amount,
      movements: (row?.movements ?? 0) + 1,
      changed_at: time,
    }),
    Debited: (row, { entity, payload, time }) => ({
      account: entity,
      balance: (row?.balance ?? 0) - payload.amount,
      movements: (row?.movements ?? 0) + 1,
      changed_at: time,
    }),
  },
});
// #endregion accounts

/** What is taken from accounts goes to entities of its own: `fees/all`. */
export default defineContext("bank", { aggregates: [Account], projections: [accounts], kinds: ["account", "fees"] });
