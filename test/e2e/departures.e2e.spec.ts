// Goal: the flights' projection on a real node: settled sagas, several shards, real delays; held against the file itself, which knows
// nothing of events, sagas or rows.
import { fileURLToPath } from "node:url";
import { Heddle } from "@heddle/client";
import type flights from "@heddle-examples/flights";
import { readFlights, sagaOf, totalsOf } from "@heddle-examples/flights/flights";
import { expect, it } from "vitest";
import { startTestNode } from "../support/node.ts";

const domain = fileURLToPath(new URL("../../apps/examples/flights", import.meta.url));
const count = 3_000;

it("departures has a row for each flight that arrived and none for those that came back, live and built anew", async () => {
  await using node = await startTestNode({ domain, shards: 3 });
  await using db = new Heddle<typeof flights>({ port: node.port });
  const all = readFlights().slice(0, count);
  const arrived = new Map<string, (typeof all)[number]>();
  let compensated = 0;
  const queue = all.map((flight, index) => ({ flight, ...sagaOf(flight, index) }));
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { resultType } = await db.runSaga("flight", next.id, next.input);
      if (resultType === "COMMITTED") arrived.set(next.id, next.flight);
      else compensated++;
    }
  };
  await Promise.all(Array.from({ length: 64 }, worker));
  const totals = totalsOf(all);
  expect([arrived.size, compensated]).toEqual([totals.committed, totals.compensated]);
  const wanted = [...arrived].map(([flight, { origin, destination, date, delay, distance }]) => ({
    flight,
    origin,
    destination,
    at: date,
    hour: Number(/T(\d\d)/.exec(date)![1]),
    delay,
    distance,
  }));
  const columns = "flight, origin, destination, at, hour, delay, distance";
  const sql = `select ${columns} from departures order by flight`;
  const sorted = wanted.sort((a, b) => (a.flight < b.flight ? -1 : 1));
  // Behind the last step lies the end of its saga, which is no place that a caller knows: asked until it has been seen.
  const asked = async () => (await db.query(sql)).rows;
  await expect.poll(asked, { timeout: 300_000, interval: 50 }).toHaveLength(sorted.length);
  expect(await asked()).toEqual(sorted);
  await db.rebuildProjection("departures");
  expect(await asked()).toEqual(sorted);
});
