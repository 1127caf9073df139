// Goal: projections in a cluster of three rqlite nodes: what becomes of them when leaders are killed and when too few nodes are left,
// what a consistency level means there, and that what was deleted leaves the files of every node. One node: rqlite-failures.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  accounts,
  addMovements,
  expectedRows,
  project,
  shards,
  storedRows,
} from "../accounts-under-test.spec-support.ts";
import { marksIn } from "../marks-in.spec-support.ts";
import { MemoryFeed } from "../memory-feed.spec-support.ts";
import type { Projections } from "../projections.ts";
import { RqliteClient, type RqliteStatement } from "./rqlite-client.ts";
import { RqliteCluster, whenLed } from "./rqlite-cluster.spec-support.ts";
import { RqliteSink } from "./rqlite-sink.ts";

const patience = { timeout: 60_000, interval: 20 };
const code = (expected: string) => expect.objectContaining({ code: expected });

let cluster: RqliteCluster;
beforeEach(async () => {
  cluster = await RqliteCluster.start();
});
afterEach(async () => {
  for (const node of cluster.nodes) if (node.running) node.resume();
  await cluster[Symbol.asyncDispose]();
});

const sinkAt = (url: string) => new RqliteSink({ url, timeoutMs: 3_000 });

describe("rqlite cluster: projections", () => {
  let projections: Projections | undefined;
  afterEach(async () => {
    await projections?.stop();
    projections = undefined;
  });

  const following = (url: string) => {
    const feed = new MemoryFeed(shards);
    const sink = sinkAt(url);
    projections = project(feed, sink, { limits: { eventsMax: 100, bytesMax: 16_384 } });
    let count = 0;
    return {
      add: (more: number) => {
        addMovements(feed, count, count + more);
        count += more;
      },
      status: () => projections!.list()[0]!,
      hasAll: async () => {
        await vi.waitFor(async () => expect(await storedRows(sink)).toEqual(expectedRows(count)), patience);
      },
      /** Of a node's own copy, whoever leads. */
      isAt: ({ url }: { readonly url: string }) =>
        vi.waitFor(async () => {
          const { rows } = await sinkAt(url).query({
            sql: "SELECT account, balance, movements, last FROM accounts ORDER BY account",
            params: [],
            rowsMax: 100,
            timeoutMs: 1_000,
            consistency: "none",
          });
          expect(rows).toEqual(expectedRows(count).map((row) => [row.account, row.balance, row.movements, row.last]));
        }, patience),
    };
  };

  it("P5 have every event once, on every node, after the leader was killed under load twice", async () => {
    const { add, status, hasAll, isAt } = following(cluster.url);
    for (let round = 0; round < 2; round++) {
      add(1_500);
      const before = status().positions.reduce((sum, position) => sum + position, 0);
      await vi.waitFor(
        () => expect(status().positions.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(before),
        patience,
      );
      const killed = await cluster.killLeader();
      add(200);
      await hasAll();
      await killed.restart();
    }
    for (const node of cluster.nodes) await isAt(node);
  });

  it("P5 go on through a follower, the only address that is known, after its leader was killed", async () => {
    const [known] = await cluster.followers();
    const { add, hasAll } = following(known!.url);
    add(500);
    await hasAll();
    await cluster.killLeader();
    add(500);
    await hasAll();
  });

  it("P5 wait while too few nodes are left, and have every event once when there are enough again", async () => {
    const { add, status, hasAll } = following(cluster.url);
    add(300);
    await hasAll();
    const [first, second] = await cluster.followers();
    await first!.kill();
    await second!.kill();
    add(300);
    await vi.waitFor(
      () => expect(status()).toMatchObject({ state: "waiting", problem: { code: "SINK_UNAVAILABLE" } }),
      patience,
    );
    await first!.restart();
    await hasAll();
  });

  it("P5 have every event once when the leader stands still, another leads, and the old one comes back", async () => {
    const { add, hasAll, isAt } = following(cluster.url);
    add(300);
    await hasAll();
    const leader = await cluster.leader();
    add(300);
    leader.pause();
    await hasAll();
    leader.resume();
    add(100);
    await hasAll();
    for (const node of cluster.nodes) await isAt(node);
  });
});

describe("rqlite cluster: addresses", () => {
  it("one that nobody listens at is passed over within the same call", async () => {
    const [gone, ...others] = cluster.nodes;
    expect(sinkAt(cluster.url).name).toBe(cluster.url);
    await gone!.kill();
    await cluster.leader();
    // Each time by one who asks for the first time, and so begins with the first address.
    const sink = await whenLed(async () => {
      const first = sinkAt(cluster.url);
      await first.open();
      return first;
    });
    await whenLed(() => sink.settings("accounts", "{}"));
    expect((await whenLed(() => sinkAt(others[0]!.url).describe("accounts")))?.settings).toBe("{}");
  });

  it("are all asked, and no more, when nobody is there", async () => {
    for (const node of cluster.nodes) await node.kill();
    await expect(sinkAt(cluster.url).open()).rejects.toEqual(code("SINK_UNAVAILABLE"));
  });
});

describe("rqlite cluster: queries", () => {
  const count = (sink: RqliteSink, consistency: string, timeoutMs = 3_000) =>
    sink
      .query({ sql: "SELECT count(*) FROM things", params: [], rowsMax: 10, timeoutMs, consistency })
      .then(({ rows }) => rows[0]![0]);

  it("linearizable and strong see every acknowledged write, whichever node is asked", async () => {
    const writer = new RqliteClient({ url: cluster.url });
    await whenLed(() => writer.transaction([["CREATE TABLE IF NOT EXISTS things (number INTEGER PRIMARY KEY)"]]));
    const sinks = cluster.nodes.map(({ url }) => sinkAt(url));
    for (let written = 1; written <= 30; written++) {
      await whenLed(() => writer.transaction([["INSERT OR IGNORE INTO things VALUES (?)", written]]));
      const levels = ["linearizable", "strong"];
      const asked = sinks.flatMap((sink) => levels.map((level) => whenLed(() => count(sink, level, 30_000))));
      const counts = await Promise.all(asked);
      expect(counts).toEqual(Array(6).fill(written));
    }
  });

  it("none answers from the copy of a node that is left alone; what needs a leader is SINK_UNAVAILABLE", async () => {
    const writer = new RqliteClient({ url: cluster.url });
    const create = "CREATE TABLE IF NOT EXISTS things (number INTEGER PRIMARY KEY)";
    await whenLed(() => writer.transaction([[create], ["INSERT OR IGNORE INTO things VALUES (1)"]]));
    const [left] = await cluster.followers();
    const sink = sinkAt(left!.url);
    await vi.waitFor(async () => expect(await count(sink, "none")).toBe(1), patience);
    for (const node of cluster.nodes) if (node !== left) await node.kill();
    expect(await count(sink, "none")).toBe(1);
    // It may have been about to lead, and takes itself for the leader until it misses the others.
    for (const level of ["linearizable", "strong", "weak"]) {
      await vi.waitFor(() => expect(count(sink, level), level).rejects.toEqual(code("SINK_UNAVAILABLE")), patience);
    }
    // It has not heard from a leader for longer than that.
    await vi.waitFor(() => expect(count(sink, "none 1ms")).rejects.toEqual(code("SINK_UNAVAILABLE")), patience);
  });
});

describe("rqlite cluster: what was deleted", () => {
  const ref = { projection: accounts, generation: 1 };
  const names = Array.from({ length: 300 }, (_, i) => `account/${i}`);
  const write = (name: string) => ({
    id: name,
    key: [name],
    row: { account: name, balance: 1, movements: 1, last: `MARK-${name}-${"x".repeat(300)}` },
    source: name,
  });
  const state = { generation: 1, version: 1, shape: "{}", revision: 0, positions: [0, 0], facts: "{}" };
  const common = { writer: "me", positions: [1, 1], facts: "{}", held: new Map(), outcomes: new Map() };

  it("P6 leaves no byte in the files of any node after a scrub; while a node is away the scrub is refused", async () => {
    const sink = sinkAt(cluster.url);
    await whenLed(() => sink.create(ref, state));
    for (let i = 0; i < 30; i++) {
      const rows = names.slice(10 * i, 10 * i + 10).map(write);
      await whenLed(() => sink.write(ref, { ...common, revision: i + 1, erased: [], rows }));
    }
    await vi.waitFor(() => {
      for (const { folder } of cluster.nodes) expect(marksIn(folder).size).toBe(300);
    }, patience);
    const [away] = await cluster.followers();
    await away!.kill();
    await whenLed(() => sink.write(ref, { ...common, revision: 31, erased: names.slice(0, 200), rows: [] }));
    await expect(sink.scrub()).rejects.toEqual(code("SINK_UNAVAILABLE"));
    await away!.restart();
    await vi.waitFor(() => sink.scrub(), patience);
    for (const { folder } of cluster.nodes) expect([...marksIn(folder)].sort()).toEqual(names.slice(200).sort());
  });

  it("P6 waits for a node that is behind: it has not deleted yet what its leader has", async () => {
    const client = new RqliteClient({ url: cluster.url });
    const change = (...statement: RqliteStatement) => whenLed(() => client.transaction([statement]));
    const sink = sinkAt(cluster.url);
    await change("CREATE TABLE IF NOT EXISTS texts (text TEXT)");
    const [behind] = await cluster.followers();
    behind!.pause();
    for (let i = 0; i < 200; i++) {
      await change("INSERT INTO texts VALUES (?)", `MARK-account/${i}-${"x".repeat(20_000)}`);
    }
    await change("DELETE FROM texts");
    behind!.resume();
    await vi.waitFor(() => sink.scrub(), patience);
    for (const { folder } of cluster.nodes) expect([...marksIn(folder)], folder).toEqual([]);
  });

  it("P6 reaches a node that was sent a snapshot, because it was away for too long", async () => {
    const client = new RqliteClient({ url: cluster.url });
    const change = (...statement: RqliteStatement) => whenLed(() => client.transaction([statement]));
    const sink = sinkAt(cluster.url);
    await change("CREATE TABLE IF NOT EXISTS texts (text TEXT)");
    for (let i = 0; i < 10; i++) {
      await change("INSERT INTO texts VALUES (?)", `MARK-account/${i}-${"x".repeat(1_000)}`);
    }
    const [away] = await cluster.followers();
    await vi.waitFor(() => expect(marksIn(away!.folder).size).toBe(10), patience);
    await away!.kill();
    await change("DELETE FROM texts");
    await change("CREATE TABLE IF NOT EXISTS others (text TEXT)");
    const { url } = await cluster.leader();
    expect((await client.call("/snapshot", { origin: url, parameters: "trailing_logs=1" })).status).toBe(200);
    await away!.restart();
    await vi.waitFor(() => sink.scrub(), patience);
    for (const { folder } of cluster.nodes) expect([...marksIn(folder)], folder).toEqual([]);
  });
});
