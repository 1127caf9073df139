// P5 for readers with servers of their own: the node is killed at every point of what it does to them, and under load, while the
// servers go on. Afterwards rows are a fold of the logs, and streams are the logs, entry by entry. See readers-run.ts.
import { describe, expect, it } from "vitest";
import { startMongo, startNats, startRqlite } from "../../infra/servers/index.ts";
import { chooseSeed, Dice } from "./dice.ts";
import { projectionPoints, publisherPoints, type ReaderKill, ReadersRun } from "./readers-run.ts";

const seed = chooseSeed();

function killsAt(points: Readonly<Record<string, number>>, dice: Dice, underLoad: number): ReaderKill[] {
  const kills: ReaderKill[] = Object.entries(points).map(([point, passings]) => {
    return { kind: "at-point", point, passing: dice.between(1, passings) };
  });
  for (let i = 0; i < underLoad; i++) kills.push({ kind: "under-load", answers: dice.between(1, 150) });
  return dice.shuffle(kills);
}

// A node starts for each kill.
describe(`crash: readers with servers (HEDDLE_SEED=${seed})`, { timeout: 900_000 }, () => {
  it("P5: rows in rqlite have no gap and no double, wherever the node was killed", async () => {
    const dice = new Dice(seed);
    await using rqlite = await startRqlite();
    const run = await ReadersRun.open({ dice, sinks: [rqlite.url] });
    const totals = await run.run(killsAt(projectionPoints, dice, 1));
    expect(totals.rows).toBeGreaterThan(100);
  });

  // FerretDB takes the best part of a minute for a scrub, and every account that is erased waits for one.
  it("P5: rows in MongoDB's wire server have no gap and no double, wherever the node was killed", async () => {
    const dice = new Dice(seed);
    const { "projection:before-scrub": _, "projection:after-scrub": __, ...points } = projectionPoints;
    await using mongo = await startMongo();
    const run = await ReadersRun.open({ dice, sinks: [mongo.url], erases: false });
    const totals = await run.run(killsAt(points, dice, 1));
    expect(totals.rows).toBeGreaterThan(100);
  });

  it("P5 P6: streams in NATS are the logs, entry by entry, wherever the node was killed", async () => {
    const dice = new Dice(seed);
    await using nats = await startNats();
    const run = await ReadersRun.open({ dice, sinks: [], nats: { url: nats.url } });
    const totals = await run.run(killsAt(publisherPoints, dice, 2));
    expect(totals.streamed).toBeGreaterThan(100);
  });
});
