// The 20,000 real flights of the vega-datasets package, as sagas of the flights context.
//
// The file: US domestic flights from January to March 2001, in order of their date, with delays from -59 to 522 minutes.
// No value is missing and no row comes twice; flights.int.spec.ts holds that. There is no flight number in it, so a
// flight is called by its place in the file.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { SagaInput } from "@heddle/domain";
import type flights from "./index.ts";
import { type AirportState, arrivalsPerDayMax } from "./index.ts";

export interface Flight {
  /** ISO 8601 without a zone, such as `2001-01-01T00:47:00`: local time at the origin. */
  readonly date: string;
  /** In minutes; negative when early. */
  readonly delay: number;
  /** In miles. */
  readonly distance: number;
  /** Three letters, such as `DTW`. */
  readonly origin: string;
  readonly destination: string;
}

/** What the SDK's `runSaga` takes. */
export interface FlightSaga {
  /** The same for the same flight at every run, so that importing again changes nothing. */
  readonly id: string;
  readonly input: SagaInput<typeof flights, "flight">;
}

/** What the airports must have come to when every flight has ended. */
export interface FlightTotals {
  readonly committed: number;
  readonly compensated: number;
  /** By airport. Which flights of a crowded day came back depends on who was first; how many does not. */
  readonly airports: ReadonlyMap<string, { readonly departures: number; readonly arrivals: number }>;
}

export interface BusyAirport {
  readonly airport: string;
  readonly departures: number;
  readonly arrivals: number;
  /** Minutes per departure. */
  readonly meanDelay: number;
}

/** Reads all flights, in the order of the file. Throws if the file is not the one that this was written for. */
export function readFlights(): readonly Flight[] {
  const rows: unknown = JSON.parse(readFileSync(flightsFile(), "utf8"));
  if (!Array.isArray(rows)) throw new Error("flights-20k.json is not a list of flights");
  return rows.map(flightOfRow);
}

/** The first days of the file once more, a year later: what comes in while somebody watches. */
export function flightsOfNextYear(all: readonly Flight[]): readonly Flight[] {
  return all.slice(0, nextYearFlights).map((flight) => ({ ...flight, date: flight.date.replace(/^2001/, "2002") }));
}

const nextYearFlights = 500;

/** One flight as a saga of the domain. */
export function sagaOf({ date, delay, distance, origin, destination }: Flight, index: number): FlightSaga {
  const flight = `flight-${index}`;
  return { id: flight, input: { flight, at: date, delay, distance, origin, destination } };
}

/** Counted from the flights alone, without events, folds or rules: what the node's totals are held against. */
export function totalsOf(all: readonly Flight[]): FlightTotals {
  const airports = new Map<string, { departures: number; arrivals: number }>();
  const arrivalsOn = new Map<string, number>();
  const at = (code: string) => {
    const known = airports.get(code) ?? { departures: 0, arrivals: 0 };
    airports.set(code, known);
    return known;
  };
  let compensated = 0;
  for (const { date, origin, destination } of all) {
    at(origin).departures++;
    const day = `${destination} ${date.slice(0, 10)}`;
    const arrivals = (arrivalsOn.get(day) ?? 0) + 1;
    arrivalsOn.set(day, arrivals);
    if (arrivals <= arrivalsPerDayMax) at(destination).arrivals++;
    else {
      // It names the airport all the same.
      at(destination);
      compensated++;
    }
  }
  return { committed: all.length - compensated, compensated, airports };
}

/** Flights from one airport to another. */
export interface Route {
  readonly origin: string;
  readonly destination: string;
  readonly flights: number;
  /** In minutes. */
  readonly meanDelay: number;
}

/** Flights that left within one hour of the day, 0 to 23. */
export interface HourOfDay {
  readonly hour: number;
  readonly flights: number;
  /** In minutes. */
  readonly meanDelay: number;
}

/** The routes with the most flights, equally busy ones in the order of their letters. */
export function topRoutes(all: readonly Flight[], routesMax: number): readonly Route[] {
  return Array.from(
    Map.groupBy(all, ({ origin, destination }) => `${origin} ${destination}`).values(),
    (flights): Route => ({
      origin: flights[0]!.origin,
      destination: flights[0]!.destination,
      flights: flights.length,
      meanDelay: meanDelayOf(flights),
    }),
  )
    .sort((a, b) => b.flights - a.flights || (`${a.origin} ${a.destination}` < `${b.origin} ${b.destination}` ? -1 : 1))
    .slice(0, routesMax);
}

