// The crash test at length: `npm run test:crash`. HEDDLE_KILLS says how many kills, HEDDLE_SEED repeats the choices.
//
// As crash.e2e.spec.ts, in stretches of 25 kills, each with a data folder, a shape of node and clients of its own: other
// numbers of shards, sizes of segments and groups, checkpoints more and less often, entities that fall asleep at once.
// Every stretch visits every crash point. The header of that file says what SIGKILL cannot show.
import { describe, expect, it } from "vitest";
import {
  addTotals,
  type CrashTotals,
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
const kills = Number(process.env["HEDDLE_KILLS"] ?? 225);
const killsPerStretch = 25;

describe(`crash: ${kills} kills (HEDDLE_SEED=${seed})`, () => {
  it("P2 P4 P5: every acknowledged event is there once, whole and in its place, wherever the node was killed", async () => {
    const dice = new Dice(seed);
    const startedAt = performance.now();
    let totals: CrashTotals | undefined;
    // Not through the console: a line is to be read while the run goes on.
    const say = (line: string) =>
      void process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(0)} s  ${line}\n`);
    say(`HEDDLE_SEED=${seed}`);
    while ((totals?.kills ?? 0) < kills) {
      const shape = randomShape(dice);
      const done = totals?.kills ?? 0;
      say(`${done} of ${kills} kills are done; a new stretch: ${JSON.stringify(shape)}`);
      const stretch = await crashRun({
        dice: dice.fork(),
        shape,
        kills: newStretch(dice),
        askEvery: 10,
        progress: (line) => say(`${done} + ${line}`),
      });
      say(`the stretch holds: ${JSON.stringify(stretch)}`);
      totals = totals === undefined ? stretch : addTotals(totals, stretch);
    }
    say(`all of it holds: ${JSON.stringify(totals)}`);
    expect(totals!.kills).toBeGreaterThanOrEqual(kills);
  });
});

function newStretch(dice: Dice): Kill[] {
  const points = Object.keys(crashPoints) as (keyof typeof crashPoints)[];
  const stretch = points.map((point) => killAt(point, dice));
  for (let i = 0; i < 3; i++) stretch.push(killWhileRecovering(dice));
  while (stretch.length < killsPerStretch) stretch.push(killUnderLoad(dice));
  return dice.shuffle(stretch);
}
