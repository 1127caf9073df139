// The bank with a fold of another version: snapshots of the first are stale, so that an entity is folded from its log.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

const money = z.object({
  amount: z.int().positive(),
  currency: z.string().optional(),
  reference: z.string().optional(),
});

const Account = defineAggregate("Account", {
  version: 2,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(money, (s, e) => ({ balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ balance: s.balance - e.amount })),
  },
});

export default defineContext("bank", { aggregates: [Account] });
