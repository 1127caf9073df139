// Asks the flights with SQL: the busiest routes, and how late flights leave by the hour of the day. What comes back is held
// against the file, counted without the projection, the database, or anything else of the node.
import type { Heddle } from "@heddle/client";
import type flights from "@heddle-examples/flights";
import {
  arrivalDifferences,
  delaysByHour,
  type Flight,
  type HourOfDay,
  type Route,
  topRoutes,
} from "@heddle-examples/flights/flights";

type FlightsClient = Heddle<typeof flights>;

export interface SqlAnswers {
  /** Rows of the projection: flights that arrived. */
  readonly departures: number;
  readonly routes: readonly Route[];
  readonly hours: readonly HourOfDay[];
  /** How they differ from the file, in words. */
  readonly wrong: readonly string[];
}

const projection = "departures";
const routesShown = 5;

// #region queries
export const topRoutesSql = `
  SELECT origin, destination, count(*) AS flights, avg(delay) AS meanDelay FROM departures
  GROUP BY origin, destination ORDER BY flights DESC, origin, destination LIMIT ?`;

export const delaysByHourSql = `
  SELECT hour, count(*) AS flights, avg(delay) AS meanDelay FROM departures GROUP BY hour ORDER BY hour`;
// #endregion queries

/** `all`: every flight that was given to the node, by its place. */
export async function askWithSql(db: FlightsClient, all: readonly Flight[]): Promise<SqlAnswers> {
  await untilSeen(db);
  const names = await db.query(`SELECT flight FROM ${projection}`, [], { rowsMax: 2 * all.length });
  const arrived = new Set(names.rows.map(({ flight }) => Number(String(flight).slice("flight-".length))));
  const { rows: routes } = await db.query<Route>(topRoutesSql, [routesShown]);
  const { rows: hours } = await db.query<HourOfDay>(delaysByHourSql);
  // Which flights came back on a crowded day nobody knows beforehand, so those that arrived are picked from the file.
  const ofTheFile = all.filter((_, index) => arrived.has(index));
  return {
    departures: names.rows.length,
    routes,
    hours,
    wrong: [
      ...arrivalDifferences(all, arrived),
      ...rowDifferences("route", routes, topRoutes(ofTheFile, routesShown)),
      ...rowDifferences("hour", hours, delaysByHour(ofTheFile)),
    ],
  };
}

const waitMsMax = 60_000;

/** Resolves when the projection has seen every flight. */
async function untilSeen(db: FlightsClient): Promise<void> {
  const until = performance.now() + waitMsMax;
  for (;;) {
    const listed = (await db.projections()).find((one) => one.projection === projection);
    if (listed?.state === "live" && listed.lagBytes === 0) return;
    if (performance.now() > until)
      throw new Error(`the projection ${projection} is ${listed?.state}: ${listed?.problem}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Means are sums divided: SQL and JavaScript may add up in another order. */
const meanTolerance = 1e-9;

function rowDifferences<R extends Route | HourOfDay>(
  what: string,
  found: readonly R[],
  wanted: readonly R[],
): string[] {
  const fits = (row: R | undefined, other: R | undefined) =>
    row !== undefined &&
    other !== undefined &&
    Math.abs(row.meanDelay - other.meanDelay) < meanTolerance &&
    JSON.stringify({ ...row, meanDelay: 0 }) === JSON.stringify({ ...other, meanDelay: 0 });
  return Array.from({ length: Math.max(found.length, wanted.length) }, (_, index) => index)
    .filter((index) => !fits(found[index], wanted[index]))
    .map(
      (index) => `${what} ${index}: ${JSON.stringify(found[index])}, the file makes ${JSON.stringify(wanted[index])}`,
    );
}