/** Every hour of the day in which a flight left, in order. */
export function delaysByHour(all: readonly Flight[]): readonly HourOfDay[] {
  return Array.from(
    Map.groupBy(all, ({ date }) => Number(date.slice("2001-01-01T".length, "2001-01-01T00".length))),
    ([hour, flights]): HourOfDay => ({ hour, flights: flights.length, meanDelay: meanDelayOf(flights) }),
  ).sort((a, b) => a.hour - b.hour);
}

function meanDelayOf(flights: readonly Flight[]): number {
  return flights.reduce((sum, { delay }) => sum + delay, 0) / flights.length;
}

/**
 * Whether these flights, by their places, can be those that arrived: on each day an airport takes a dozen, or all if there were
 * fewer; which of them is not determined. In words; empty when they can.
 */
export function arrivalDifferences(all: readonly Flight[], arrived: ReadonlySet<number>): readonly string[] {
  const found: string[] = [];
  for (const index of arrived) if (all[index] === undefined) found.push(`flight-${index}: there is no such flight`);
  const days = Map.groupBy(all.keys(), (index) => `${all[index]!.destination} on ${all[index]!.date.slice(0, 10)}`);
  for (const [day, flights] of days) {
    const there = flights.filter((index) => arrived.has(index)).length;
    const wanted = Math.min(flights.length, arrivalsPerDayMax);
    if (there !== wanted) found.push(`${day}: ${there} arrivals, the file makes ${wanted}`);
  }
  return found;
}

/** How the airports differ from the totals, in words; empty when they do not. */
export function differences(
  states: Iterable<readonly [entity: string, state: AirportState]>,
  { committed, compensated, airports }: FlightTotals,
): readonly string[] {
  const found: string[] = [];
  let arrived = 0;
  let cameBack = 0;
  for (const [entity, state] of states) {
    const wanted = airports.get(entity.slice(entity.indexOf("/") + 1)) ?? { departures: 0, arrivals: 0 };
    for (const what of ["departures", "arrivals"] as const) {
      if (state[what] !== wanted[what]) found.push(`${entity}: ${state[what]} ${what}, the file has ${wanted[what]}`);
    }
    arrived += state.arrivals;
    cameBack += state.cameBack;
  }
  if (arrived !== committed) found.push(`${arrived} flights arrived, ${committed} were to`);
  if (cameBack !== compensated) found.push(`${cameBack} flights came back, ${compensated} were to`);
  return found;
}

/** The airports with the most departures and arrivals, busiest first; equally busy ones in the order of their letters. */
export function busiestAirports(
  states: Iterable<readonly [entity: string, state: AirportState]>,
  airportsMax = 10,
): readonly BusyAirport[] {
  const flightsOf = (airport: BusyAirport) => airport.departures + airport.arrivals;
  return Array.from(states, ([entity, { departures, arrivals, delaySum }]) => ({
    airport: entity.slice(entity.indexOf("/") + 1),
    departures,
    arrivals,
    meanDelay: departures === 0 ? 0 : delaySum / departures,
  }))
    .sort((a, b) => flightsOf(b) - flightsOf(a) || (a.airport < b.airport ? -1 : 1))
    .slice(0, airportsMax);
}

/** The package exports its code only, so the file is found beside it. */
function flightsFile(): string {
  const code = createRequire(import.meta.url).resolve("vega-datasets");
  return join(dirname(code), "..", "data", "flights-20k.json");
}

/** Dates stand in the file as `2001/01/01 00:47`. */
const datePattern = /^(\d{4})\/(\d{2})\/(\d{2}) (\d{2}:\d{2})$/;
const codePattern = /^[A-Z]{3}$/;

function flightOfRow(row: unknown, index: number): Flight {
  const { date, delay, distance, origin, destination } = Object(row) as Record<string, unknown>;
  const parts = datePattern.exec(String(date));
  if (
    parts === null ||
    !Number.isSafeInteger(delay) ||
    !Number.isFinite(distance) ||
    !codePattern.test(String(origin)) ||
    !codePattern.test(String(destination))
  ) {
    throw new Error(`row ${index} of flights-20k.json is not a flight: ${JSON.stringify(row)}`);
  }
  return {
    date: `${parts[1]}-${parts[2]}-${parts[3]}T${parts[4]}:00`,
    delay: delay as number,
    distance: distance as number,
    origin: origin as string,
    destination: destination as string,
  };
}
