// The bank after it has changed its mind: amounts are cents. What brings older events there is given.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

const money = z.object({ cents: z.int().positive() });

export function bankInCents(fromWholeUnits: (old: { amount: number; reference?: string }) => { cents: number }) {
  const options = { version: 2, upcast: { 1: (old: unknown) => fromWholeUnits(old as { amount: number }) } } as const;
  const Account = defineAggregate("Account", {
    version: 2,
    initial: () => ({ cents: 0 }),
    events: {
      Credited: event(money, (s, e) => ({ cents: s.cents + e.cents }), options),
      Debited: event(money, (s, e) => ({ cents: s.cents - e.cents }), options),
    },
  });
  return defineContext("bank", { aggregates: [Account] });
}
