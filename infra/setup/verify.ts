// verify.ts: what `npm test` runs, in this order: format and lint, types, then the tests tier by tier.
//
// Every stage runs even when one before it failed, so that one run tells everything; the exit code tells whether all
// passed, and the last lines which tests did not. `npm test -- unit int` runs only the named stages.
//
// Two stages need something of the machine: servers that Go builds, and a Chromium. Where that can not be had the stage
// is left out, with one line that says why; with CI or HEDDLE_REQUIRE_ALL=1 in the environment it fails instead.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { obtain, ServerError, serverNames } from "../servers/index.ts";
import { obtainChromium } from "./browser.ts";
import { failedTests } from "./failed-tests.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const vitest = (project: string) => ["vitest", "run", "--config", "test/vitest.config.ts", "--project", project];
const stages: Readonly<Record<string, readonly string[]>> = {
  lint: ["biome", "check", "."],
  types: ["tsc", "--noEmit"],
  unit: vitest("unit"),
  int: vitest("int"),
  servers: vitest("servers"),
  browser: vitest("browser"),
  e2e: vitest("e2e"),
};

interface Prepared {
  /** Why what the stage needs can not be had. */
  readonly missing?: string;
}

/** Gets what a stage needs. */
const preparations: Readonly<Record<string, () => Promise<Prepared>>> = {
  servers: async () => {
    try {
      for (const name of serverNames) await obtain(name);
    } catch (error) {
      if (error instanceof ServerError) return { missing: error.message };
      throw error;
    }
    return {};
  },
  browser: async () => {
    const chromium = obtainChromium();
    return "missing" in chromium ? chromium : {};
  },
};

if (Number(process.versions.node.split(".")[0]) < 24) {
  console.error(`heddle: tests run on Node 24 or newer, this is ${process.version}. Use: npm test`);
  process.exit(2);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !Object.hasOwn(stages, name));
if (unknown.length > 0) {
  console.error(`heddle: no such stage: ${unknown.join(", ")}. There are: ${Object.keys(stages).join(", ")}`);
  process.exit(2);
}

const on = (value: string | undefined) => value !== undefined && value !== "" && value !== "0" && value !== "false";
const requireAll = on(process.env["CI"]) || on(process.env["HEDDLE_REQUIRE_ALL"]);

const results: {
  stage: string;
  outcome: "passed" | "FAILED" | "left out";
  seconds: number;
  remark?: string | undefined;
}[] = [];
const failed: string[] = [];
const reports = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-reports-"));
for (const [stage, [tool, ...args]] of Object.entries(stages)) {
  if (wanted.length > 0 && !wanted.includes(stage)) continue;
  console.log(`\n━━ ${stage}: ${tool} ${args.join(" ")}`);
  const startedAt = performance.now();
  const secondsSoFar = () => (performance.now() - startedAt) / 1000;
  const { missing } = (await preparations[stage]?.()) ?? {};
  if (missing !== undefined) {
    const outcome = requireAll ? "FAILED" : "left out";
    console.log(`${outcome}: ${missing}`);
    results.push({ stage, outcome, seconds: secondsSoFar(), remark: missing });
    continue;
  }
  const report = path.join(reports, `${stage}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const more = tool === "vitest" ? reporters : [];
  const done = spawnSync(`${root}node_modules/.bin/${tool}`, [...args, ...more], { cwd: root, stdio: "inherit" });
  results.push({ stage, outcome: done.status === 0 ? "passed" : "FAILED", seconds: secondsSoFar() });
  failed.push(...failedTests(report, root));
}
fs.rmSync(reports, { recursive: true, force: true });

console.log("");
for (const { stage, outcome, seconds, remark } of results) {
  const line = `${outcome.padEnd(8)}  ${stage.padEnd(7)} ${seconds.toFixed(1)} s`;
  console.log(remark === undefined ? line : `${line}  ${remark.split("\n")[0]}`);
}
const count = (outcome: string) => results.filter((result) => result.outcome === outcome).length;
if (failed.length > 0) console.log(`\nfailed tests:\n${failed.map((line) => `  ${line}`).join("\n")}`);
if (count("left out") > 0) console.log(`\nleft out: ${count("left out")}`);
console.log(`\nstages: ${count("passed")} passed, ${count("FAILED")} failed`);
process.exit(count("FAILED") === 0 ? 0 : 1);
