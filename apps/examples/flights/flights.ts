// The 20,000 real flights of the vega-datasets package, as appends to the flights context.
//
// The file: US domestic flights from January to March 2001, in order of their date, with delays from -59 to 522 minutes.
// No value is missing and no row comes twice; flights.int.spec.ts holds that. There is no flight number in it, so a
// flight is called by its place in the file.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { PayloadInput } from "@heddle/domain";
import type flights from "./index.ts";
import type { AirportState } from "./index.ts";

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

/** One append, as the SDK's `appendMany` takes it. */
export interface FlightEvent {
  readonly entity: string;
  readonly aggregate: "Airport";
  readonly type: "Departed" | "Arrived";
  readonly payload: PayloadInput<typeof flights, "Airport", "Departed">;
  /** The same for the same flight at every run, so that importing again changes nothing. */
  readonly id: string;
}

export interface BusyAirport {
  readonly airport: string;
  readonly departures: number;
  readonly arrivals: number;
  /** Minutes per departure or arrival. */
  readonly meanDelay: number;
}

/** Reads all flights, in the order of the file. Throws if the file is not the one that this was written for. */
export function readFlights(): readonly Flight[] {
  const rows: unknown = JSON.parse(readFileSync(flightsFile(), "utf8"));
  if (!Array.isArray(rows)) throw new Error("flights-20k.json is not a list of flights");
  return rows.map(flightOfRow);
}

/** The two appends of one flight: it departed at its origin and arrived at its destination. */
export function flightEvents(flight: Flight, index: number): readonly [FlightEvent, FlightEvent] {
  const common = { flight: `flight-${index}`, at: flight.date, delay: flight.delay, distance: flight.distance };
  return [
    {
      entity: `airport/${flight.origin}`,
      aggregate: "Airport",
      type: "Departed",
      payload: { ...common, other: flight.destination },
      id: `flight-${index}-departed`,
    },
    {
      entity: `airport/${flight.destination}`,
      aggregate: "Airport",
      type: "Arrived",
      payload: { ...common, other: flight.origin },
      id: `flight-${index}-arrived`,
    },
  ];
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
    meanDelay: departures + arrivals === 0 ? 0 : delaySum / (departures + arrivals),
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
