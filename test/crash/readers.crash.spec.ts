// The crash test of readers at length: `npm run test:crash -- readers`. HEDDLE_KILLS says how many kills, HEDDLE_SEED repeats the
// choices. As readers.e2e.spec.ts, in stretches with a data folder of their own, each with every point; with servers, where they
// can be had: readers.servers.spec.ts.
import { expect, it } from "vitest";
import { chooseSeed, Dice } from "./dice.ts";
import { projectionPoints, type ReaderKill, ReadersRun } from "./readers-run.ts";

const seed = chooseSeed();
const kills = Number(process.env["HEDDLE_KILLS"] ?? 120);
const killsPerStretch = 20;

it(`crash: P5: rows of SQLite are a fold of the logs, over ${kills} kills (HEDDLE_SEED=${seed})`, async () => {
  const dice = new Dice(seed);
  const startedAt = performance.now();
  const say = (line: string) =>
    void process.stdout.write(`${((performance.now() - startedAt) / 1000).toFixed(0)} s  ${line}\n`);
  for (let done = 0; done < kills; done += killsPerStretch) {
    const stretch: ReaderKill[] = Object.entries(projectionPoints).map(([point, passings]) => {
      return { kind: "at-point", point, passing: dice.between(1, 5 * passings) };
    });
    while (stretch.length < killsPerStretch) stretch.push({ kind: "under-load", answers: dice.between(1, 1_000) });
    const run = await ReadersRun.open({
      dice: dice.fork(),
      sinks: ["sqlite"],
      shards: dice.between(1, 4),
      progress: say,
    });
    const totals = await run.run(dice.shuffle(stretch).slice(0, kills - done));
    expect(totals.rows).toBeGreaterThan(0);
  }
});
