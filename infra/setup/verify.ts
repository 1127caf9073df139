// verify.ts: what `npm test` runs, in this order: format and lint, types, then the tests tier by tier.
//
// Every stage runs even when one before it failed, so that one run tells everything; the exit code tells whether all
// passed. `npm test -- unit int` runs only the named stages.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const vitest = (project: string) => ["vitest", "run", "--config", "test/vitest.config.ts", "--project", project];
const stages: Readonly<Record<string, readonly string[]>> = {
  lint: ["biome", "check", "."],
  types: ["tsc", "--noEmit"],
  unit: vitest("unit"),
  int: vitest("int"),
  e2e: vitest("e2e"),
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

const results: { stage: string; passed: boolean; seconds: number }[] = [];
for (const [stage, [tool, ...args]] of Object.entries(stages)) {
  if (wanted.length > 0 && !wanted.includes(stage)) continue;
  console.log(`\n━━ ${stage}: ${tool} ${args.join(" ")}`);
  const startedAt = performance.now();
  const done = spawnSync(`${root}node_modules/.bin/${tool}`, args, { cwd: root, stdio: "inherit" });
  results.push({ stage, passed: done.status === 0, seconds: (performance.now() - startedAt) / 1000 });
}

console.log("");
for (const { stage, passed, seconds } of results) {
  console.log(`${passed ? "passed" : "FAILED"}  ${stage.padEnd(6)} ${seconds.toFixed(1)} s`);
}
const failed = results.filter((result) => !result.passed).length;
console.log(`\nstages: ${results.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
