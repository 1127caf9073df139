// flights: what every airport sees of its flights. One entity per airport (`airport/ABQ`), two events per flight: it
// departed at one airport and arrived at the other.
import { defineAggregate, defineContext, event, type State } from "@heddle/domain";
import { z } from "zod";

/** The three letters of an airport, such as ABQ. */
export const airportCode = z.string().regex(/^[A-Z]{3}$/, "wanted the three letters of an airport, such as ABQ");

const movement = z.object({
  flight: z.string().min(1),
  /** The airport at the other end. */
  other: airportCode,
  /** The local time of the airport that the flight left from, without a zone: the source names none. */
  at: z.iso.datetime({ local: true }),
  /** In minutes; negative when the flight was early. */
  delay: z.int(),
  /** In miles, between the two airports. */
  distance: z.number().nonnegative(),
});

const minutesPerDay = 24 * 60;

export const Airport = defineAggregate("Airport", {
  version: 1,
  initial: () => ({ departures: 0, arrivals: 0, delaySum: 0 }),
  events: {
    Departed: event(movement, (s, e) => ({
      departures: s.departures + 1,
      arrivals: s.arrivals,
      delaySum: s.delaySum + e.delay,
    })),
    Arrived: event(movement, (s, e) => ({
      departures: s.departures,
      arrivals: s.arrivals + 1,
      delaySum: s.delaySum + e.delay,
    })),
  },
  invariants: {
    "counts are never negative": (s) => s.departures >= 0 && s.arrivals >= 0,
    // A delay of several days is a flight of another day, or a slip in the unit: seconds sent as minutes.
    "the mean delay is at most a day": (s) => Math.abs(s.delaySum) <= minutesPerDay * (s.departures + s.arrivals),
  },
});

const flights = defineContext("flights", { aggregates: [Airport] });
export default flights;

/** What is known about one airport; `delaySum` in minutes, over departures and arrivals. */
export type AirportState = State<typeof flights, "Airport">;
