// P4 P5 across entities: the node is killed in the middle of a transaction over two shards and of a saga of two steps.
//
// Once at every crash point that they have, and at every step of every commit group that they cause: of a transfer that goes
// through, one that is refused, of sagas that are committed, compensated and stuck, and of a reminder that is due. See across-run.ts for what is asked of
// each, and across.crash.spec.ts for the same at length. Then a storm of both over random kills; see storm-run.ts.
//
// What SIGKILL cannot show, a missing sync, is shown by the specs of shard and saga on the simulated disk.
import { describe, expect, it } from "vitest";
import {
  AcrossRun,
  groupPoints,
  type Kill,
  laterKills,
  reminderPoints,
  type Scenario,
  sagaPoints,
  transactionPoints,
} from "./across-run.ts";
import { chooseSeed, Dice } from "./dice.ts";
import { stormRun } from "./storm-run.ts";

const seed = chooseSeed();

/** Not passed by a saga to which nothing happens. */
const pointsOfTrouble: readonly string[] = [
  "saga:before-compensation",
  "saga:compensation",
  "saga:back",
  "saga:resumed",
  "saga:probed",
  "saga:retried",
  "saga:resolved",
];

/** Kills at every passing of every point of a scenario. */
async function killEverywhere(run: AcrossRun, scenario: Scenario, points: readonly string[]): Promise<void> {
  for (const point of points) {
    for (let passing = 1; await run.kill({ ...turn(run), scenario, point, passing }); passing++);
  }
}

/** In turn: whoever asked goes on, or somebody else does; an operator retries, or resolves. */
function turn({ kills }: AcrossRun): Pick<Kill, "asker" | "operator"> {
  return { asker: kills % 2 === 0 ? "first" : "other", operator: kills % 4 < 2 ? "retry" : "resolve" };
}

async function inRun(work: (run: AcrossRun) => Promise<void>): Promise<void> {
  const run = await AcrossRun.open({ shards: 2, threads: 1 });
  try {
    await work(run);
    await run.finish();
  } catch (error) {
    await run.abandon();
    throw error;
  }
}

describe("crash: across entities", () => {
  it.concurrent("P4 P5: a transaction over two shards has happened on both or on none, wherever the node dies", () =>
    inRun(async (run) => {
      // Nothing of one that is refused reaches a disk, so there is nowhere to die. First of all: later on, a node may have to
      // note what became of the transactions of the one before it.
      await killEverywhere(run, "refused transfer", groupPoints);
      expect(run.kills).toBe(0);
      await killEverywhere(run, "transfer", [...transactionPoints, ...groupPoints]);
      for (const kill of laterKills) if (kill.scenario === "transfer") await run.kill({ ...turn(run), ...kill });
      expect([...run.deaths.keys()].sort()).toEqual([...transactionPoints, ...groupPoints].sort());
      expect(run.audits).toBeGreaterThan(run.kills);
    }));

  it.concurrent("P4 P5: a saga is committed, and each of its steps has happened once, wherever the node dies", () =>
    inRun(async (run) => {
      const points = [...sagaPoints.filter((point) => !pointsOfTrouble.includes(point)), ...groupPoints];
      await killEverywhere(run, "saga", points);
      expect([...run.deaths.keys()].sort()).toEqual(points.sort());
    }));

  it.concurrent("P4 P5: a saga that is refused is undone, or stuck and settled, and nothing else is undone, wherever the node dies", () =>
    inRun(async (run) => {
      await killEverywhere(run, "compensated saga", [
        "saga:forward",
        ...pointsOfTrouble.slice(0, 3),
        "saga:before-end",
      ]);
      for (const point of ["saga:before-end", "saga:ended", "saga:before-reply"]) {
        expect(await run.kill({ ...turn(run), scenario: "stuck saga", point, passing: 1 }), point).toBe(true);
      }
      for (const kill of laterKills) if (kill.scenario !== "transfer") await run.kill({ ...turn(run), ...kill });
      for (const point of pointsOfTrouble) expect([...run.deaths.keys()]).toContain(point);
    }));

  it.concurrent("P4 P5: a reminder that is due comes once, wherever the node dies", () =>
    inRun(async (run) => {
      await killEverywhere(run, "reminder", [...reminderPoints, ...groupPoints]);
      expect([...run.deaths.keys()].sort()).toEqual([...reminderPoints, ...groupPoints].sort());
    }));

  it(`P4 P5: a storm of transfers over random kills loses and makes no money (HEDDLE_SEED=${seed})`, async () => {
    const lines: string[] = [];
    try {
      const totals = await stormRun({
        dice: new Dice(seed),
        kills: 5,
        shards: 4,
        threads: 2,
        accounts: 40,
        clients: 3,
        callersPerClient: 6,
        progress: (line) => lines.push(line),
      });
      // Or it has shown nothing.
      expect(totals.audits).toBeGreaterThan(5);
      expect(totals.committed).toBeGreaterThan(50);
      expect(totals.refused + totals.compensated).toBeGreaterThan(0);
    } catch (error) {
      throw new Error(`HEDDLE_SEED=${seed}\n${lines.join("\n")}\n${(error as Error).message}`, { cause: error });
    }
  });
});
