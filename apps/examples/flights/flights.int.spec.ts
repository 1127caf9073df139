// Goal: the real file holds what the code that reads it assumes, and every flight in it can be flown.
// Method: reads the file of the installed package; totals are computed here in another way and compared.

import { compileContext, loadContext } from "@heddle/domain/internal";
import { entityIdProblem } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { type BusyAirport, busiestAirports, differences, readFlights, sagaOf, totalsOf } from "./flights.ts";
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
  it("pass the schemas and rules, or come back from a crowded airport, and add up to the totals of the file", async () => {
    const context = compileContext(await loadContext(new URL(".", import.meta.url).pathname));
    const airport = context.aggregates.get("Airport")!;
    const states = new Map<string, AirportState>();
    /** As a shard does it: false when a rule says no. */
    const take = (entity: string, type: string, sent: unknown): boolean => {
      expect(entityIdProblem(entity)).toBeUndefined();
      const event = airport.events.get(type)!;
      const validated = event.validate(sent);
      if (validated.issues !== undefined) expect.unreachable(JSON.stringify(validated.issues));
      const state = event.fold(states.get(entity) ?? airport.initial(), validated.value) as AirportState;
      if (airport.brokenInvariant(state) !== undefined) return false;
      states.set(entity, state);
      return true;
    };
    const ids = new Set<string>();
    for (const [index, flight] of flights.entries()) {
      const { id, input } = sagaOf(flight, index);
      const { origin, destination, ...rest } = input;
      ids.add(id);
      expect(take(`airport/${origin}`, "Departed", { ...rest, other: destination })).toBe(true);
      if (take(`airport/${destination}`, "Arrived", { ...rest, other: origin })) continue;
      expect(take(`airport/${origin}`, "CameBack", { flight: rest.flight, other: destination })).toBe(true);
    }
    expect(ids.size).toBe(20_000);
    const totals = totalsOf(flights);
    expect(totals).toMatchObject({ committed: 19_680, compensated: 320 });
    expect(differences(states, totals)).toEqual([]);
    expect(busiestAirports(states, 224)).toEqual(totalsOfTheFile());
  });
});

/** The same totals without events, folds or entities: for each airport a filter over all flights. */
function totalsOfTheFile(): readonly BusyAirport[] {
  const airports = [...new Set(flights.flatMap((flight) => [flight.origin, flight.destination]))].sort();
  const totals = airports.map((airport) => {
    const from = flights.filter((flight) => flight.origin === airport);
    const to = flights.filter((flight) => flight.destination === airport);
    const days = Map.groupBy(to, ({ date }) => date.slice(0, 10));
    const arrivals = [...days.values()].reduce((sum, day) => sum + Math.min(day.length, 12), 0);
    const meanDelay = from.length === 0 ? 0 : from.reduce((sum, { delay }) => sum + delay, 0) / from.length;
    return { airport, departures: from.length, arrivals, meanDelay };
  });
  return totals.sort((a, b) => b.departures + b.arrivals - (a.departures + a.arrivals));
}
