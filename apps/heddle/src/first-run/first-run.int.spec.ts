// Goal: `npm start` shows the truth about the 20,000 flights, shows it again without importing anything twice, and
// what it tells the user to try next works as printed.
// Method: the totals are computed here from the JSON file alone, without the code that made the events.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { repository, start, temporaryFolder } from "../run-heddle.spec-support.ts";
import type { NextStep } from "./what-next.ts";

const folders: string[] = [];
const folder = (): string => {
  const made = temporaryFolder();
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const made of folders) fs.rmSync(made, { recursive: true, force: true });
});

const main = path.join(repository, "apps/heddle/src/first-run/main.ts");
const firstRun = (...args: string[]) => start(process.execPath, [main, "--port", "0", ...args]);

interface Result {
  readonly ok: boolean;
  readonly url: string;
  readonly imported: {
    readonly wasThere: boolean;
    readonly committed: number;
    readonly compensated: number;
    readonly known: number;
  };
  readonly wrong: readonly string[];
  readonly busiest: readonly unknown[];
  readonly audit: { readonly aggregates: number; readonly events: number };
  readonly sql: { readonly departures: number; readonly routes: readonly unknown[]; readonly wrong: readonly string[] };
  readonly tail: { readonly seen: number; readonly wrong: readonly string[] } | null;
  readonly next: readonly NextStep[];
}

/**
 * The ten busiest airports, straight from the file: of each day's arrivals an airport takes the first dozen. `again`: so many of
 * its first flights a second time, on other days.
 */
function busiestOfTheFile(again = 0): readonly unknown[] {
  const code = createRequire(path.join(repository, "apps/examples/flights/flights.ts")).resolve("vega-datasets");
  const file = path.join(path.dirname(code), "../data/flights-20k.json");
  const inFile = JSON.parse(fs.readFileSync(file, "utf8")) as Readonly<{
    date: string;
    delay: number;
    origin: string;
    destination: string;
  }>[];
  expect(inFile).toHaveLength(20_000);
  const rows = [...inFile, ...inFile.slice(0, again).map((row) => ({ ...row, date: `again ${row.date}` }))];
  return [...new Set(rows.flatMap((row) => [row.origin, row.destination]))]
    .map((airport) => {
      const departed = rows.filter((row) => row.origin === airport);
      const landed = Map.groupBy(
        rows.filter((row) => row.destination === airport),
        (row) => row.date.replace(/ \d\d:\d\d$/, ""),
      );
      const arrivals = [...landed.values()].reduce((sum, { length }) => sum + Math.min(length, 12), 0);
      const delay = departed.reduce((sum, row) => sum + row.delay, 0);
      return { airport, departures: departed.length, arrivals, meanDelay: delay / departed.length };
    })
    .sort((a, b) => b.departures + b.arrivals - a.departures - a.arrivals || (a.airport < b.airport ? -1 : 1))
    .slice(0, 10);
}

