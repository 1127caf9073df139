// The bank with projections whose rows keep what customers wrote: texts that an erasure has to find. In three shapes: a row for
// each account, a row for each movement, and rows that several accounts write to.
import { defineContext, defineProjection } from "@heddle/domain";
import { Account } from "../../apps/examples/bank/index.ts";

const accounts = defineProjection("accounts", {
  version: 1,
  from: [Account],
  columns: { account: "text", balance: "integer", movements: "integer", last: "text?" },
  key: ["account"],
  indexes: [["last"]],
  on: {
    Credited: (row, { entity, payload }) => ({
      account: entity,
      balance: (row?.balance ?? 0) + payload.amount,
      movements: (row?.movements ?? 0) + 1,
      last: payload.reference ?? null,
    }),
    Debited: (row, { entity, payload }) => ({
      account: entity,
      balance: (row?.balance ?? 0) - payload.amount,
      movements: (row?.movements ?? 0) + 1,
      last: payload.reference ?? null,
    }),
  },
});

const movements = defineProjection("movements", {
  version: 1,
  from: [Account],
  columns: { account: "text", number: "integer", amount: "integer", reference: "text?", facts: "json" },
  key: ["account", "number"],
  keyOf: ({ entity, seq }) => ({ account: entity, number: seq }),
  on: {
    Credited: (_, { entity, seq, payload }) => ({
      account: entity,
      number: seq,
      amount: payload.amount,
      reference: payload.reference ?? null,
      facts: { said: payload.reference ?? null },
    }),
    Debited: (_, { entity, seq, payload }) => {
      // Such an event is set aside, and its error has a part of the payload.
      if (payload.amount === 13) throw new Error(`thirteen is not a number: ${payload.reference}`);
      return {
        account: entity,
        number: seq,
        amount: -payload.amount,
        reference: payload.reference ?? null,
        facts: { said: payload.reference ?? null },
      };
    },
  },
});

const currencies = defineProjection("currencies", {
  version: 1,
  from: [Account],
  columns: { currency: "text", credits: "integer", total: "integer", last: "text?" },
  key: ["currency"],
  keyOf: ({ payload }) => payload.currency ?? "none",
  on: {
    Credited: (row, { payload }) => ({
      currency: payload.currency ?? "none",
      credits: (row?.credits ?? 0) + 1,
      total: (row?.total ?? 0) + payload.amount,
      last: payload.reference ?? null,
    }),
  },
});

export default defineContext("bank", { aggregates: [Account], projections: [accounts, movements, currencies] });
