// A domain for the tests of this folder: two aggregates, a rule, a command, an event of two schema versions, and a schema
// that does not take its own output.
import { command, defineAggregate, defineContext, event } from "@heddle/domain";
import { z } from "zod";

export interface StockState {
  readonly left: number;
}

const quantity = z.object({ quantity: z.int().positive() });

export const emptyStock = (): StockState => ({ left: 0 });

export const stockEvents = {
  Received: event(quantity, (s: StockState, e) => ({ left: s.left + e.quantity })),
  Sold: event(quantity, (s: StockState, e) => {
    if (e.quantity === 13) throw new Error("thirteen cannot be sold");
    return { left: s.left - e.quantity };
  }),
  // Once it said what was counted; now it says by how much that is off.
  Adjusted: event(z.object({ by: z.int() }), (s: StockState, e) => ({ left: s.left + e.by }), {
    version: 2,
    upcast: {
      1: (old: { counted: number; expected: number }) => {
        if (old.counted === 13) throw new Error("nobody counts thirteen");
        return { by: old.counted - old.expected };
      },
    },
  }),
};

export const Stock = defineAggregate("Stock", {
  version: 1,
  initial: emptyStock,
  events: stockEvents,
  invariants: { "stock is never negative": (s) => s.left >= 0 },
  commands: { Sell: command(z.object({ quantity: z.int() }), (_, input) => ({ type: "Sold", payload: input })) },
});

export const priceEvents = {
  // Text comes in, a number is stored: the schema would refuse what it made.
  Set: event(z.object({ cents: z.string().transform(Number) }), (_: { cents: number }, e) => ({ cents: e.cents })),
};

export const Price = defineAggregate("Price", { version: 1, initial: () => ({ cents: 0 }), events: priceEvents });

export default defineContext("shop", { aggregates: [Stock, Price] });
