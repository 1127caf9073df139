// P5 for projections in SQLite: the node is killed at every point of their writes, swaps and scrubs, and under load, and what is in
// the file is held against the logs each time. See readers-run.ts; the same with rqlite, MongoDB and NATS: readers.servers.spec.ts;
// at length: readers.crash.spec.ts.
import { expect, it } from "vitest";
import { chooseSeed, Dice } from "./dice.ts";
import { projectionPoints, type ReaderKill, ReadersRun } from "./readers-run.ts";

const seed = chooseSeed();

it(`crash: P5: rows of SQLite are a fold of the logs, without a gap and without a double, wherever the node was killed (HEDDLE_SEED=${seed})`, async () => {
  const dice = new Dice(seed);
  const kills: ReaderKill[] = Object.entries(projectionPoints).map(([point, passings]) => {
    return { kind: "at-point", point, passing: dice.between(1, passings) };
  });
  for (let i = 0; i < 3; i++) kills.push({ kind: "under-load", answers: dice.between(1, 200) });
  const run = await ReadersRun.open({ dice, sinks: ["sqlite"] });
  const totals = await run.run(dice.shuffle(kills));
  // Or it has shown nothing.
  expect(totals.kills).toBe(kills.length);
  expect(totals.rows).toBeGreaterThan(100);
  expect(totals.answers).toBeGreaterThan(kills.length);
});
