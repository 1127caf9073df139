// The crash test across entities at length: `npm run test:crash`.
//
// As across.e2e.spec.ts, each point HEDDLE_ROUNDS times (20), with one thread and with two, with two shards and with three,
// with checkpoints in the middle of everything, and with nodes that die a second time while they recover. Then storms with
// HEDDLE_KILLS random kills (225) in stretches of 25. HEDDLE_SEED repeats the choices.
import { describe, expect, it } from "vitest";
import { AcrossRun, groupPoints, laterKills, pointsOf, type Scenario, scenarios } from "./across-run.ts";
import { chooseSeed, Dice } from "./dice.ts";
import { stormRun } from "./storm-run.ts";

const seed = chooseSeed();
const rounds = Number(process.env["HEDDLE_ROUNDS"] ?? 20);
const kills = Number(process.env["HEDDLE_KILLS"] ?? 225);
const killsPerStorm = 25;
/** A round takes some three minutes on two cores. */
const timeout = 4 * 3_600_000;
const startedAt = performance.now();

// Not through the console: a line is to be read while the run goes on.
const say = (line: string) =>
  void process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(0)} s  ${line}\n`);

/** Passed by a node that overwrites what was prepared and came to nothing. */
const erasingPoints = [
  "erase:journal-written",
  "erase:journal-durable",
  "erase:half-overwritten",
  "erase:overwritten",
  "erase:synced",
  "erase:journal-emptied",
];

/** One round: every passing of every point of every scenario, and at some of them a second death. */
async function round(dice: Dice): Promise<ReadonlyMap<string, number>> {
  const limits = dice.chance(50) ? { checkpointIntervalMs: 50, checkpointBytes: 4 << 10 } : {};
  const run = await AcrossRun.open({ shards: dice.between(2, 3), threads: dice.between(1, 2), limits });
  const asker = () => dice.pick(["first", "other"] as const);
  const operator = () => dice.pick(["retry", "resolve"] as const);
  try {
    for (const scenario of Object.keys(scenarios) as Scenario[]) {
      const points = [...pointsOf[scenarios[scenario].kind], ...groupPoints];
      for (const point of dice.shuffle(points)) {
        for (let hasDied = true, passing = 1; hasDied; passing++) {
          const next = dice.chance(30) ? { next: dice.pick(points) } : {};
          hasDied = await run.kill({ scenario, point, passing, asker: asker(), operator: operator(), ...next });
        }
      }
      say(`${scenario}: ${run.kills} nodes have died, ${run.audits} audits`);
    }
    for (const kill of dice.shuffle(laterKills)) await run.kill({ ...kill, asker: asker() });
    for (const next of erasingPoints) {
      const point = dice.pick(["transaction:prepared", "transaction:before-decision"]);
      await run.kill({ scenario: "transfer", point, passing: 1, next, asker: asker(), operator: "retry" });
    }
    await run.finish();
    return run.deaths;
  } catch (error) {
    await run.abandon();
    throw error;
  }
}

describe(`crash: across entities (HEDDLE_SEED=${seed})`, () => {
  it(`P4 P5: transactions and sagas come to one end, wherever the node dies; each point ${rounds} times`, {
    timeout,
  }, async () => {
    say(`HEDDLE_SEED=${seed}`);
    const dice = new Dice(seed);
    const died = new Map<string, number>();
    for (let i = 0; i < rounds; i++) {
      for (const [point, deaths] of await round(dice.fork())) died.set(point, (died.get(point) ?? 0) + deaths);
      say(`${i + 1} of ${rounds} rounds; nodes that died: ${JSON.stringify(Object.fromEntries(died))}`);
    }
    for (const point of [...Object.values(pointsOf).flat(), ...groupPoints, ...erasingPoints]) {
      expect(died.get(point) ?? 0, point).toBeGreaterThanOrEqual(rounds);
    }
  });

  it(`P4 P5: storms of transfers over ${kills} random kills lose and make no money`, async () => {
    const dice = new Dice(seed);
    for (let done = 0; done < kills; ) {
      const totals = await stormRun({
        dice: dice.fork(),
        kills: Math.min(killsPerStorm, kills - done),
        shards: dice.between(2, 5),
        threads: dice.between(1, 3),
        accounts: dice.pick([12, 40, 200]),
        clients: 3,
        callersPerClient: dice.between(2, 10),
        progress: (line) => say(`${done} + ${line}`),
      });
      done += totals.kills;
      say(`the storm holds: ${JSON.stringify(totals)}`);
    }
  });
});
