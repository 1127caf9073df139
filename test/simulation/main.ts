// npm run simulate: seed after seed, until one finds something.
//
//   --seeds N    how many, default 1,000          --from S    the first, default 1
//   --bug NAME   with a planted bug; every seed is run, and how many find it is counted
//   --trace      prints the trace of the first seed that finds something, or of the only one
//   --json       prints the result as JSON, on standard output and nothing else there
//
// Exit code 0: nothing was found, or the planted bug was. 1: a seed found something, or no seed found the bug. 2: the options
// make no sense.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import type { SimulationResult } from "@heddle/testkit";
import { createProgress } from "../../bench/src/driver/progress.ts";
import { type BugName, bugNames } from "./bugs.ts";
import { runBank } from "./run-bank.ts";

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly bug: BugName | undefined;
  readonly trace: boolean;
  readonly json: boolean;
}

const { values } = readArguments();
const options = readOptions(values);
const progress = createProgress(process.stderr);
const startedAt = performance.now();
const hashes = createHash("sha256");
const totals = { events: 0, crashes: 0, lostThreads: 0, simulatedMs: 0 };
const found: { readonly seed: number; readonly violations: readonly string[] }[] = [];
let shown: SimulationResult | undefined;
let ran = 0;

for (; ran < options.seeds && (options.bug !== undefined || found.length === 0); ran++) {
  const result = await runBank({ seed: options.from + ran, bug: options.bug });
  hashes.update(result.traceHash);
  totals.events += result.counts.events;
  totals.crashes += result.counts.crashes;
  totals.lostThreads += result.counts.lostThreads;
  totals.simulatedMs += result.simulatedMs;
  if (!result.ok) found.push({ seed: result.seed, violations: result.violations });
  if (!result.ok || options.seeds === 1) shown ??= result;
  const rate = Math.round(((ran + 1) * 1_000) / (performance.now() - startedAt));
  progress.step("simulating", `seed ${result.seed}, ${rate} seeds/s`, (ran + 1) / options.seeds);
}
progress.end();

const seconds = (performance.now() - startedAt) / 1_000;
if (options.json) printJson();
else printText();
process.exitCode = found.length > 0 === (options.bug !== undefined) ? 0 : 1;

function printJson(): void {
  const { from, bug } = options;
  const seedsPerSecond = Math.round((ran / seconds) * 10) / 10;
  const traceHash = hashes.digest("hex");
  console.log(
    JSON.stringify({ from, seeds: ran, bug: bug ?? null, found, seedsPerSecond, traceHash, ...totals }, null, 2),
  );
}

function printText(): void {
  const { from, bug } = options;
  const last = from + ran - 1;
  console.log(
    `${ran} seeds (${from} to ${last}) in ${seconds.toFixed(1)} s: ${totals.events} events, ${totals.crashes} crashes, ` +
      `${totals.lostThreads} lost threads, ${Math.round(totals.simulatedMs / 1_000)} simulated seconds`,
  );
  if (shown !== undefined) printSeed(shown);
  if (bug !== undefined) console.log(`${bug} was found by ${found.length} of ${ran} seeds`);
  else if (found.length === 0) console.log("nothing was found");
}

function printSeed({ seed, violations, trace, traceHash }: SimulationResult): void {
  if (options.trace) console.log(trace.join("\n"));
  console.log(`seed ${seed}, trace ${traceHash}`);
  for (const violation of violations) console.log(`  ${violation.split("\n").join("\n    ")}`);
  const bug = options.bug === undefined ? "" : ` --bug ${options.bug}`;
  if (!options.trace) console.log(`see it all: npm run simulate -- --seeds 1 --from ${seed}${bug} --trace`);
}

function readArguments() {
  try {
    return parseArgs({
      options: {
        seeds: { type: "string" },
        from: { type: "string" },
        bug: { type: "string" },
        trace: { type: "boolean" },
        json: { type: "boolean" },
      },
    });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

function readOptions({ seeds, from, bug, trace, json }: ReturnType<typeof readArguments>["values"]): Options {
  if (bug !== undefined && !bugNames.includes(bug as BugName)) {
    refuse(`there is no bug ${bug}; there are: ${bugNames.join(", ")}`);
  }
  return {
    seeds: whole("seeds", seeds, 1_000, 1),
    from: whole("from", from, 1, 0),
    bug: bug as BugName | undefined,
    trace: trace ?? false,
    json: json ?? false,
  };
}

function whole(name: string, text: string | undefined, otherwise: number, least: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text === "" || !Number.isSafeInteger(value) || value < least) {
    refuse(`--${name}: wanted a whole number from ${least} on, found ${JSON.stringify(text)}`);
  }
  return value;
}

function refuse(problem: string): never {
  console.error(`simulate: ${problem}`);
  process.exit(2);
}
