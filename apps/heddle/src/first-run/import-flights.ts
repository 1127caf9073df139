// Brings the 20,000 flights into a node through the SDK, once, each as a saga over its two airports.
//
// Every saga has an id of its own, so importing again changes nothing: a run that stopped halfway is completed by the next
// one. How many have ended is seen from the airports' own counts, without sending anything.
import type { Heddle } from "@heddle/client";
import type flights from "@heddle-examples/flights";
import type { AirportState } from "@heddle-examples/flights";
import { type Flight, sagaOf } from "@heddle-examples/flights/flights";

type FlightsClient = Heddle<typeof flights>;
type AirportStates = readonly (readonly [entity: string, state: AirportState])[];

export interface FlightsImport {
  /** Whether everything was there before. */
  readonly wasThere: boolean;
  readonly flights: number;
  readonly airports: number;
  /** Flights that arrived, and flights that came back. */
  readonly committed: number;
  readonly compensated: number;
  /** Sagas that were there already. */
  readonly known: number;
  readonly tookMs: number;
}

/** Sagas that are under way at a time. */
export const flightCallers = 1_000;

/**
 * The first of the flights has the place `firstIndex`; all before it have ended.
 * Errors: what the SDK throws; a saga that is stuck throws too, because every flight can come back.
 */
export async function importFlights(
  db: FlightsClient,
  all: readonly Flight[],
  onProgress: (flights: number) => void,
  firstIndex = 0,
): Promise<FlightsImport> {
  const startedAt = performance.now();
  const airports = airportsOf(all).length;
  let known = 0;
  let committed = 0;
  let compensated = 0;
  let next = 0;
  let done = 0;
  const caller = async () => {
    while (next < all.length) {
      const index = next++;
      const { id, input } = sagaOf(all[index]!, firstIndex + index);
      const { resultType, duplicate } = await db.runSaga("flight", id, input);
      if (resultType === "STUCK") throw new Error(`the saga ${id} is stuck: npx heddle sagas show ${id}`);
      if (resultType === "COMMITTED") committed++;
      else compensated++;
      if (duplicate) known++;
      if (++done % flightCallers === 0) onProgress(done);
    }
  };
  await Promise.all(Array.from({ length: Math.min(flightCallers, all.length) }, caller));
  const tookMs = performance.now() - startedAt;
  return { wasThere: false, flights: all.length, airports, committed, compensated, known, tookMs };
}

/** What is there of flights that have ended, as the airports count them. */
export function endedFlights(states: AirportStates): FlightsImport {
  const { committed, compensated } = countOf(states);
  const flights = committed + compensated;
  return { wasThere: true, flights, airports: states.length, committed, compensated, known: flights, tookMs: 0 };
}

/** The state of every airport that the flights name. */
export function airportStates(db: FlightsClient, all: readonly Flight[]): Promise<AirportStates> {
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

// A saga that is under way has departed and neither arrived nor come back, so it counts in neither.
function countOf(states: AirportStates): { committed: number; compensated: number } {
  let committed = 0;
  let compensated = 0;
  for (const [, { arrivals, cameBack }] of states) {
    committed += arrivals;
    compensated += cameBack;
  }
  return { committed, compensated };
}
