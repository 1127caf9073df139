// pairs: a domain whose rules span entities, so that no aggregate can hold them: that is left to transactions.
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import { z } from "zod";

/** One of the cards of a customer, whose credits together stay within a limit. */
export const Card = defineAggregate("Card", {
  version: 1,
  initial: () => ({ credit: 0 }),
  events: { CreditMoved: event(z.object({ by: z.int() }), (s, e) => ({ credit: s.credit + e.by })) },
  commands: {
    Move: command(z.object({ by: z.int() }), (s, { by }) =>
      s.credit + by < 0 ? reject("BELOW_ZERO", { credit: s.credit }) : { type: "CreditMoved", payload: { by } },
    ),
  },
});

/** One of the cabins of a flight, whose passengers together have a bound. */
export const Cabin = defineAggregate("Cabin", {
  version: 1,
  initial: () => ({ taken: 0 }),
  events: { Boarded: event(z.object({ passenger: z.string() }), (s) => ({ taken: s.taken + 1 })) },
});

export default defineContext("pairs", { aggregates: [Card, Cabin] });
