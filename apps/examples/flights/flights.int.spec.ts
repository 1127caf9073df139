// Goal: the real file holds what the code that reads it assumes, and every flight in it can be appended.
// Method: reads the file of the installed package; totals are computed here in another way and compared.

import { compileContext, loadContext } from "@heddle/domain/internal";
import { entityIdProblem } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { type BusyAirport, busiestAirports, flightEvents, readFlights } from "./flights.ts";
import type { AirportState } from "./index.ts";

const flights = readFlights();

describe("flights: the file", () => {
  it("holds 20,000 flights between 224 airports, in order of their date, none twice", () => {
    expect(flights).toHaveLength(20_000);
    expect(new Set(flights.flatMap((flight) => [flight.origin, flight.destination])).size).toBe(224);
    expect(new Set(flights.map((flight) => JSON.stringify(flight))).size).toBe(20_000);
    const dates = flights.map((flight) => flight.date);
    expect(dates).toEqual(dates.toSorted());
    expect([dates[0], dates.at(-1)]).toEqual(["2001-01-01T00:47:00", "2001-03-31T22:27:00"]);
  });

  it("has delays from -59 to 522 whole minutes, and no flight to where it came from", () => {
    const delays = flights.map((flight) => flight.delay);
    expect([Math.min(...delays), Math.max(...delays)]).toEqual([-59, 522]);
    expect(flights.filter((flight) => flight.origin === flight.destination)).toEqual([]);
  });
});

describe("flights: all of them", () => {
  it("pass their schemas and rules, and add up to the totals of the file", async () => {
    const context = compileContext(await loadContext(new URL(".", import.meta.url).pathname));
    const airport = context.aggregates.get("Airport")!;
    const states = new Map<string, AirportState>();
    const ids = new Set<string>();
    for (const [index, flight] of flights.entries()) {
      for (const { entity, type, payload, id } of flightEvents(flight, index)) {
        expect(entityIdProblem(entity)).toBeUndefined();
        const event = airport.events.get(type)!;
        const validated = event.validate(payload);
        if (validated.issues !== undefined) expect.unreachable(JSON.stringify(validated.issues));
        const state = event.fold(states.get(entity) ?? airport.initial(), validated.value) as AirportState;
        expect(airport.brokenInvariant(state)).toBeUndefined();
        states.set(entity, state);
        ids.add(id);
      }
    }
    expect(ids.size).toBe(40_000);
    expect(busiestAirports(states, 224)).toEqual(totalsOfTheFile());
  });
});

/** The same totals without events, folds or entities: for each airport a filter over all flights. */
function totalsOfTheFile(): readonly BusyAirport[] {
  const airports = [...new Set(flights.flatMap((flight) => [flight.origin, flight.destination]))].sort();
  const totals = airports.map((airport) => {
    const from = flights.filter((flight) => flight.origin === airport);
    const to = flights.filter((flight) => flight.destination === airport);
    const delays = [...from, ...to].map((flight) => flight.delay);
    const meanDelay = delays.reduce((sum, delay) => sum + delay, 0) / delays.length;
    return { airport, departures: from.length, arrivals: to.length, meanDelay };
  });
  return totals.sort((a, b) => b.departures + b.arrivals - (a.departures + a.arrivals));
}
