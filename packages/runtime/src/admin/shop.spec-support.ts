// A domain for the tests of this folder: two aggregates, a rule, a command, and a schema that does not take its own output.
import { command, defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

export const Stock = defineAggregate("Stock", {
  version: 1,
  initial: () => ({ left: 0 }),
  events: {
    Received: event(z.object({ quantity: z.int().positive() }), (s, e) => ({ left: s.left + e.quantity })),
    Sold: event(z.object({ quantity: z.int().positive() }), (s, e) => {
      if (e.quantity === 13) throw new Error("thirteen cannot be sold");
      return { left: s.left - e.quantity };
    }),
  },
  invariants: { "stock is never negative": (s) => s.left >= 0 },
  commands: { Sell: command(z.object({ quantity: z.int() }), (_, input) => ({ type: "Sold", payload: input })) },
});

export const Price = defineAggregate("Price", {
  version: 1,
  initial: () => ({ cents: 0 }),
  events: {
    // Text comes in, a number is stored: the schema would refuse what it made.
    Set: event(z.object({ cents: z.string().transform(Number) }), (_, e) => ({ cents: e.cents })),
  },
});

export default defineContext("shop", { aggregates: [Stock, Price] });
