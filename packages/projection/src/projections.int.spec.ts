// Goal: all tracks of a process: what they are told by name, and what becomes of projections that nobody defines any more.
import type { AnyProjection } from "@heddle/domain";
import { systemClock, systemRandom } from "@heddle/kernel";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Projections } from "./projections.ts";
import type { Sink } from "./sink.ts";
import { SqliteSink } from "./sqlite/sqlite-sink.ts";
import {
  accounts,
  credited,
  domainOf,
  drain,
  halves,
  TracksUnderTest,
  totals,
  world,
} from "./tracks-under-test.spec-support.ts";

let under: TracksUnderTest;
beforeEach(() => {
  world.poisonBelow = 0;
  under = new TracksUnderTest();
});
afterEach(() => under.end());

const made = (projections: readonly AnyProjection[], sinks: readonly Sink[] = [new SqliteSink({ file: under.file })]) =>
  new Projections({
    domain: domainOf(...projections),
    source: under.feed,
    sinks,
    history: "1",
    clock: systemClock,
    random: systemRandom,
    report: (message) => under.reports.push(message),
  });

it("each projection follows the feed, is told by its name, and waited for", async () => {
  const projections = made([accounts(), totals]);
  projections.start();
  const [position] = under.feed.add(0, credited("account/2", 3));
  await projections.waitFor(["accounts", "totals"], "sqlite", [{ shard: 0, position: position! }], 30_000);
  expect(projections.list().map(({ projection, sink, state }) => [projection, sink, state])).toEqual([
    ["accounts", "sqlite", "live"],
    ["totals", "sqlite", "live"],
  ]);
  await projections.pause("totals", "sqlite");
  expect(projections.list().map(({ state }) => state)).toEqual(["live", "paused"]);
  expect(() => projections.tracksOf("nobody")).toThrow(expect.objectContaining({ code: "UNKNOWN_PROJECTION" }));
  expect(() => projections.tracksOf("totals", "rqlite")).toThrow(expect.objectContaining({ code: "NO_QUERY_SINK" }));
  await expect(projections.retry("accounts", "account/2")).rejects.toMatchObject({ code: "NOT_SET_ASIDE" });
  await projections.stop();
});

it("a sink is closed once nobody looks through it any more, so that it is not opened again", async () => {
  const sink = new SqliteSink({ file: under.file });
  const calls: string[] = [];
  const looked = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const list = sink.list.bind(sink);
  const close = sink.close.bind(sink);
  Object.assign(sink, {
    async list() {
      begun.resolve();
      await looked.promise;
      calls.push("list");
      return list();
    },
    close() {
      calls.push("close");
      close();
    },
  });
  const projections = made([accounts()], [sink]);
  projections.start();
  await begun.promise;
  const stopped = projections.stop();
  await Promise.all(projections.tracks.map((track) => track.stop()));
  looked.resolve();
  await stopped;
  expect(calls).toEqual(["list", "close"]);
});

it("an event that is skipped is reported with who did it and why", async () => {
  world.poisonBelow = 2;
  const projections = made([accounts()]);
  projections.start();
  const [position] = under.feed.add(0, credited("account/2", 3, { poison: 1 }));
  await projections.waitFor(["accounts"], "sqlite", [{ shard: 0, position: position! }], 30_000);
  expect(await projections.retry("accounts", "account/2")).toMatchObject([{ entity: "account/2", error: "poison" }]);
  expect(await projections.skip("accounts", "account/2", "Ada: a typing error")).toEqual([]);
  expect(under.reports.join()).toContain("account/2 was set aside: Ada: a typing error");
  await projections.stop();
});

it("P6 a projection that the domain module has no more is dropped with its rows; one of another context is left alone", async () => {
  under.feed.add(0, credited("account/2", 3));
  await drain(under.track(domainOf(accounts())));
  await drain(under.track(domainOf(halves), { origin: "shop:1" }));
  const projections = made([totals]);
  projections.start();
  const sink = new SqliteSink({ file: under.file });
  sink.open();
  await expect.poll(() => sink.list(), { timeout: 30_000 }).toEqual(["halves", "totals"]);
  expect(under.reports.join()).toContain("the projection accounts in sqlite is dropped");
  sink.close();
  await projections.stop();
});
