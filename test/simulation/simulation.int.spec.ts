// Goal: shards, transactions and sagas keep their promises under any schedule of faults that the seeds give; the simulator is
// the same each time; and it finds what is wrong, shown with bugs that are planted between the parts.
//
// Method: a bank of twelve accounts on four shards and two threads (bank-clients.ts, bank-sagas.ts), a checker that shares no
// code with the product (testkit, history-checker), sums of money, and the simulator's own audit. Here a few hundred seeds;
// `npm run simulate` runs as many as one likes.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { bugNames } from "./bugs.ts";
import { runBank } from "./run-bank.ts";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));

function simulateInAProcess(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

/** Of a hundred seeds on a machine that does much else; they take five seconds. */
const patienceMs = 240_000;

describe("simulation: of what works", { timeout: patienceMs }, () => {
  it.each(Array.from({ length: 10 }, (_, i) => 1 + 50 * i))(
    "P1 P2 P4 P5 finds nothing in fifty seeds from %i on",
    async (from) => {
      for (let seed = from; seed < from + 50; seed++) {
        const { violations } = await runBank({ seed });
        expect(violations, `npm run simulate -- --seeds 1 --from ${seed} --trace`).toEqual([]);
      }
    },
  );

  it("is the same for the same seed, here and in another process", async () => {
    const first = await runBank({ seed: 7 });
    const again = await runBank({ seed: 7 });
    expect(again.trace).toEqual(first.trace);
    const { status, stdout } = simulateInAProcess("--seeds", "1", "--from", "7");
    expect(status).toBe(0);
    expect(stdout).toContain(`seed 7, trace ${first.traceHash}`);
    expect((await runBank({ seed: 8 })).traceHash).not.toBe(first.traceHash);
  });

  it("has transactions over shards, sagas of every end, reminders, and every kind of fault", async () => {
    const traces: string[] = [];
    for (let seed = 1; seed <= 20; seed++) traces.push(...(await runBank({ seed })).trace);
    const text = traces.join("\n");
    const wanted = [
      ...["prepare #", "settle #", "probe #", "remind #", "reminder", "is COMMITTED", "is COMPENSATED", "is STUCK"],
      ...["the power fails", "is lost", "died at transaction:", "dies at saga:", "breaks", "its clock jumps"],
      ...["a sync will fail", "no more room", "is recovering"],
    ];
    expect(wanted.filter((what) => !text.includes(what))).toEqual([]);
  });
});

describe("simulation: of what is broken", { timeout: patienceMs }, () => {
  // How many seeds find which: docs/explanation/how-we-know.md.
  it.each(bugNames)("finds %s within a hundred seeds", async (bug) => {
    let seed = 1;
    while (seed <= 100 && (await runBank({ seed, bug })).ok) seed++;
    expect(seed).toBeLessThanOrEqual(100);
  });
});

describe("simulation: npm run simulate", { timeout: patienceMs }, () => {
  it("says which seed found something, what it was, and how to see it all", () => {
    const { status, stdout } = simulateInAProcess("--seeds", "4", "--from", "1", "--bug", "double-apply");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^4 seeds \(1 to 4\) in /);
    expect(stdout).toMatch(/\n {2}duplicate: /);
    expect(stdout).toMatch(/see it all: npm run simulate -- --seeds 1 --from \d --bug double-apply --trace\n/);
    expect(stdout).toMatch(/double-apply was found by [1-4] of 4 seeds\n$/);
  });

  it("prints one object as JSON, and the whole trace when asked", () => {
    const { status, stdout } = simulateInAProcess("--seeds", "2", "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ from: 1, seeds: 2, bug: null, found: [] });
    const traced = simulateInAProcess("--seeds", "1", "--from", "3", "--trace");
    expect(traced.stdout).toMatch(/0\.000 {2}node +starts\n/);
    expect(traced.stdout).toMatch(/nothing was found\n$/);
  });

  it.each([
    [["--seeds", "none"], /--seeds: wanted a whole number from 1 on, found "none"/],
    [["--from", "-1"], /--from/],
    [["--bug", "gremlin"], /there is no bug gremlin; there are: lost-reply, /],
    [["--fast"], /Unknown option '--fast'/],
  ])("P7 refuses %j with exit code 2", (args, problem) => {
    const { status, stdout, stderr } = simulateInAProcess(...args);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(problem);
  });
});
