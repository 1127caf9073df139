// `npm start`: a node on embedded defaults, 20,000 real flights in it, and what there is to see.
//
// The node runs in this process, on a data folder that stays: the second start finds its data. The audit is the command
// that anybody can run, in a process of its own beside the node.
import { spawn } from "node:child_process";
import path from "node:path";
import { text as readAll } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Heddle, HeddleError, isHeddleError } from "@heddle/client";
import { type AuditReport, type HeddleNode, startNode, version } from "@heddle/runtime/internal";
import type flights from "@heddle-examples/flights";
import {
  type BusyAirport,
  busiestAirports,
  differences,
  type Flight,
  flightsOfNextYear,
  readFlights,
  totalsOf,
} from "@heddle-examples/flights/flights";
import { Command } from "commander";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { silentProgress, startProgress } from "../progress.ts";
import { reportError, UsageError } from "../report-error.ts";
import { stopSignal } from "../stop-signal.ts";
import { type Terminal, terminalOf } from "../terminal.ts";
import { count, counted, duration, rate, table } from "../text.ts";
import { askWithSql } from "./ask-with-sql.ts";
import { airportStates, endedFlights, type FlightsImport, flightCallers, importFlights } from "./import-flights.ts";
import { followImport, type LiveTail } from "./live-tail.ts";
import { departuresShown, sqlLines, tailLines } from "./reading-lines.ts";
import { shellPath, whatNext } from "./what-next.ts";

interface FirstRunValues {
  readonly data: string;
  readonly port: number;
  readonly once?: boolean;
  readonly json?: boolean;
}

const repository = fileURLToPath(new URL("../../../../", import.meta.url));
const domain = fileURLToPath(import.meta.resolve("@heddle-examples/flights"));
const launcher = fileURLToPath(new URL("../../bin/heddle.js", import.meta.url));

const terminal = terminalOf(process.stdout, process.stderr, process.env);
const program = new Command("npm start --")
  .description("Starts a node, flies 20,000 real flights as sagas, audits them, asks them with SQL, and stays up.")
  .option("--data <folder>", "data folder; made when it is not there", path.join(repository, "data/flights"))
  .option("--port <n>", "port; 0 takes any free one (default: 9090, env: PORT)", wholeNumber(0, 65_535))
  .option("--once", "end when everything was shown")
  .option("--json", "print the results as JSON")
  .exitOverride();

try {
  const values = program.parse().opts<Omit<FirstRunValues, "port"> & { port?: number }>();
  process.exitCode = await firstRun({ ...values, port: values.port ?? portOf(process.env["PORT"]) }, terminal);
} catch (error) {
  process.exitCode = reportError(error, terminal, process.argv.includes("--json"));
}

function portOf(environment: string | undefined): number {
  if (environment === undefined || environment === "") return 9090;
  try {
    return wholeNumber(0, 65_535)(environment);
  } catch {
    throw new UsageError(`PORT is ${JSON.stringify(environment)}`, "Wanted a whole number from 0 to 65535.");
  }
}

async function firstRun(values: FirstRunValues, terminal: Terminal): Promise<ExitCode> {
  const asJson = values.json === true;
  const stop = stopSignal();
  const shownData = shellPath(values.data, process.cwd());
  if (!asJson) terminal.out(`heddle ${version} starts a node on ${shownData}`);
  const node = await start(values);
  try {
    await using db = new Heddle<typeof flights>(`${node.url}/flights`, { clientName: "heddle-first-run" });
    const say = (lines: readonly string[]) => {
      if (!asJson) for (const line of lines) terminal.out(line);
    };
    const { imported, busiest, wrong, all, next } = await fill(db, terminal, asJson);
    say([...importLines(imported, node, terminal), ...totalLines(wrong, terminal), ""]);
    say([...busiestTable(busiest), ""]);
    const audit = await runAudit(values.data);
    say([auditLine(audit, terminal), ""]);
    const sql = await askWithSql(db, all);
    say([...sqlLines(sql, terminal), ""]);
    const tail = next === undefined ? undefined : await followNextYear(db, all, next, terminal, asJson);
    if (tail !== undefined) say([...tailLines(tail, terminal), ""]);
    const ok = audit.ok && [...wrong, ...sql.wrong, ...(tail?.wrong ?? [])].length === 0;
    const commands = whatNext({
      url: node.url,
      data: values.data,
      domain: path.dirname(domain),
      entity: `airport/${busiest[0]!.airport}`,
      saga: "flight-0",
      cwd: process.cwd(),
    });
    if (asJson) {
      const { url, port, durability, shardCount, threadCount } = node;
      const sagas = imported.flights - imported.known;
      const sagasPerSecond = imported.wasThere ? undefined : Math.round((1000 * sagas) / imported.tookMs);
      const measured = { durability, callers: flightCallers, sagasPerSecond };
      terminal.out(
        toJson({
          ok,
          url,
          port,
          data: values.data,
          shardCount,
          threadCount,
          imported,
          measured,
          wrong,
          busiest,
          audit,
          sql,
          tail: tail ?? null,
          next: commands,
        }),
      );
    } else if (values.once !== true) {
      const { bold, dim } = terminal.outColours;
      say([`${bold(`The node is up at ${node.url}.`)} In another terminal, in this folder, try:`]);
      for (const { title, command } of commands) say(["", dim(`# ${title}`), command]);
      say(["", "Ctrl-C stops it; npm start finds its data again."]);
    }
    if (values.once !== true) await stop.asked;
    return ok ? exitCodes.ok : exitCodes.no;
  } finally {
    await node.close();
    stop.done();
  }
}

