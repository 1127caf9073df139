// The domain that the specs of this package run: small enough to be computed again in a test by other means.
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import type { AppendFields } from "@heddle/protocol/internal";
import { z } from "zod";

const amount = z.object({ amount: z.number().int().positive() });

/** Never negative. */
export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0, events: 0 }),
  events: {
    Credited: event(amount, (s, e) => ({ balance: s.balance + e.amount, events: s.events + 1 })),
    Debited: event(amount, (s, e) => ({ balance: s.balance - e.amount, events: s.events + 1 })),
  },
  invariants: {
    "balance is never negative": (s) => s.balance >= 0,
    "balance is below a billion": (s) => s.balance < 1e9,
  },
  commands: {
    Withdraw: command(amount, (state, input) =>
      state.balance < input.amount
        ? reject("INSUFFICIENT_FUNDS", { balance: state.balance, missing: input.amount - state.balance })
        : { type: "Debited", payload: { amount: input.amount } },
    ),
    /** Takes everything out in steps. */
    Close: command(z.object({ steps: z.number().int().positive() }), (state, { steps }) => {
      const step = Math.floor(state.balance / steps);
      return Array.from({ length: steps }, (_, i) => ({
        type: "Debited" as const,
        payload: { amount: i < steps - 1 ? step : state.balance - step * (steps - 1) },
      }));
    }),
    Swap: command(amount, (_, input) => [
      { type: "Credited", payload: { amount: input.amount } },
      { type: "Debited", payload: { amount: input.amount } },
    ]),
  },
});

/** A second aggregate of the same entities. */
export const Notes = defineAggregate("Notes", {
  version: 1,
  initial: (): { texts: readonly string[] } => ({ texts: [] }),
  events: { Noted: event(z.object({ text: z.string() }), (s, e) => ({ texts: [...s.texts, e.text] })) },
});

export const bank = defineContext("bank", { aggregates: [Account, Notes] });

export const alice = "account/alice";
export const bob = "account/bob";

export function credit(entity: string, ...amounts: number[]): AppendFields {
  return { entity, aggregate: "Account", events: amounts.map((amount) => credited(amount)) };
}

export function debit(entity: string, ...amounts: number[]): AppendFields {
  return {
    entity,
    aggregate: "Account",
    events: amounts.map((amount) => ({ type: "Debited", payload: { amount } })),
  };
}

export function note(entity: string, ...texts: string[]): AppendFields {
  return { entity, aggregate: "Notes", events: texts.map((text) => ({ type: "Noted", payload: { text } })) };
}

export function credited(amount: number): { type: "Credited"; payload: { amount: number } } {
  return { type: "Credited", payload: { amount } };
}
