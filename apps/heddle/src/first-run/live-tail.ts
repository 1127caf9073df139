// The live tail: a subscription sees what becomes durable while somebody else writes it.
import type { Heddle } from "@heddle/client";
import type flights from "@heddle-examples/flights";
import type { Flight } from "@heddle-examples/flights/flights";
import { type FlightsImport, importFlights } from "./import-flights.ts";

export interface LiveTail {
  readonly imported: FlightsImport;
  /** Departures that the subscription saw, each once and in the order of its airport. */
  readonly seen: number;
  readonly tookMs: number;
  /** What is not as it should be, in words. */
  readonly wrong: readonly string[];
}

/** Imports flights, whose first has the place `firstIndex`, and follows their departures from the first to the last. */
export async function followImport(
  db: Heddle<typeof flights>,
  all: readonly Flight[],
  firstIndex: number,
  onDeparture: (line: string, seen: number) => void,
): Promise<LiveTail> {
  const startedAt = performance.now();
  const ending = new AbortController();
  // #region tail
  const tail = db.subscribe({ kind: "airport", types: ["Departed"], from: "now", signal: ending.signal });
  // #endregion tail
  const wanted = new Set(Array.from(all, (_, index) => `flight-${firstIndex + index}`));
  const seqs = new Map<string, number>();
  const wrong: string[] = [];
  const total = wanted.size;
  const following = (async () => {
    for await (const { entity, seq, payload } of tail) {
      const { flight, other, at, delay } = payload;
      if (!wanted.delete(flight)) wrong.push(`${flight} of ${entity} was seen twice, or was not imported`);
      if (seq <= (seqs.get(entity) ?? 0)) wrong.push(`${entity}: ${seq} came behind ${seqs.get(entity)}`);
      seqs.set(entity, seq);
      const from = entity.slice("airport/".length);
      onDeparture(`${at.replace("T", " ")}  ${from} → ${other}  ${lateness(delay)}`, total - wanted.size);
      if (wanted.size === 0) return;
    }
  })();
  const imported = await importFlights(db, all, () => {}, firstIndex);
  const timer = setTimeout(() => ending.abort(), patienceMs);
  try {
    await following;
  } catch (error) {
    if (!ending.signal.aborted) throw error;
    wrong.push(`${wanted.size} departures were never seen, the first: ${[...wanted][0]}`);
  } finally {
    clearTimeout(timer);
  }
  return { imported, seen: total - wanted.size, tookMs: performance.now() - startedAt, wrong };
}

/** What is not seen so long after the last flight has ended will not be. */
const patienceMs = 30_000;

function lateness(minutes: number): string {
  if (minutes === 0) return "on time";
  return minutes > 0 ? `${minutes} min late` : `${-minutes} min early`;
}