/** Errors: those of a node, with advice for this command where the usual one would not help. */
async function start({ data, port }: FirstRunValues): Promise<HeddleNode> {
  try {
    return await startNode({ domain, data, port });
  } catch (error) {
    if (isHeddleError(error, "CANNOT_LISTEN") && /EADDRINUSE/.test(error.facts.message)) {
      throw new UsageError(
        `port ${port} is taken: another program listens there, perhaps another npm start`,
        "Choose another one: npm start -- --port 9191, or PORT=9191 npm start.",
      );
    }
    if (error instanceof HeddleError && error.code === "DATA_FOLDER_IN_USE") {
      throw new UsageError(
        `another process has ${data} open, perhaps another npm start`,
        "Stop that one, or give this one a folder of its own: npm start -- --data ./data/other --port 9191.",
      );
    }
    throw error;
  }
}

interface Filled {
  readonly imported: FlightsImport;
  readonly busiest: readonly BusyAirport[];
  readonly wrong: readonly string[];
  /** Every flight that is there. */
  readonly all: readonly Flight[];
  /** What is to come while somebody watches; undefined when it came in an earlier run. */
  readonly next: readonly Flight[] | undefined;
}

async function fill(db: Heddle<typeof flights>, terminal: Terminal, quiet: boolean): Promise<Filled> {
  const file = readFlights();
  const next = flightsOfNextYear(file);
  const there = endedFlights(await airportStates(db, file));
  // Next year's come when all of the file have ended.
  const hasNext = there.flights > file.length;
  const all = hasNext ? [...file, ...next] : file;
  const imported = there.flights >= all.length ? there : await complete(db, all, terminal, quiet);
  const states = await airportStates(db, file);
  const wrong = differences(states, totalsOf(all));
  return { imported, busiest: busiestAirports(states), wrong, all, next: hasNext ? undefined : next };
}

async function complete(
  db: Heddle<typeof flights>,
  all: readonly Flight[],
  terminal: Terminal,
  quiet: boolean,
): Promise<FlightsImport> {
  let progress = silentProgress;
  try {
    return await importFlights(db, all, (done) => {
      if (quiet) return;
      if (progress === silentProgress) {
        progress = startProgress(terminal, { doing: "flying", total: all.length, unit: "flights" });
      }
      progress.at(done);
    });
  } finally {
    progress.stop();
  }
}

async function followNextYear(
  db: Heddle<typeof flights>,
  all: readonly Flight[],
  next: readonly Flight[],
  terminal: Terminal,
  quiet: boolean,
): Promise<LiveTail> {
  const { dim } = terminal.outColours;
  if (!quiet) terminal.out(dim(`db.subscribe({ kind: "airport", types: ["Departed"], from: "now" })`));
  const tail = await followImport(db, next, all.length, (line, seen) => {
    if (!quiet && seen > next.length - departuresShown) terminal.out(`  ${line}`);
  });
  const states = await airportStates(db, all);
  return { ...tail, wrong: [...tail.wrong, ...differences(states, totalsOf([...all, ...next]))] };
}

function importLines(imported: FlightsImport, node: HeddleNode, { outColours }: Terminal): string[] {
  const { flights, airports, committed, compensated, known, tookMs, wasThere } = imported;
  const ends = `${count(committed)} COMMITTED, ${count(compensated)} COMPENSATED`;
  if (wasThere) {
    return [`${count(flights)} flights of ${counted(airports, "airport")} were there already: ${ends}.`];
  }
  const again = known === 0 ? "" : `; ${count(known)} known already`;
  return [
    `${count(flights)} flights between ${counted(airports, "airport")}, each a saga over two of them: ${ends} in ${duration(tookMs)}${again}`,
    outColours.dim(
      `  ${rate(flights - known, tookMs)} with durability ${node.durability}, ${count(flightCallers)} callers; compensated where the destination had taken its dozen of the day`,
    ),
  ];
}

function totalLines(wrong: readonly string[], { outColours }: Terminal): string[] {
  if (wrong.length === 0) return ["Every airport's departures and arrivals are those counted from the file alone."];
  return [outColours.red("The airports are not what the file says:"), ...wrong.map((line) => `  ${line}`)];
}

function auditLine({ ok, aggregates, problemTotal }: AuditReport, { outColours }: Terminal): string {
  const { green, red } = outColours;
  return ok
    ? `${green("INTEGRITY_OK")} (${counted(aggregates, "aggregate")})`
    : `${red("INTEGRITY_FAILED")} (${counted(problemTotal, "problem")})`;
}

function busiestTable(busiest: readonly BusyAirport[]): string[] {
  return table(
    [
      { title: "airport" },
      { title: "departures", align: "right" },
      { title: "arrivals", align: "right" },
      { title: "mean delay", align: "right" },
    ],
    busiest.map(({ airport, departures, arrivals, meanDelay }) => [
      airport,
      count(departures),
      count(arrivals),
      `${meanDelay.toFixed(1)} min`,
    ]),
  );
}

// A process of its own: what it finds then does not rest on anything in the memory of this one.
async function runAudit(data: string): Promise<AuditReport> {
  const child = spawn(process.execPath, [launcher, "audit", "--domain", domain, "--data", data, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const printed = await readAll(child.stdout);
  const report = JSON.parse(printed || "{}") as Partial<AuditReport> & { error?: { message: string } };
  if (report.ok === undefined || report.aggregates === undefined) {
    throw new Error(`the audit failed: ${report.error?.message ?? "it ended without a word"}`);
  }
  return report as AuditReport;
}
