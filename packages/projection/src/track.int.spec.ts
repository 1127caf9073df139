// Goal: whatever happens on the way, rows are what a fold of the log as it is now gives; and a track tells what it is doing.
// Method: a log in memory, in the bytes of a real one, and a real SQLite file. Random runs come with what they were seeded with.
// Elsewhere: what a sink owes (test/contract/sink-contract.ts), real nodes and real kills (test/crash).
import type { Row } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import { seededRandom } from "@heddle/testkit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FeedAppend } from "./memory-feed.spec-support.ts";
import { SqliteSink } from "./sqlite/sqlite-sink.ts";
import type { Track } from "./track.ts";
import {
  accounts,
  closed,
  credited,
  domainOf,
  drain,
  halves,
  sagaEnded,
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

const sorted = (rows: readonly Row[]) =>
  [...rows].sort((a, b) =>
    JSON.stringify(Object.values(a).slice(0, 2)) < JSON.stringify(Object.values(b).slice(0, 2)) ? -1 : 1,
  );
const shardOf = (entity: string) => Number(entity.at(-1)) % 2;
const add = (...appends: readonly FeedAppend[]) => {
  for (const append of appends) under.feed.add(shardOf(append.entity), append);
};
const row = (account: string, balance: number, movements: number, last: number): Row => ({
  account,
  balance,
  movements,
  last,
});

describe("track: follows the log", () => {
  it("folds what is there, and then what comes", async () => {
    const track = under.track(domainOf(accounts()));
    add(credited("account/1", 5), credited("account/2", 7));
    await drain(track);
    expect(sorted(await under.rows(track))).toEqual([row("account/1", 5, 1, 1), row("account/2", 7, 1, 1)]);
    add(credited("account/1", 5), closed("account/2"));
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/1", 10, 2, 2)]);
    expect(track.status()).toMatchObject({ state: "live", lagBytes: 0, lagMs: 0, events: 4, setAside: 0, version: 1 });
  });

  it("goes on behind what it has written, after a restart", async () => {
    add(credited("account/1", 5));
    await drain(under.track(domainOf(accounts())));
    add(credited("account/1", 5));
    const track = under.track(domainOf(accounts()));
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/1", 10, 2, 2)]);
    expect(track.status().events).toBe(2);
  });

  it("takes all events of an append, in their order, and none that `on` does not name", async () => {
    const track = under.track(domainOf(accounts()));
    const types = ["Credited", "Noted", "Debited", "Credited"];
    add({
      entity: "account/1",
      aggregate: "Account",
      events: types.map((type, i) => ({ type, payload: { amount: i + 1 } })),
    });
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/1", 1 - 3 + 4, 3, 4)]);
  });

  it("by itself, until it is stopped; and tells those who wait for a receipt's place", async () => {
    const track = under.track(domainOf(accounts()), { limits: { lingerMs: 1 } });
    track.start();
    const [position] = under.feed.add(1, credited("account/1", 5));
    await track.waitFor({ shard: 1, position: position! }, 30_000);
    expect(await under.rows(track)).toEqual([row("account/1", 5, 1, 1)]);
    await track.waitFor({ shard: 1, position: position! }, 0);
    await track.stop();
  });

  it("says how far it is when it has not seen a place in time", async () => {
    const track = under.track(domainOf(accounts()));
    await drain(track);
    await expect(track.waitFor({ shard: 0, position: 1 }, 1)).rejects.toMatchObject({
      code: "PROJECTION_LAGS",
      facts: { projection: "accounts", sink: "sqlite", state: "live" },
    });
  });
});

describe("track: operators", () => {
  it("a paused one stands still, also after a restart, and says so at once to whoever waits", async () => {
    const track = under.track(domainOf(accounts()));
    await drain(track);
    await track.pause();
    expect(track.state).toBe("paused");
    const again = under.track(domainOf(accounts()));
    again.start();
    add(credited("account/1", 5));
    await expect(again.waitFor({ shard: 1, position: 0 }, 60_000)).rejects.toMatchObject({
      facts: { state: "paused", waitedMs: expect.any(Number) },
    });
    await again.resume();
    await again.waitFor({ shard: 1, position: 24 }, 30_000);
    expect(again.state).toBe("live");
    await again.stop();
  });

  it("a rebuild goes on beside the rows that are read, which follow the log meanwhile; then they are swapped", async () => {
    for (let i = 0; i < 400; i++) add(credited(`account/${i % 10}`, 1));
    const track = under.track(domainOf(accounts()), { limits: { eventsMax: 50, bytesMax: 4_096 } });
    await drain(track);
    const before = sorted(await under.rows(track));
    await track.rebuild();
    let beside = 0;
    for (let i = 0; i < 1_000 && track.status().rebuild === undefined; i++) await track.work();
    while (track.status().rebuild !== undefined) {
      beside++;
      const { rebuild, state } = track.status();
      expect(state).toBe("rebuilding");
      expect(rebuild!.doneBytes).toBeLessThanOrEqual(rebuild!.totalBytes);
      if (beside === 2) add(credited("account/3", 1_000));
      await track.work();
      if (beside >= 2)
        expect((await under.rows(track)).find(({ account }) => account === "account/3")?.["balance"]).toBe(1_040);
      else expect(sorted(await under.rows(track))).toEqual(before);
    }
    expect(beside).toBeGreaterThan(3);
    expect(track.status()).toMatchObject({ generation: 2, state: "live", lagBytes: 0 });
    expect(await under.rows(track)).toHaveLength(10);
  });

  it("a rebuild that was under way when the process ended goes on where it was", async () => {
    for (let i = 0; i < 400; i++) add(credited(`account/${i % 10}`, 1));
    const options = { limits: { eventsMax: 50, bytesMax: 4_096 } };
    const track = under.track(domainOf(accounts()), options);
    await drain(track);
    await track.rebuild();
    for (let i = 0; i < 3; i++) await track.work();
    const done = track.status().rebuild!.doneBytes;
    expect(done).toBeGreaterThan(0);
    const again = under.track(domainOf(accounts()), options);
    await again.work();
    expect(again.status().rebuild!.doneBytes).toBeGreaterThan(done);
    await drain(again);
    expect(again.status()).toMatchObject({ generation: 2, rebuild: undefined, events: 400 });
  });

  it("a higher version is built anew by itself; the rows of the old one are readable meanwhile", async () => {
    add(credited("account/1", 5));
    await drain(under.track(domainOf(accounts())));
    under.crashPoint = (name) => {
      if (name === "projection:before-write") throw new Error("not yet");
    };
    const track = under.track(domainOf(accounts(2)));
    await expect(track.work()).rejects.toThrow("not yet");
    expect(await under.rows(track)).toEqual([row("account/1", 5, 1, 1)]);
    under.crashPoint = () => undefined;
    const again = under.track(domainOf(accounts(2)));
    await drain(again);
    expect(again.status()).toMatchObject({ version: 2, state: "live", generation: 2 });
    expect(under.reports.join()).toContain("its version is 2, the rows were made by 1");
  });

  it.each([
    ["another shape at the same version", accounts(1, "settled"), 'sagas was "live", and is "settled"'],
    ["an older version", accounts(0 + 1), "was made by version 2"],
  ])("%s stops the track, typed, until somebody asks for a rebuild", async (_, projection, problem) => {
    const isOlder = problem.includes("version");
    await drain(under.track(domainOf(accounts(isOlder ? 2 : 1))));
    const track = under.track(domainOf(projection));
    expect(await track.work()).toBe(false);
    expect(track.state).toBe("stopped");
    expect(track.problem).toMatchObject({ code: "PROJECTION_CHANGED" });
    expect(track.problem!.message).toContain(isOlder ? "made by version 2" : problem);
    await expect(track.waitFor({ shard: 0, position: 0 }, 60_000)).rejects.toMatchObject({ code: "PROJECTION_LAGS" });
    add(credited("account/1", 5));
    await track.rebuild();
    await drain(track);
    expect(track.status()).toMatchObject({ state: "live", problem: undefined });
    expect(await under.rows(track)).toEqual([row("account/1", 5, 1, 1)]);
  });
});

describe("track: what it is not given by its own node", () => {
  it("rows of another history are built anew; those of another context are left alone", async () => {
    add(credited("account/1", 5));
    await drain(under.track(domainOf(accounts()), { origin: "bank:older" }));
    const track = under.track(domainOf(accounts()));
    await drain(track);
    expect(track.status()).toMatchObject({ generation: 2, state: "live" });
    const foreign = under.track(domainOf(accounts()), { origin: "shop:1" });
    await expect(foreign.work()).rejects.toThrow("of the context bank");
    expect(await under.rows(track)).toHaveLength(1);
  });

  it("rows that have seen more than the log has are built anew", async () => {
    add(credited("account/1", 5));
    const end = under.feed.end(1);
    add(credited("account/1", 7));
    await drain(under.track(domainOf(accounts())));
    under.feed.cut(1, end);
    const track = under.track(domainOf(accounts()));
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/1", 5, 1, 1)]);
    expect(under.reports.join()).toContain("its rows have seen more than the log has");
  });

  it("T2 a sink that is away is asked again, and then all is there", async () => {
    let away = true;
    const sink = new SqliteSink({ file: under.file });
    const write = sink.write.bind(sink);
    sink.write = (...args) => {
      if (away) throw new HeddleError("SINK_UNAVAILABLE", { sink: "sqlite", message: "away" });
      write(...args);
    };
    under.sink = sink;
    const track = under.track(domainOf(accounts()), { sink, limits: { backoffMinMs: 1, backoffMaxMs: 1 } });
    const [position] = under.feed.add(0, credited("account/2", 5));
    track.start();
    await expect(track.waitFor({ shard: 0, position: position! }, 20)).rejects.toMatchObject({
      facts: { state: "waiting" },
    });
    expect(track.problem).toMatchObject({ code: "SINK_UNAVAILABLE" });
    away = false;
    await track.waitFor({ shard: 0, position: position! }, 30_000);
    expect(track.status()).toMatchObject({ state: "live", problem: undefined });
    expect(await under.rows(track)).toEqual([row("account/2", 5, 1, 1)]);
    await track.stop();
  });
});

describe("track: events that fail", () => {
  const poisoned = (entity: string, amount: number) => credited(entity, amount, { poison: 1 });

  it("O2 one is set aside with its error, the entity's later events wait, and others go on", async () => {
    world.poisonBelow = 2;
    const track = under.track(domainOf(accounts()));
    add(credited("account/1", 1), poisoned("account/1", 2), credited("account/1", 4), credited("account/2", 8));
    await drain(track);
    expect(sorted(await under.rows(track))).toEqual([row("account/1", 1, 1, 1), row("account/2", 8, 1, 1)]);
    expect(track.setAside()).toEqual([
      expect.objectContaining({ entity: "account/1", type: "Credited", seq: 2, shard: 1, error: "poison" }),
    ]);
    const told = "the projection accounts in sqlite has 1 entity set aside; heddle projections ls tells why";
    expect(under.reports).toEqual([told]);
    const again = under.track(domainOf(accounts()));
    add(credited("account/1", 16), credited("account/2", 32));
    await drain(again);
    expect(under.reports).toEqual([told, told]);
    expect(sorted(await under.rows(again))).toEqual([row("account/1", 1, 1, 1), row("account/2", 40, 2, 2)]);
    expect(again.status()).toMatchObject({
      setAside: 1,
      setAsideFirst: [{ entity: "account/1", seq: 2 }],
      lagBytes: 0,
    });
  });

  it("a retry goes on with the event, or sets it aside again", async () => {
    world.poisonBelow = 2;
    const track = under.track(domainOf(accounts()));
    add(poisoned("account/1", 2), credited("account/1", 4));
    await drain(track);
    expect(await track.retrySetAside("account/1")).toMatchObject({ seq: 1, error: "poison" });
    world.poisonBelow = 0;
    expect(await track.retrySetAside("account/1")).toBeUndefined();
    expect(await under.rows(track)).toEqual([row("account/1", 6, 2, 2)]);
    await expect(track.retrySetAside("account/1")).rejects.toMatchObject({ code: "NOT_SET_ASIDE" });
    add(credited("account/1", 8));
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/1", 14, 3, 3)]);
  });

  it("a skip leaves that one event out, and stops at the next that fails", async () => {
    world.poisonBelow = 2;
    const track = under.track(domainOf(accounts()));
    add(poisoned("account/1", 2), credited("account/1", 4), poisoned("account/1", 8), credited("account/1", 16));
    await drain(track);
    expect(await track.skipSetAside("account/1")).toMatchObject({ seq: 3 });
    expect(await under.rows(track)).toEqual([row("account/1", 4, 1, 2)]);
    expect(await track.skipSetAside("account/1")).toBeUndefined();
    expect(await under.rows(track)).toEqual([row("account/1", 20, 2, 4)]);
    expect(track.setAside()).toEqual([]);
  });

  it("with a running track, too", async () => {
    world.poisonBelow = 2;
    const track = under.track(domainOf(accounts()));
    track.start();
    const [position] = under.feed.add(1, poisoned("account/1", 2));
    await track.waitFor({ shard: 1, position: position! }, 30_000);
    world.poisonBelow = 0;
    expect(await track.retrySetAside("account/1")).toBeUndefined();
    expect(await under.rows(track)).toEqual([row("account/1", 2, 1, 1)]);
    await track.stop();
  });

  it("too many of them stop the track: it is the definition that fails, and not an event", async () => {
    world.poisonBelow = 2;
    const track = under.track(domainOf(accounts()), { limits: { setAsideMax: 3 } });
    add(...Array.from({ length: 4 }, (_, i) => poisoned(`account/${i}`, 2)));
    track.start();
    await expect(track.waitFor({ shard: 0, position: 100_000 }, 50)).rejects.toMatchObject({
      facts: { state: "stopped" },
    });
    expect(track.problem!.message).toContain("4 entities are set aside, more than 3");
    world.poisonBelow = 0;
    await track.rebuild();
    const end = under.feed.add(0, credited("account/2", 1))[0]!;
    await track.waitFor({ shard: 0, position: end }, 30_000);
    expect(await under.rows(track)).toHaveLength(4);
    expect(track.state).toBe("live");
    await track.stop();
  });

  it("what an entity has set aside goes with the entity", async () => {
    world.poisonBelow = 2;
    const track = under.track(domainOf(accounts()));
    add(poisoned("account/1", 2));
    await drain(track);
    under.feed.erase(1, "account/1");
    add(credited("account/1", 4));
    await drain(track);
    expect(track.setAside()).toEqual([]);
    expect(await under.rows(track)).toEqual([row("account/1", 4, 1, 3)]);
  });
});

describe("track: erased and restored", () => {
  it("O3 an entity's row goes with it, wherever the tombstone comes", async () => {
    const track = under.track(domainOf(accounts()));
    add(credited("account/1", 1), credited("account/2", 2));
    await drain(track);
    const position = under.feed.erase(1, "account/1");
    expect(track.passed(1)).toBeLessThanOrEqual(position);
    await drain(track);
    expect(track.passed(1)).toBeGreaterThan(position);
    expect(await under.rows(track)).toEqual([row("account/2", 2, 1, 1)]);
    add(credited("account/3", 1));
    under.feed.erase(1, "account/3");
    under.feed.restore(0, "account/2", [{ type: "Credited", payload: { amount: 7 } }], "Account");
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/2", 7, 1, 3)]);
    expect(track.erasures).toBe(3);
  });

  it("O3 shared rows are made anew, all of them, and `passed` waits for it", async () => {
    const track = under.track(domainOf(totals), { limits: { rebuildDelayMs: 10 } });
    add(credited("account/1", 3), credited("account/2", 6), credited("account/2", 4));
    await drain(track);
    const position = under.feed.erase(1, "account/1");
    await drain(track);
    expect(track.passed(1)).toBe(position);
    under.now += 10;
    await drain(track);
    expect(track.passed(1)).toBe(Number(track.status().positions[1]));
    expect(track.status().generation).toBe(2);
    expect(sorted(await under.rows(track))).toEqual([
      { what: "account/2", nr: 0, amount: 10, events: 2 },
      { what: "all", nr: 0, amount: 6, events: 1 },
      { what: "all", nr: 1, amount: 4, events: 1 },
    ]);
    expect(under.reports.join()).toContain("was erased or restored");
  });

  it("an entity of a kind that never wrote a row makes nobody build anew", async () => {
    const track = under.track(domainOf(totals));
    add(credited("account/1", 3), credited("account/2", 3));
    under.feed.erase(0, "order/4");
    await drain(track);
    expect(track.status().generation).toBe(1);
  });
});

describe("track: sagas that are settled", () => {
  const settled = () => domainOf(accounts(1, "settled"));
  const step = (entity: string, amount: number, id: string) => credited(entity, amount, { id });

  it("a step counts when its saga was committed, and what follows waits for it", async () => {
    const track = under.track(settled());
    add(
      credited("account/1", 1),
      step("account/1", 2, "saga:a:0:f"),
      credited("account/1", 4),
      credited("account/2", 8),
    );
    await drain(track);
    expect(sorted(await under.rows(track))).toEqual([row("account/1", 1, 1, 1), row("account/2", 8, 1, 1)]);
    expect(track.status()).toMatchObject({ waitingForSagas: 1, setAside: 0, lagBytes: 0 });
    under.feed.add(0, sagaEnded("a", "Committed"));
    await drain(track);
    expect(sorted(await under.rows(track))).toEqual([row("account/1", 7, 3, 3), row("account/2", 8, 1, 1)]);
    expect(track.status().waitingForSagas).toBe(0);
  });

  it("neither steps nor compensations of one that came back count, and its end may be read first", async () => {
    const track = under.track(settled());
    add(step("account/1", 2, "saga:a:0:f"), step("account/1", 4, "saga:b:0:f"), step("account/1", 8, "saga:a:0:c"));
    // Shard 0 is read first.
    under.feed.add(0, sagaEnded("a", "Compensated"), sagaEnded("b", "Committed"));
    await drain(track);
    expect(await under.rows(track)).toEqual([row("account/1", 4, 1, 2)]);
  });

  it("what waits is taken up after a restart", async () => {
    const track = under.track(settled());
    add(step("account/1", 2, "saga:a:0:f"), credited("account/1", 4));
    await drain(track);
    add(credited("account/1", 8));
    const again = under.track(settled());
    await drain(again);
    expect(await under.rows(again)).toEqual([]);
    under.feed.add(0, sagaEnded("a", "Committed"));
    await drain(again);
    expect(await under.rows(again)).toEqual([row("account/1", 14, 3, 3)]);
  });

  it("the record of a saga that is erased decides nothing: a step counts unless it was undone", async () => {
    const track = under.track(settled());
    add(step("account/1", 2, "saga:a:0:f"), step("account/1", 4, "saga:b:0:f"), step("account/1", 4, "saga:b:0:c"));
    add(credited("account/1", 8));
    under.feed.tombstone(0, "$saga/a");
    under.feed.tombstone(0, "$saga/b");
    await drain(track);
    await drain(under.track(settled()));
    expect(await under.rows(track)).toEqual([row("account/1", 10, 2, 4)]);
  });

  it("what is known of sagas is forgotten when none of their steps can come any more", async () => {
    const track = under.track(settled());
    add(step("account/1", 2, "saga:stuck:0:f"));
    for (let i = 0; i < 20; i++) under.feed.add(0, sagaEnded(`s${i}`, "Committed"));
    await drain(track);
    const ref = { projection: track.projection, generation: 1 };
    expect(under.sink.outcomes(ref)).toHaveLength(20);
    under.feed.add(0, sagaEnded("stuck", "Compensated"));
    await drain(track);
    expect(under.sink.outcomes(ref)).toEqual([]);
    expect(under.sink.held(ref)).toEqual([]);
  });
});

// What the rows must be: entity by entity, from what a spec has done. Independent of the order between entities.
class Model {
  readonly histories = new Map<
    string,
    { amount: number; poison: boolean; type: string; saga: string; back: boolean; seq: number }[]
  >();
  readonly outcomes = new Map<string, "Committed" | "Compensated">();

  eventsOf(entity: string, isSettled: boolean, poisoned: boolean) {
    const counted = [];
    for (const event of this.histories.get(entity) ?? []) {
      if (isSettled && event.saga !== "") {
        const outcome = this.outcomes.get(event.saga);
        if (outcome === undefined) break;
        if (outcome === "Compensated") continue;
      }
      if (poisoned && event.poison) break;
      counted.push(event);
    }
    return counted;
  }

  accounts(isSettled: boolean, poisoned: boolean): Row[] {
    const rows: Row[] = [];
    for (const entity of this.histories.keys()) {
      let made: Row | undefined;
      for (const { amount, type, seq } of this.eventsOf(entity, isSettled, poisoned)) {
        const before = made as { balance: number; movements: number } | undefined;
        made =
          type === "Closed"
            ? undefined
            : row(entity, (before?.balance ?? 0) + amount, (before?.movements ?? 0) + 1, seq);
      }
      if (made !== undefined) rows.push(made);
    }
    return sorted(rows);
  }

  halves(poisoned: boolean): Row[] {
    const rows = new Map<string, { half: boolean; entity: string; amount: number }>();
    for (const entity of this.histories.keys()) {
      for (const { amount, type } of this.eventsOf(entity, false, poisoned)) {
        if (type !== "Credited") continue;
        const half = amount % 2 === 0;
        const known = rows.get(`${half} ${entity}`) ?? { entity, half, amount: 0 };
        rows.set(`${half} ${entity}`, { ...known, amount: known.amount + amount });
      }
    }
    return sorted([...rows.values()]);
  }

  totals(poisoned: boolean): Row[] {
    const rows = new Map<string, { what: string; nr: number; amount: number; events: number }>();
    for (const entity of this.histories.keys()) {
      for (const { amount, type } of this.eventsOf(entity, false, poisoned)) {
        if (type !== "Credited") continue;
        for (const [what, nr] of [
          ["all", amount % 3],
          [entity, amount % 2],
        ] as const) {
          const known = rows.get(`${what} ${nr}`) ?? { what, nr, amount: 0, events: 0 };
          rows.set(`${what} ${nr}`, { ...known, amount: known.amount + amount, events: known.events + 1 });
        }
      }
    }
    return sorted([...rows.values()]);
  }
}

describe("track: O1-O4 random runs over logs with resets, sagas and failures, with restarts and crashes at every point", () => {
  const kinds = { live: accounts(), settled: accounts(1, "settled"), shared: totals, halves };

  it.each(
    Object.keys(kinds).flatMap((kind) =>
      Array.from({ length: 12 }, (_, seed) => [kind as keyof typeof kinds, seed] as const),
    ),
  )("%s, seed %d", async (kind, seed) => {
    const random = seededRandom(seed * 7 + kind.length);
    const upTo = (n: number) => random.safeInteger() % n;
    const isSettled = kind === "settled";
    const domain = domainOf(kinds[kind]);
    const model = new Model();
    const entities = Array.from({ length: 6 }, (_, i) => `account/${i}`);
    const openSagas: string[] = [];
    let sagas = 0;
    let crashIn = 0;
    world.poisonBelow = 2;
    under.crashPoint = (name) => {
      if (crashIn > 0 && --crashIn === 0) throw new Error(`crashed at ${name}`);
    };
    const options = {
      limits: {
        eventsMax: 1 + upTo(20),
        bytesMax: 200 + upTo(4_000),
        replayEventsMax: 1 + upTo(10),
        rowsMax: 2 + upTo(8),
      },
    };
    let track: Track = under.track(domain, options);

    const push = (entity: string, append: FeedAppend, saga = "", back = false) => {
      under.feed.add(shardOf(entity), append);
      const history = model.histories.get(entity) ?? [];
      model.histories.set(entity, history);
      for (const [i, { type, payload }] of append.events.entries()) {
        const { amount, poison } = payload as { amount: number; poison?: number };
        const seq = under.feed.seqOf(entity) - append.events.length + 1 + i;
        history.push({ amount, poison: poison !== undefined, type, saga, back, seq });
      }
    };
    const write = () => {
      const entity = entities[upTo(entities.length)]!;
      const what = upTo(40);
      if (what === 0) push(entity, credited(entity, 1 + upTo(9), { poison: 1 }));
      else if (what === 1) push(entity, closed(entity));
      else if (what === 2) {
        if (upTo(2) === 0) under.feed.erase(shardOf(entity), entity);
        else under.feed.tombstone(shardOf(entity), entity);
        model.histories.delete(entity);
      } else if (what === 3) {
        const copies = Array.from({ length: upTo(3) }, () => ({ type: "Credited", payload: { amount: 1 + upTo(9) } }));
        under.feed.restore(shardOf(entity), entity, copies, "Account");
        const first = under.feed.seqOf(entity) - copies.length + 1;
        const history = copies.map(({ payload: { amount } }, i) => ({
          amount,
          poison: false,
          type: "Credited",
          saga: "",
          back: false,
          seq: first + i,
        }));
        model.histories.set(entity, history);
      } else if (what < 8 && kind !== "shared" && kind !== "halves") {
        const saga = `s${sagas++}`;
        openSagas.push(saga);
        for (const [i, one] of [entity, entities[upTo(entities.length)]!].entries()) {
          push(one, credited(one, 1 + upTo(9), { id: `saga:${saga}:${i}:f` }), saga);
        }
      } else if (what < 13 && openSagas.length > 0) {
        const saga = openSagas.splice(upTo(openSagas.length), 1)[0]!;
        const type = upTo(2) === 0 ? "Committed" : "Compensated";
        if (type === "Compensated") {
          const back = entities[upTo(entities.length)]!;
          push(back, credited(back, 1 + upTo(9), { id: `saga:${saga}:0:c` }), saga, true);
        }
        under.feed.add(upTo(2), sagaEnded(saga, type));
        model.outcomes.set(saga, type);
      } else if (what < 16) {
        const events = Array.from({ length: 2 + upTo(3) }, () => ({
          type: "Credited",
          payload: { amount: 1 + upTo(9) },
        }));
        push(entity, { entity, aggregate: "Account", events });
      } else push(entity, credited(entity, 1 + upTo(9)));
    };
    const work = async () => {
      try {
        await track.work();
      } catch (thrown) {
        if (!(thrown as Error).message.startsWith("crashed")) throw thrown;
        track = under.track(domain, options);
      }
    };
    const settle = async () => {
      crashIn = 0;
      let isBusy = true;
      while (isBusy) isBusy = (await track.work()) || track.status().rebuild !== undefined;
    };
    const check = async (poisoned: boolean) => {
      const wanted =
        kind === "shared"
          ? model.totals(poisoned)
          : kind === "halves"
            ? model.halves(poisoned)
            : model.accounts(isSettled, poisoned);
      expect(sorted(await under.rows(track)), `seed ${seed}`).toEqual(wanted);
    };

    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 40; i++) {
        if (upTo(3) > 0) write();
        else await work();
        if (upTo(30) === 0) crashIn = 1 + upTo(5);
        if (upTo(60) === 0) track = under.track(domain, options);
        if (upTo(90) === 0) await track.rebuild();
      }
      await settle();
      if (kind !== "shared" || round % 3 === 0) await check(true);
    }
    for (const saga of openSagas) {
      under.feed.add(0, sagaEnded(saga, "Committed"));
      model.outcomes.set(saga, "Committed");
    }
    await settle();
    world.poisonBelow = 0;
    for (const { entity } of track.setAside()) expect(await track.retrySetAside(entity)).toBeUndefined();
    await settle();
    await check(false);
    await track.rebuild();
    await settle();
    await check(false);
    expect(track.status()).toMatchObject({ state: "live", lagBytes: 0, setAside: 0, waitingForSagas: 0 });
  });
});
