// P5: the node is killed under load, and what its clients were told is held against what is there.
//
// A node in a process of its own is killed 20 times with SIGKILL: once at every named crash point, while it recovers,
// and at moments chosen by how many acknowledgments its clients have seen. Three SDK clients and four HTTP callers stay
// up and go on. After each kill the files are checked, and at the end the node is asked as well. See checker.ts for the
// rules, checker.unit.spec.ts for the proof that they can fail, and long.crash.spec.ts for ten times as many kills.
//
// What SIGKILL cannot show: a missing sync. The kernel keeps what a killed process has written, synced or not. The log's
// specs on the simulated disk, which drops what was not synced, show that.
import { describe, expect, it } from "vitest";
import {
  addTotals,
  crashPoints,
  crashRun,
  type Kill,
  killAt,
  killUnderLoad,
  killWhileRecovering,
  randomShape,
} from "./crash-run.ts";
import { chooseSeed, Dice } from "./dice.ts";

const seed = chooseSeed();
const kills = 20;

describe(`crash: 20 kills (HEDDLE_SEED=${seed})`, () => {
  it("P2 P4 P5: every acknowledged event is there once, whole and in its place, wherever the node was killed", async () => {
    const dice = new Dice(seed);
    const points = Object.keys(crashPoints) as (keyof typeof crashPoints)[];
    const all = points.map((point) => killAt(point, dice));
    all.push(killWhileRecovering(dice), killWhileRecovering(dice));
    while (all.length < kills) all.push(killUnderLoad(dice));
    const inTurn = dice.shuffle(all);
    const lines: string[] = [`HEDDLE_SEED=${seed}`];
    const run = (some: readonly Kill[]) => {
      const shape = randomShape(dice);
      lines.push(JSON.stringify(shape));
      return crashRun({ dice: dice.fork(), shape, kills: some, askEvery: 5, progress: (line) => lines.push(line) });
    };
    try {
      const totals = addTotals(await run(inTurn.slice(0, kills / 2)), await run(inTurn.slice(kills / 2)));
      expect(totals.kills).toBe(kills);
      // Or the run has shown nothing: there was load, calls were carried over a restart, and rules said no.
      expect(totals.acknowledged).toBeGreaterThan(kills);
      expect(totals.duplicates).toBeGreaterThan(0);
      expect(totals.refused).toBeGreaterThan(0);
    } catch (error) {
      throw new Error(`${lines.join("\n")}\n${(error as Error).message}`, { cause: error });
    }
  });
});
