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
import { crashPoints, crashRun, killAt, killUnderLoad, killWhileRecovering, randomShape } from "./crash-run.ts";
import { chooseSeed, Dice } from "./dice.ts";

const seed = chooseSeed();
const kills = 20;

describe(`crash: 20 kills (HEDDLE_SEED=${seed})`, () => {
  it("P2 P4 P5: every acknowledged event is there once, whole and in its place, wherever the node was killed", async () => {
    const dice = new Dice(seed);
    const points = Object.keys(crashPoints) as (keyof typeof crashPoints)[];
    const atPoints = points.map((point) => killAt(point, dice));
    const recovering = [killWhileRecovering(dice), killWhileRecovering(dice)];
    const underLoad = Array.from({ length: kills - atPoints.length - recovering.length }, () => killUnderLoad(dice));
    const all = dice.shuffle([...atPoints, ...recovering, ...underLoad]);
    expect(all).toHaveLength(kills);
    const lines: string[] = [];
    try {
      const halves = [all.slice(0, kills / 2), all.slice(kills / 2)];
      for (const half of halves) {
        const totals = await crashRun({
          dice: dice.fork(),
          shape: randomShape(dice),
          kills: half,
          askEvery: 5,
          progress: (line) => lines.push(line),
        });
        expect(totals.acknowledged).toBeGreaterThan(0);
        expect(totals.segments + totals.appends).toBeGreaterThan(0);
      }
    } catch (error) {
      throw new Error(`HEDDLE_SEED=${seed}\n${lines.join("\n")}\n${(error as Error).message}`, { cause: error });
    }
  });
});
