// Brings the 20,000 flights into a node through the SDK, once.
//
// Every event has an id of its own, so importing again changes nothing: a run that stopped halfway is completed by the
// next one. That all of them are there is seen from the airports' own counts, without sending anything.
import { committed, type Heddle } from "@heddle/client";
import type flights from "@heddle-examples/flights";
import type { AirportState } from "@heddle-examples/flights";
import { type Flight, flightEvents } from "@heddle-examples/flights/flights";

type FlightsClient = Heddle<typeof flights>;

export interface FlightsImport {
  /** Whether everything was there before. */
  readonly wasThere: boolean;
  readonly flights: number;
  readonly airports: number;
  /** Events written now. */
  readonly imported: number;
  /** Events that were there already. */
  readonly known: number;
  readonly tookMs: number;
}

/** Flights of one `appendMany`; each is two appends of one event. */
export const flightsPerCall = 1_000;

/** Errors: what the SDK throws; a rejection throws too, because every flight is good. */
export async function importFlights(
  db: FlightsClient,
  all: readonly Flight[],
  onProgress: (flights: number) => void,
): Promise<FlightsImport> {
  const startedAt = performance.now();
  const airports = airportsOf(all).length;
  const there = count(await airportStates(db, all));
  if (there.departures === all.length && there.arrivals === all.length) {
    const tookMs = performance.now() - startedAt;
    return { wasThere: true, flights: all.length, airports, imported: 0, known: 2 * all.length, tookMs };
  }
  let imported = 0;
  for (let from = 0; from < all.length; from += flightsPerCall) {
    const items = all.slice(from, from + flightsPerCall).flatMap((flight, index) => flightEvents(flight, from + index));
    const results = await db.appendMany(items);
    for (const result of results) if (!committed(result).duplicate) imported++;
    onProgress(Math.min(from + flightsPerCall, all.length));
  }
  const tookMs = performance.now() - startedAt;
  return { wasThere: false, flights: all.length, airports, imported, known: 2 * all.length - imported, tookMs };
}

/** The state of every airport that the flights name. */
export function airportStates(
  db: FlightsClient,
  all: readonly Flight[],
): Promise<(readonly [entity: string, state: AirportState])[]> {
  return Promise.all(
    airportsOf(all).map(async (airport) => {
      const entity = db.entity(`airport/${airport}`);
      return [entity.id, (await entity.get("Airport")).state] as const;
    }),
  );
}

function airportsOf(all: readonly Flight[]): string[] {
  return [...new Set(all.flatMap(({ origin, destination }) => [origin, destination]))];
}

function count(states: readonly (readonly [string, AirportState])[]): { departures: number; arrivals: number } {
  let departures = 0;
  let arrivals = 0;
  for (const [, state] of states) {
    departures += state.departures;
    arrivals += state.arrivals;
  }
  return { departures, arrivals };
}