// Each starts processes that load the whole of Heddle, one after another.
describe("npm start", { timeout: 600_000 }, () => {
  it("imports all flights, holds the file's totals, and the second time finds them there", async () => {
    const data = folder();
    const first = await firstRun("--once", "--json", "--data", data).ended;
    expect(first).toMatchObject({ code: 0, said: "" });
    const result = JSON.parse(first.out) as Result;
    expect(result).toMatchObject({
      ok: true,
      imported: { wasThere: false, flights: 20_000, airports: 224, committed: 19_680, compensated: 320, known: 0 },
      measured: { durability: "fsync", callers: 1_000 },
      wrong: [],
      audit: { ok: true, problems: [] },
    });
    expect(result.busiest).toEqual(busiestOfTheFile());
    // One row for each flight that arrived; which of a crowded day's did, nobody knows beforehand.
    expect(result.sql).toMatchObject({ departures: 19_680, wrong: [] });
    expect(result.sql.routes).toHaveLength(5);
    expect(result.tail).toMatchObject({ seen: 500, wrong: [] });

    const second = JSON.parse((await firstRun("--once", "--json", "--data", data).ended).out) as Result;
    expect(second.imported).toMatchObject({ wasThere: true, flights: 20_500, known: 20_500 });
    expect(second).toMatchObject({ ok: true, wrong: [], tail: null, audit: { ok: true, aggregates: 224 } });
    expect(second.busiest).toEqual(busiestOfTheFile(500));
    expect(second.sql).toMatchObject({ departures: second.imported.committed, wrong: [] });
  });

  it("P4, P5: completes an import that was killed, and nothing is there twice", async () => {
    /** The run behind one that was killed. */
    const completed = async (): Promise<Result> => {
      const data = folder();
      const killed = firstRun("--once", "--data", data);
      await new Promise<void>((resolve) => {
        killed.child.stderr!.once("data", () => resolve());
      });
      killed.child.kill("SIGKILL");
      await killed.ended;
      return JSON.parse((await firstRun("--once", "--json", "--data", data).ended).out) as Result;
    };
    // One that had imported everything before it could be killed shows nothing: then another.
    let next = await completed();
    while (next.imported.wasThere) next = await completed();
    expect(next.imported.known).toBeGreaterThan(0);
    expect(next.imported).toMatchObject({ committed: 19_680, compensated: 320 });
    expect(next.wrong).toEqual([]);
    expect(next.busiest).toEqual(busiestOfTheFile());
    expect(next.audit).toMatchObject({ ok: true });
  });

  it("says what it does, stays up, and what it says to try next works as printed; Ctrl-C ends it", async () => {
    const data = folder();
    const running = firstRun("--data", data);
    await running.printed(/Ctrl-C stops it; npm start finds its data again\.\n/);
    const [, text] = await running.printed(/^([\s\S]*)\nThe node is up at/m);
    expect(
      text!
        .replace(/COMPENSATED in .*/, "COMPENSATED in …")
        .replace(/ {2}[\d,]+\/s with/, "  …/s with")
        .split("\n"),
    ).toEqual([
      expect.stringMatching(/^heddle \d+\.\d+\.\d+ starts a node on \//),
      "20,000 flights between 224 airports, each a saga over two of them: 19,680 COMMITTED, 320 COMPENSATED in …",
      "  …/s with durability fsync, 1,000 callers; compensated where the destination had taken its dozen of the day",
      "Every airport's departures and arrivals are those counted from the file alone.",
      "",
      "airport  departures  arrivals  mean delay",
      "ORD           1,095       979     7.5 min",
      "DFW           1,103       936     9.5 min",
      "ATL             846       801     7.8 min",
      "LAX             777       760     9.4 min",
      "PHX             633       646    12.0 min",
      "STL             550       527     9.5 min",
      "DTW             458       473     4.8 min",
      "DEN             452       472    11.9 min",
      "LAS             464       440    10.0 min",
      "MSP             458       427     3.9 min",
      "",
      "INTEGRITY_OK (224 aggregates)",
      "",
      "SELECT origin, destination, count(*), avg(delay) FROM departures GROUP BY origin, destination ORDER BY …",
      "route      flights  mean delay",
      ...Array.from({ length: 5 }, () => expect.stringMatching(/^[A-Z]{3} → [A-Z]{3} +\d+ +-?\d+\.\d min$/)),
      "",
      "SELECT hour, avg(delay) FROM departures GROUP BY hour",
      expect.stringMatching(/^mean delay by hour {2}00 [▁▂▃▄▅▆▇█ ]{24} 23$/),
      expect.stringMatching(/^ {2}least at 0\d:00, -?\d+\.\d min; most at 0\d:00, \d+\.\d min$/),
      "19,680 rows, and every answer is the one counted from the file alone.",
      "",
      'db.subscribe({ kind: "airport", types: ["Departed"], from: "now" })',
      ...Array.from({ length: 6 }, () => expect.stringMatching(/^ {2}2002-01-0\d \S+ {2}[A-Z]{3} → [A-Z]{3} {2}/)),
      expect.stringMatching(/^500 more flights were imported, and the live tail saw 500 departures in /),
      "",
    ]);
    const [busiest] = busiestOfTheFile(500) as readonly [{ readonly departures: number; readonly arrivals: number }];
    const { departures, arrivals } = busiest;
    const [, printed] = await running.printed(/try:\n\n([\s\S]*)\n\nCtrl-C/);
    const commands = new Map(
      printed!.split(/\n\n/).map((step) => {
        const [title, ...lines] = step.split("\n");
        return [title!.replace("# ", ""), lines.join("\n")];
      }),
    );
    const shell = (title: string) => start("sh", ["-c", commands.get(title)!]).ended;
    expect(JSON.parse((await shell("HTTP")).out)).toMatchObject({ state: { departures, arrivals } });
    expect((await shell("SDK")).out).toMatch(new RegExp(`departures: ${departures},\\s+arrivals: ${arrivals},`));
    const history = (await shell("CLI")).out.split("\n");
    expect(history[5]).toMatch(/^2\d{3} .*Airport\.(Departed|Arrived|CameBack) .*"flight":"flight-/);
    expect((await shell("A flight, step by step")).out).toMatch(
      /^flight-0 is COMMITTED[\s\S]*airport\/DTW[\s\S]*airport\/LAS/,
    );
    expect((await shell("Audit")).out).toMatch(/^INTEGRITY_OK \(224 aggregates\)\n/);
    running.child.kill("SIGINT");
    expect(await running.ended).toMatchObject({ code: 0, signal: null });
  });

  it("says how to choose another port when its own is taken, and another folder when that is in use", async () => {
    const data = folder();
    const running = firstRun("--json", "--data", data);
    const [, port] = await running.printed(/"port":(\d+)/);
    const samePort = await start(process.execPath, [main, "--once", "--data", folder(), "--port", port!]).ended;
    expect(samePort.code).toBe(2);
    expect(samePort.said).toBe(
      `heddle: port ${port} is taken: another program listens there, perhaps another npm start\n` +
        "  Choose another one: npm start -- --port 9191, or PORT=9191 npm start.\n",
    );
    const environment = { PORT: port! };
    const byEnvironment = await start(process.execPath, [main, "--once", "--data", folder()], { environment }).ended;
    expect(byEnvironment.said).toContain(`port ${port} is taken`);
    const sameFolder = await firstRun("--once", "--data", data).ended;
    expect(sameFolder.code).toBe(2);
    expect(sameFolder.said).toContain("npm start -- --data ./data/other --port 9191");
    running.child.kill("SIGTERM");
    expect((await running.ended).code).toBe(0);
  });
});
