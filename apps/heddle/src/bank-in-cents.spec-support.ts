// The bank with new code that counts in hundredths: every balance is another.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

const money = z.object({ amount: z.int() });

const Account = defineAggregate("Account", {
  version: 2,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(money, (s, e) => ({ balance: s.balance + 100 * e.amount })),
    Debited: event(money, (s, e) => ({ balance: s.balance - 100 * e.amount })),
  },
});

export default defineContext("bank", { aggregates: [Account] });
