// npm run bench: measures Heddle against the floor in the same minutes, and has a referee look at what it kept.
//
// Owns the order of a run and its exit code. Figures go to standard output, progress to standard error.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "@heddle/runtime";
import { hostFacts, isInMemory } from "./driver/host-facts.ts";
import { measureSyncLatency } from "./driver/preflight.ts";
import { createProgress, type Progress } from "./driver/progress.ts";
import { runReaders } from "./driver/run-readers.ts";
import { runReminders } from "./driver/run-reminders.ts";
import { runRestart } from "./driver/run-restart.ts";
import { type RunContext, runScenario } from "./driver/run-scenario.ts";
import { runSleepers } from "./driver/run-sleepers.ts";
import { runTransfers } from "./driver/run-transfers.ts";
import { type BenchOptions, readOptions, UsageError, usage } from "./options.ts";
import {
  type BenchDocument,
  documentFormat,
  type LoadReport,
  type ReadersReport,
  type RemindersReport,
  type RestartReport,
  type SleepersReport,
  type TransfersReport,
} from "./report/document.ts";
import { renderDocument } from "./report/table.ts";
import { allReached } from "./report/targets.ts";
import { exitCodeOf, exitCodes } from "./report/verdict.ts";
import { loadScenarios } from "./scenarios.ts";
import { histogramResolution } from "./statistics/histogram.ts";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let options: BenchOptions | undefined;
  try {
    options = readOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message}\n\n${usage}`);
    return exitCodes.refused;
  }
  if (options === undefined) {
    console.log(usage);
    return exitCodes.ok;
  }
  const base = path.resolve(options.data ?? os.tmpdir());
  fs.mkdirSync(base, { recursive: true });
  const folder = fs.mkdtempSync(path.join(base, "heddle-bench-"));
  const progress = createProgress(process.stderr);
  const interrupt = () => {
    progress.end();
    // The children end with this process; their files must not stay.
    fs.rmSync(folder, { recursive: true, force: true });
    process.exit(exitCodes.interrupted);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    return await run(options, folder, progress);
  } catch (error) {
    progress.end();
    console.error(`bench: the run was given up: ${error instanceof Error ? error.message : String(error)}`);
    // Children that are still there keep this process alive; they end with it.
    process.exitCode = exitCodes.objection;
    setImmediate(() => process.exit());
    return exitCodes.objection;
  } finally {
    progress.end();
    if (options.keep) console.error(`bench: the data folders are in ${folder}`);
    else fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function run(options: BenchOptions, folder: string, progress: Progress): Promise<number> {
  const startedAt = new Date();
  const host = hostFacts(folder);
  const inMemory = isInMemory(host.fileSystem);
  if (inMemory) progress.note("the data folder is in memory, where a sync costs nothing: choose a disk with --data");
  const preflight = measureSyncLatency(folder);
  if (!preflight.passed && options.durability === "fsync" && !options.slowDisk) {
    console.error(
      `bench: one synced write takes ${preflight.medianUs} µs here, at most ${preflight.thresholdUs} µs are wanted. ` +
        "Use a faster disk (--data), or go on all the same (--slow-disk).",
    );
    return exitCodes.refused;
  }
  const domain = fileURLToPath(import.meta.resolve("@heddle-examples/bank"));
  const context: RunContext = { options, domain, folder, cores: host.cores, inMemory, progress };
  const scenarios: LoadReport[] = [];
  let restart: RestartReport | undefined;
  let sleepers: SleepersReport | undefined;
  let transfers: TransfersReport | undefined;
  let reminders: RemindersReport | undefined;
  let readers: ReadersReport | undefined;
  for (const name of options.scenarios) {
    if (name === "restart") restart = await runRestart(context);
    else if (name === "sleepers") sleepers = await runSleepers(context);
    else if (name === "transfers") transfers = await runTransfers(context);
    else if (name === "reminders") reminders = await runReminders(context);
    else if (name === "readers") readers = await runReaders(context);
    else {
      const batch = scenarios.find(({ scenario }) => scenario === "batch");
      scenarios.push(await runScenario(loadScenarios[name], context, batch?.eventsPerSecond.median));
    }
  }
  const reports = () => [...scenarios, restart, sleepers, transfers, reminders, readers];
  const document: BenchDocument = {
    format: documentFormat,
    heddle: version,
    startedAt: startedAt.toISOString(),
    tookSeconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    host,
    preflight,
    durability: options.durability,
    domain: "bank",
    invariants: true,
    processes: "a client and a server at work, the driver waiting; all on this machine",
    histogramResolution,
    scenarios,
    restart,
    sleepers,
    transfers,
    reminders,
    readers,
    refereeOk: reports().every((report) => report?.refereeOk !== false),
    targetsReached: allReached(reports().flatMap((report) => report?.targets ?? [])),
  };
  progress.end();
  const json = `${JSON.stringify(document, undefined, 2)}\n`;
  if (options.out !== undefined) {
    fs.mkdirSync(path.dirname(path.resolve(options.out)), { recursive: true });
    fs.writeFileSync(options.out, json);
  }
  process.stdout.write(options.json ? json : `${renderDocument(document)}\n`);
  return exitCodeOf(document, options.strict);
}
