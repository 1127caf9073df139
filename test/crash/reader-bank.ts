// The bank with one projection of each kind: rows of one account, rows of one movement, rows that several accounts write to, and
// rows in which a transfer counts when it has ended.
import { defineContext, defineProjection } from "@heddle/domain";
import { Account } from "../../apps/examples/bank/index.ts";

const balances = {
  from: [Account],
  columns: { account: "text", balance: "integer", movements: "integer", last: "text?" },
  key: ["account"],
} as const;

const accounts = defineProjection("accounts", {
  version: 1,
  ...balances,
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

const settled = defineProjection("settled", {
  version: 1,
  ...balances,
  sagas: "settled",
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
  columns: { account: "text", number: "integer", amount: "integer", reference: "text?" },
  key: ["account", "number"],
  keyOf: ({ entity, seq }) => ({ account: entity, number: seq }),
  on: {
    Credited: (_, { entity, seq, payload }) => ({
      account: entity,
      number: seq,
      amount: payload.amount,
      reference: payload.reference ?? null,
    }),
    Debited: (_, { entity, seq, payload }) => ({
      account: entity,
      number: seq,
      amount: -payload.amount,
      reference: payload.reference ?? null,
    }),
  },
});

const currencies = defineProjection("currencies", {
  version: 1,
  from: [Account],
  columns: { currency: "text", credits: "integer", total: "integer" },
  key: ["currency"],
  keyOf: ({ payload }) => payload.currency ?? "none",
  on: {
    Credited: (row, { payload }) => ({
      currency: payload.currency ?? "none",
      credits: (row?.credits ?? 0) + 1,
      total: (row?.total ?? 0) + payload.amount,
    }),
  },
});

export default defineContext("bank", {
  aggregates: [Account],
  projections: [accounts, settled, movements, currencies],
});
