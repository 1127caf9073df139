// The bank with a rule that no account has ever kept.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

const money = z.object({ amount: z.int() });

const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(money, (s, e) => ({ balance: s.balance + e.amount })),
    Debited: event(money, (s, e) => ({ balance: s.balance - e.amount })),
  },
  invariants: { "nobody has anything": (s) => s.balance === 0 },
});

export default defineContext("bank", { aggregates: [Account] });
