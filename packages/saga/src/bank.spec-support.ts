// The domain that the specs of this package run: accounts that are never negative, and can be frozen.
import { command, defineAggregate, defineContext, defineSaga, event, reject, step } from "@heddle/domain";
import type { SagaStepFields } from "@heddle/protocol/internal";
import { z } from "zod";

const amount = z.object({ amount: z.number().int().positive() });
const nothing = z.object({});

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0, isFrozen: false }),
  events: {
    Credited: event(amount, (s, e) => ({ ...s, balance: s.balance + e.amount })),
    Debited: event(amount, (s, e) => ({ ...s, balance: s.balance - e.amount })),
    Frozen: event(nothing, (s) => ({ ...s, isFrozen: true })),
    Thawed: event(nothing, (s) => ({ ...s, isFrozen: false })),
  },
  invariants: { "balance is never negative": (s) => s.balance >= 0 },
  commands: {
    Deposit: command(amount, (s, { amount }) =>
      s.isFrozen ? reject("FROZEN", {}) : { type: "Credited", payload: { amount } },
    ),
    Withdraw: command(amount, (s, { amount }) =>
      s.isFrozen ? reject("FROZEN", {}) : { type: "Debited", payload: { amount } },
    ),
  },
});

export const Notes = defineAggregate("Notes", {
  version: 1,
  initial: () => 0,
  events: { Noted: event(z.object({ text: z.string() }), (s) => s + 1) },
});

export const transfer = defineSaga("transfer", {
  input: z.object({ from: z.string(), to: z.string(), amount: z.number().int().positive() }),
  steps: ({ from, to, amount }) => [
    step(
      `account/${from}`,
      { command: "Withdraw", input: { amount } },
      { command: "Deposit", input: { amount } },
      { aggregate: Account },
    ),
    step(`account/${to}`, { command: "Deposit", input: { amount } }, null, { aggregate: "Account" }),
  ],
});

export const bank = defineContext("bank", { aggregates: [Account, Notes], sagas: [transfer] });

export const alice = "account/alice";
export const bob = "account/bob";
export const carol = "account/carol";

/** Takes money from an account as events; is undone by giving it back. */
export function take(entity: string, amount: number): SagaStepFields {
  return {
    entity,
    aggregate: "Account",
    forward: { type: "Debited", payload: { amount } },
    back: { type: "Credited", payload: { amount } },
  };
}

/** Gives money by a command, which a frozen account refuses; is undone by a command, too. */
export function give(entity: string, amount: number): SagaStepFields {
  return {
    entity,
    aggregate: "Account",
    forward: { command: "Deposit", input: { amount } },
    back: { command: "Withdraw", input: { amount } },
  };
}

export function credit(entity: string, amount: number) {
  return { entity, aggregate: "Account", events: [{ type: "Credited", payload: { amount } }] };
}

export function freeze(entity: string) {
  return { entity, aggregate: "Account", events: [{ type: "Frozen", payload: {} }] };
}

export function thaw(entity: string) {
  return { entity, aggregate: "Account", events: [{ type: "Thawed", payload: {} }] };
}
