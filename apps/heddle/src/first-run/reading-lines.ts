// What the first run says of the SQL answers and of the live tail.
import type { HourOfDay } from "@heddle-examples/flights/flights";
import type { Terminal } from "../terminal.ts";
import { count, counted, duration, table } from "../text.ts";
import type { SqlAnswers } from "./ask-with-sql.ts";
import type { LiveTail } from "./live-tail.ts";

/** So many of the last departures that the tail sees. */
export const departuresShown = 6;

export function sqlLines({ departures, routes, hours, wrong }: SqlAnswers, { outColours }: Terminal): string[] {
  const { dim, red } = outColours;
  return [
    dim("SELECT origin, destination, count(*), avg(delay) FROM departures GROUP BY origin, destination ORDER BY …"),
    ...table(
      [{ title: "route" }, { title: "flights", align: "right" }, { title: "mean delay", align: "right" }],
      routes.map(({ origin, destination, flights, meanDelay }) => [
        `${origin} → ${destination}`,
        count(flights),
        `${meanDelay.toFixed(1)} min`,
      ]),
    ),
    "",
    dim("SELECT hour, avg(delay) FROM departures GROUP BY hour"),
    ...hourLines(hours),
    ...(wrong.length === 0
      ? [`${count(departures)} rows, and every answer is the one counted from the file alone.`]
      : [red("The answers are not what the file says:"), ...wrong.map((line) => `  ${line}`)]),
  ];
}

const bars = "▁▂▃▄▅▆▇█";

// A bar for each hour of the day: a table of two dozen lines would be looked at by nobody.
function hourLines(hours: readonly HourOfDay[]): string[] {
  const delays = new Map(hours.map(({ hour, meanDelay }) => [hour, meanDelay]));
  const most = hours.reduce((a, b) => (b.meanDelay > a.meanDelay ? b : a));
  const least = hours.reduce((a, b) => (b.meanDelay < a.meanDelay ? b : a));
  const barOf = (delay: number | undefined) => {
    if (delay === undefined) return " ";
    const share = (delay - least.meanDelay) / Math.max(1e-9, most.meanDelay - least.meanDelay);
    return bars[Math.min(bars.length - 1, Math.floor(share * bars.length))]!;
  };
  const clock = (hour: number) => `${String(hour).padStart(2, "0")}:00`;
  const picture = Array.from({ length: 24 }, (_, hour) => barOf(delays.get(hour))).join("");
  return [
    `mean delay by hour  00 ${picture} 23`,
    `  least at ${clock(least.hour)}, ${least.meanDelay.toFixed(1)} min; most at ${clock(most.hour)}, ${most.meanDelay.toFixed(1)} min`,
  ];
}

export function tailLines({ imported, seen, tookMs, wrong }: LiveTail, { outColours }: Terminal): string[] {
  const lines = [
    `${count(imported.flights)} more flights were imported, and the live tail saw ${counted(seen, "departure")} in ${duration(tookMs)}.`,
  ];
  return wrong.length === 0 ? lines : [...lines, ...wrong.map((line) => outColours.red(`  ${line}`))];
}
