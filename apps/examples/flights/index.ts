// flights: what every airport sees of its flights. One entity per airport (`airport/ABQ`). A flight is a saga over two of
// them: it departs from one and arrives at the other, and comes back where the other takes no more flights that day.
import { defineAggregate, defineContext, defineProjection, defineSaga, event, type State, step } from "@heddle/domain";
import { z } from "zod";

/** The three letters of an airport, such as ABQ. */
export const airportCode = z.string().regex(/^[A-Z]{3}$/, "wanted the three letters of an airport, such as ABQ");

const flight = z.string().min(1);

const schedule = z.object({
  /** The local time of the airport that the flight left from, without a zone: the source names none. */
  at: z.iso.datetime({ local: true }),
  /** In minutes; negative when the flight was early. */
  delay: z.int(),
  /** In miles, between the two airports. */
  distance: z.number().nonnegative(),
});

const movement = schedule.extend({
  flight,
  /** The airport at the other end. */
  other: airportCode,
});

const minutesPerDay = 24 * 60;

/** What an airport takes: the sample holds one flight of many, so that a dozen are a crowded day. */
export const arrivalsPerDayMax = 12;

const initial = {
  departures: 0,
  arrivals: 0,
  /** Departures that came back. */
  cameBack: 0,
  /** Minutes, over departures. */
  delaySum: 0,
  /** Arrivals by the day that the flight left on. */
  arrivalsOn: {} as Readonly<Record<string, number>>,
  /** Of the day with the most: a rule that looked at all days would take longer every day. */
  arrivalsOnBusiestDay: 0,
};

export const Airport = defineAggregate("Airport", {
  version: 2,
  initial: () => initial,
  events: {
    Departed: event(movement, (s, e) => ({ ...s, departures: s.departures + 1, delaySum: s.delaySum + e.delay })),
    Arrived: event(movement, (s, e) => {
      const day = e.at.slice(0, "2001-01-01".length);
      const arrived = (s.arrivalsOn[day] ?? 0) + 1;
      return {
        ...s,
        arrivals: s.arrivals + 1,
        arrivalsOn: { ...s.arrivalsOn, [day]: arrived },
        arrivalsOnBusiestDay: Math.max(s.arrivalsOnBusiestDay, arrived),
      };
    }),
    // What undoes a departure does not unmake it: the flight left, and its delay was what it was.
    CameBack: event(z.object({ flight, other: airportCode }), (s) => ({ ...s, cameBack: s.cameBack + 1 })),
  },
  invariants: {
    "no more flights come back than departed": (s) => s.cameBack <= s.departures,
    "an airport takes at most a dozen arrivals a day": (s) => s.arrivalsOnBusiestDay <= arrivalsPerDayMax,
    // A delay of several days is a flight of another day, or a slip in the unit: seconds sent as minutes.
    "the mean delay is at most a day": (s) => Math.abs(s.delaySum) <= minutesPerDay * s.departures,
  },
});

/** Departs from the origin, arrives at the destination; comes back if the destination says no. */
export const flightSaga = defineSaga("flight", {
  input: schedule.extend({ flight, origin: airportCode, destination: airportCode }),
  steps: ({ flight, origin, destination, ...schedule }) => [
    step(
      `airport/${origin}`,
      { type: "Departed", payload: { flight, other: destination, ...schedule } },
      { type: "CameBack", payload: { flight, other: destination } },
      { aggregate: Airport },
    ),
    step(`airport/${destination}`, { type: "Arrived", payload: { flight, other: origin, ...schedule } }, null, {
      aggregate: Airport,
    }),
  ],
});

// #region departures
/**
 * A row for each flight that arrived: those whose saga came back leave none. Airports are told by their letters, times as they
 * stand on the boards there.
 */
export const departures = defineProjection("departures", {
  version: 1,
  from: [Airport],
  columns: {
    flight: "text",
    origin: "text",
    destination: "text",
    at: "text",
    hour: "integer",
    delay: "integer",
    distance: "real",
    departed_at: "time",
  },
  key: ["flight"],
  indexes: [["origin", "destination"], ["hour"]],
  sagas: "settled",
  keyOf: ({ payload }) => payload.flight,
  on: {
    Departed: (_, { entity, payload: { flight, other, at, delay, distance }, time }) => ({
      flight,
      origin: entity.slice("airport/".length),
      destination: other,
      at,
      hour: Number(at.slice("2001-01-01T".length, "2001-01-01T00".length)),
      delay,
      distance,
      departed_at: time,
    }),
  },
});
// #endregion departures

const flights = defineContext("flights", {
  aggregates: [Airport],
  sagas: [flightSaga],
  projections: [departures],
  kinds: ["airport"],
});
export default flights;

/** What is known about one airport. */
export type AirportState = State<typeof flights, "Airport">;
