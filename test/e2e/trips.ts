// Trips of a flight, a hotel and what they cost: the example of docs/how-to/write-a-saga.md.
import { command, defineAggregate, defineContext, defineSaga, event, reject, step } from "@heddle/domain";
import { z } from "zod";

const nothing = z.object({});
const places = z.object({ places: z.int().positive() });
const money = z.object({ amount: z.int().positive() });

export const Flight = defineAggregate("Flight", {
  version: 1,
  initial: () => ({ free: 0 }),
  events: {
    Scheduled: event(places, (s, e) => ({ free: s.free + e.places })),
    SeatTaken: event(nothing, (s) => ({ free: s.free - 1 })),
    SeatGivenBack: event(nothing, (s) => ({ free: s.free + 1 })),
  },
  invariants: { "nobody stands": (s) => s.free >= 0 },
  commands: {
    TakeSeat: command(nothing, (s) => (s.free === 0 ? reject("FULL") : { type: "SeatTaken", payload: {} })),
    GiveSeatBack: command(nothing, () => ({ type: "SeatGivenBack", payload: {} })),
  },
});

export const Hotel = defineAggregate("Hotel", {
  version: 1,
  initial: () => ({ free: 0 }),
  events: {
    RoomsOpened: event(places, (s, e) => ({ free: s.free + e.places })),
    RoomTaken: event(nothing, (s) => ({ free: s.free - 1 })),
    RoomGivenBack: event(nothing, (s) => ({ free: s.free + 1 })),
  },
  invariants: { "a room has one guest": (s) => s.free >= 0 },
});

export const Purse = defineAggregate("Purse", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    Filled: event(money, (s, e) => ({ balance: s.balance + e.amount })),
    Paid: event(money, (s, e) => ({ balance: s.balance - e.amount })),
  },
  commands: {
    Pay: command(money, (s, input) =>
      s.balance < input.amount ? reject("TOO_DEAR", { balance: s.balance }) : { type: "Paid", payload: input },
    ),
  },
});

// #region saga
const trip = z.object({ flight: z.string(), hotel: z.string(), purse: z.string(), price: z.int().positive() });

export const bookTrip = defineSaga("book-trip", {
  input: trip,
  steps: ({ flight, hotel, purse, price }) => [
    // A list is a stage: its steps run side by side.
    [
      step(
        flight,
        { command: "TakeSeat", input: {} },
        { command: "GiveSeatBack", input: {} },
        { aggregate: Flight, timeoutMs: 5_000 },
      ),
      step(hotel, { type: "RoomTaken", payload: {} }, { type: "RoomGivenBack", payload: {} }, { aggregate: Hotel }),
    ],
    // When all of that is done. Nothing undoes the last step: after it, nothing can say no.
    step(purse, { command: "Pay", input: { amount: price } }, null, { aggregate: Purse }),
  ],
});
// #endregion saga

// #region context
export default defineContext("trips", { aggregates: [Flight, Hotel, Purse], sagas: [bookTrip] });
// #endregion context
