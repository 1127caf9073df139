// Goal: queries against a real node: whoever reads back what was written sees it; what operators do to projections is felt; what
// makes no sense is refused; the node outlives its projection thread. SQL and its bounds: packages/projection/src/query; one
// definition in every sink: test/contract/sink-contract.ts; erasure and crashes have specs of their own.
import { fileURLToPath } from "node:url";
import { committed, Heddle, HeddleError, type ListedProjection, type Receipt } from "@heddle/client";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { startTestNode } from "../support/node.ts";
import { unlucky } from "./booked-bank.ts";
import { staleReads } from "./read-your-writes.ts";

const domain = fileURLToPath(new URL("./booked-bank.ts", import.meta.url));

const balanceSql = "select balance, movements from accounts where account = ?";

async function failure(promise: Promise<unknown>): Promise<HeddleError> {
  const error = await promise.then(
    (value) => new Error(`it succeeded with ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof HeddleError)) throw error;
  return error;
}

const credit = async (db: Heddle, entity: string, amount: number): Promise<Receipt> =>
  committed(await db.entity(entity).append("Credited", { amount }, { aggregate: "Account" }));

/** Asks until a listed projection is as it should be. */
async function until(db: Heddle, projection: string, holds: (row: ListedProjection) => boolean) {
  for (;;) {
    const row = (await db.projections()).find((one) => one.projection === projection)!;
    if (holds(row)) return row;
  }
}

describe("queries: a write that is read back", () => {
  it("is seen, by any client that has its receipt, over thousands of pairs", async () => {
    await using node = await startTestNode({ domain, shards: 3, threads: 1 });
    await using writer = new Heddle(node.url);
    await using reader = new Heddle(node.url);
    const pairs = { entities: 50, rounds: 100 };
    expect(await staleReads(writer, reader, pairs)).toBe(0);
    const { rows } = await reader.query("select sum(balance) as sum, count(*) as n from accounts");
    expect(rows).toEqual([{ sum: pairs.entities * pairs.rounds, n: pairs.entities }]);
  });

  it("of several entities at once is seen, too: a transaction's receipts, and those of appendMany", async () => {
    await using node = await startTestNode({ domain, shards: 3, threads: 1 });
    await using db = new Heddle(node.url);
    const pair = ["account/a", "account/b", "account/c", "account/d"];
    for (let round = 1; round <= 50; round++) {
      const result = await db.transaction(async (tx) => {
        for (const entity of pair) tx.append(entity, "Credited", { amount: 1 }, { aggregate: "Account" });
      });
      if (!result.ok) throw new Error("it was rejected");
      const { rows } = await db.query("select sum(balance) as sum from accounts", [], { after: result.receipts });
      expect(rows).toEqual([{ sum: round * pair.length }]);
    }
    const many = await db.appendMany(
      Array.from({ length: 500 }, (_, i) => ({
        entity: `account/many-${i}`,
        aggregate: "Account",
        type: "Credited",
        payload: { amount: 2 },
      })),
    );
    const last = new Map(many.map((one) => committed(one)).map((receipt) => [receipt.shard, receipt]));
    const { rows } = await db.query("select count(*) as n from accounts where account like 'account/many-%'", [], {
      after: [...last.values()],
    });
    expect(rows).toEqual([{ n: 500 }]);
  });

  it("of long ago, before the node was started, is seen, also one of a transaction", async () => {
    const before = await startTestNode({ domain, shards: 3, threads: 1 });
    const client = new Heddle(before.url);
    const entities = ["account/a", "account/b", "account/c", "account/d"];
    const result = await client.transaction(async (tx) => {
      for (const entity of entities) tx.append(entity, "Credited", { amount: 1 }, { aggregate: "Account" });
    });
    if (!result.ok) throw new Error("it was rejected");
    await client.close();
    await before.close();
    await using node = await startTestNode({ domain, data: before.data, threads: 1 });
    await using db = new Heddle(node.url);
    await credit(db, "account/a", 1);
    const { rows } = await db.query("select count(*) as n from accounts", [], { after: result.receipts });
    expect(rows).toEqual([{ n: entities.length }]);
    await node.close();
    await before[Symbol.asyncDispose]();
  });

  it("is seen through names of the query's own, and values come as they are stored", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    const after = await credit(db, "account/alice", 5);
    const { columns, rows } = await db.query(
      "with a as (select * from accounts) select a.*, b.amount from a join bookings b using (account) where a.account = :id",
      { id: "account/alice" },
      { after },
    );
    expect(columns).toEqual(["account", "balance", "movements", "changed_at", "amount"]);
    expect(rows).toEqual([{ account: "account/alice", balance: 5, movements: 1, changed_at: after.time, amount: 5 }]);
  });

  it("fails at once while its projection is paused, and is seen when that goes on", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    const first = await credit(db, "account/alice", 5);
    await db.query(balanceSql, ["account/alice"], { after: first });
    await db.pauseProjection("accounts");
    const after = await credit(db, "account/alice", 7);
    expect(await failure(db.query(balanceSql, ["account/alice"], { after }))).toMatchObject({
      code: "PROJECTION_LAGS",
      facts: { projection: "accounts", sink: "sqlite", state: "paused" },
    });
    const old = await db.query(balanceSql, ["account/alice"], { after: first });
    expect(old.rows).toEqual([{ balance: 5, movements: 1 }]);
    expect((await db.query("select amount from bookings where seq = 2", [], { after })).rows).toEqual([{ amount: 7 }]);
    await db.resumeProjection("accounts");
    expect((await db.query(balanceSql, ["account/alice"], { after })).rows).toEqual([{ balance: 12, movements: 2 }]);
  });

  it("that never was fails after its time, typed", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    const { shard, position } = await credit(db, "account/alice", 5);
    const after = { shard, position: position + 1_000_000 };
    expect(await failure(db.query(balanceSql, ["account/alice"], { after, timeoutMs: 300 }))).toMatchObject({
      code: "PROJECTION_LAGS",
    });
    const other = { shard: 9, position };
    expect(await failure(db.query("select 1 as n", [], { after: other }))).toMatchObject({ code: "INVALID_REQUEST" });
  });
});

describe("queries: bad input", () => {
  it("P7: each gets its typed error, and nothing has changed", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    const after = await credit(db, "account/alice", 5);
    await db.query(balanceSql, ["account/alice"], { after });
    for (const [sql, params, options, code] of [
      ["delete from accounts", [], {}, "QUERY_REFUSED"],
      ["with a as (select 1) update accounts set balance = 0", [], {}, "QUERY_REFUSED"],
      ["with a as (select 1) insert into accounts values ('x', 1, 1, 1)", [], {}, "QUERY_REFUSED"],
      ["drop view accounts", [], {}, "QUERY_REFUSED"],
      ["pragma journal_mode = delete", [], {}, "QUERY_REFUSED"],
      ["attach 'x' as y", [], {}, "QUERY_REFUSED"],
      ["vacuum", [], {}, "QUERY_REFUSED"],
      ["select 1; delete from accounts", [], {}, "QUERY_REFUSED"],
      ["select load_extension('x')", [], {}, "QUERY_REFUSED"],
      ["select * from heddle_projections", [], {}, "QUERY_REFUSED"],
      ["select * from acounts", [], {}, "QUERY_REFUSED"],
      ["select ?", [], {}, "QUERY_REFUSED"],
      ["select ?", [1, 2], {}, "QUERY_REFUSED"],
      ["select :a", { b: 1 }, {}, "QUERY_REFUSED"],
      ["", [], {}, "QUERY_REFUSED"],
      ["select account from accounts, bookings", [], {}, "QUERY_REFUSED"],
      ["values (1), (2)", [], { rowsMax: 1 }, "QUERY_LIMIT"],
      [
        "with recursive n(x) as (values (1) union all select x + 1 from n) select count(*) from n",
        [],
        { timeoutMs: 400 },
        "QUERY_LIMIT",
      ],
      ["select 1", [], { sink: "rqlite" }, "NO_QUERY_SINK"],
    ] as const) {
      const error = await failure(db.query(sql, params as never, options));
      expect([sql, error.code]).toEqual([sql, code]);
    }
    for (const [operate, code] of [
      [() => db.pauseProjection("acounts"), "UNKNOWN_PROJECTION"],
      [() => db.rebuildProjection("acounts"), "UNKNOWN_PROJECTION"],
      [() => db.retrySetAside("accounts", "account/alice"), "NOT_SET_ASIDE"],
      [() => db.skipSetAside("accounts", "account/alice", { reason: "x" }), "NOT_SET_ASIDE"],
      [() => db.pauseProjection("accounts", { sink: "mongodb" }), "NO_QUERY_SINK"],
    ] as const)
      expect((await failure(operate())).code).toBe(code);
    expect((await db.query(balanceSql, ["account/alice"])).rows).toEqual([{ balance: 5, movements: 1 }]);
  });

  it("an answer that fits no frame is refused, and one that just fits comes whole", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    const rows =
      "with recursive n(x) as (values (1) union all select x + 1 from n limit 2000) select x, printf('%.*c', ?, 'x') as pad from n";
    expect((await db.query(rows, [7_000], { timeoutMs: 60_000 })).rows).toHaveLength(2_000);
    expect(await failure(db.query(rows, [9_000], { timeoutMs: 60_000 }))).toMatchObject({
      code: "QUERY_LIMIT",
      facts: { limit: "bytes" },
    });
  });

  it("a node without projections says that there are none, and one whose sinks make no sense does not start", async () => {
    const notes = fileURLToPath(new URL("./notes.ts", import.meta.url));
    for (const options of [{ domain: notes }, { domain, sinks: [] }]) {
      await using node = await startTestNode({ ...options, shards: 1 });
      await using db = new Heddle(node.url);
      expect(await db.projections()).toEqual([]);
      expect(await failure(db.query("select 1"))).toMatchObject({
        code: "NO_QUERY_SINK",
        message: expect.stringMatching(/^this node keeps no projections\. .* start it with --sink sqlite/),
      });
      expect((await failure(db.pauseProjection("accounts"))).code).toBe("NO_QUERY_SINK");
    }
    const refused = await failure(startTestNode({ domain, sinks: ["postgres://user:secret@x"] }));
    expect(refused).toMatchObject({ code: "INVALID_REQUEST", message: expect.not.stringContaining("secret") });
  });
});

describe("projections on a node", () => {
  it("an event that one cannot take is set aside and told; it is skipped with a reason, and the rest follows", async () => {
    await using node = await startTestNode({ domain, shards: 1 });
    await using db = new Heddle(node.url);
    await credit(db, "account/alice", 5);
    await credit(db, "account/alice", unlucky);
    const behind = await credit(db, "account/alice", 6);
    const after = await credit(db, "account/bob", 7);
    const sql = "select account, amount from bookings order by account, seq";
    expect((await db.query(sql, [], { after })).rows).toEqual([
      { account: "account/alice", amount: 5 },
      { account: "account/bob", amount: 7 },
    ]);
    const row = await until(db, "bookings", ({ setAside }) => setAside === 1);
    expect(row).toMatchObject({
      state: "live",
      failures: [{ entity: "account/alice", seq: 2, aggregate: "Account", type: "Credited" }],
    });
    expect(row.failures[0]!.message).toContain("thirteen is no amount");
    const metrics = await (await fetch(`${node.http}/metrics`)).text();
    expect(metrics).toContain('heddle_projection_set_aside{projection="bookings",sink="sqlite"} 1\n');
    await db.retrySetAside("bookings", "account/alice");
    expect((await until(db, "bookings", () => true)).setAside).toBe(1);
    await db.skipSetAside("bookings", "account/alice", { reason: "a test booking", by: "ops" });
    await until(db, "bookings", ({ setAside }) => setAside === 0);
    const amounts = (await db.query(sql, [], { after: behind })).rows.map(({ amount }) => amount);
    expect(amounts).toEqual([5, 6, 7]);
  });

  it("one is rebuilt while writes continue, its rows are readable all the time, and are the same afterwards", async () => {
    await using node = await startTestNode({ domain, shards: 2 });
    await using db = new Heddle(node.url);
    const entities = Array.from({ length: 200 }, (_, i) => `account/${i}`);
    let isOver = false;
    let last: Receipt[] = [];
    const writing = (async () => {
      while (!isOver) last = await Promise.all(entities.map((entity) => credit(db, entity, 1)));
    })();
    const reading = (async () => {
      let least = 0;
      while (!isOver) {
        const { rows } = await db.query<{ sum: number | null }>("select sum(balance) as sum from accounts");
        const sum = rows[0]!.sum ?? 0;
        if (sum < least) throw new Error(`rows went back from ${least} to ${sum}`);
        least = sum;
      }
    })();
    const before = await until(db, "accounts", ({ state, events }) => state === "live" && events > 1_000);
    const rebuilt = await db.rebuildProjection("accounts");
    expect(rebuilt).toEqual([{ projection: "accounts", sink: "sqlite", generation: expect.any(Number) }]);
    expect(rebuilt[0]!.generation).toBeGreaterThan(before.generation);
    isOver = true;
    await Promise.all([writing, reading]);
    const { rows } = await db.query("select account, balance from accounts order by account", [], {
      after: last.slice(-255),
    });
    const states = await Promise.all(
      entities.map(async (entity) => {
        const { state } = await db.entity(entity).get("Account");
        return { account: entity, balance: (state as { balance: number }).balance };
      }),
    );
    expect(rows).toEqual(states.sort((a, b) => (a.account < b.account ? -1 : 1)));
  });

  it("a pause outlives a restart of the node, and readiness tells it without holding traffic up", async () => {
    const folder = await startTestNode({ domain, shards: 1 });
    const { data } = folder;
    {
      await using db = new Heddle(folder.url);
      await credit(db, "account/alice", 5);
      await db.pauseProjection("accounts");
      await folder.close();
    }
    await using node = await startTestNode({ domain, data });
    await using db = new Heddle(node.url);
    await until(db, "accounts", ({ state }) => state === "paused");
    const ready = await fetch(`${node.http}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([
      200,
      { ready: true, projections: [{ projection: "accounts", state: "paused" }, { projection: "bookings" }] },
    ]);
    const after = await credit(db, "account/alice", 6);
    await db.resumeProjection("accounts");
    expect((await db.query(balanceSql, ["account/alice"], { after })).rows).toEqual([{ balance: 11, movements: 2 }]);
    await node.close();
    await folder[Symbol.asyncDispose]();
  });

  it("a sink that is away at the start stops neither the node nor the projections in others", async () => {
    await using node = await startTestNode({ domain, shards: 1, sinks: ["sqlite", "http://127.0.0.1:1"] });
    await using db = new Heddle(node.url);
    const after = await credit(db, "account/alice", 5);
    expect((await db.query(balanceSql, ["account/alice"], { after })).rows).toEqual([{ balance: 5, movements: 1 }]);
    const error = await failure(db.query("select 1 as n", [], { sink: "rqlite" }));
    expect(error.code).toBe("SINK_UNAVAILABLE");
    for (;;) {
      const away = (await db.projections()).filter(({ sink }) => sink !== "sqlite");
      expect(away).toHaveLength(2);
      if (!away.every(({ state, problem }) => state === "waiting" && problem !== undefined)) continue;
      break;
    }
    const { projections } = (await (await fetch(`${node.http}/readyz`)).json()) as {
      projections: { sink: string; reason?: string }[];
    };
    expect(projections.filter(({ reason }) => reason !== undefined).map(({ sink }) => sink)).toEqual([
      "http://127.0.0.1:1",
      "http://127.0.0.1:1",
    ]);
  });

  it("closing a node waits for no query: who waits is told, and the thread ends by itself", async () => {
    const errors: string[] = [];
    const logger = pino({ level: "error" }, { write: (line: string) => errors.push(line) });
    await using node = await startTestNode({ domain, shards: 1, logger });
    await using db = new Heddle(node.url);
    const { shard, position } = await credit(db, "account/alice", 5);
    const after = { shard, position: position + 1_000_000 };
    const patient = failure(db.query(balanceSql, ["account/alice"], { after, timeoutMs: 300_000 }));
    const endless = "with recursive n(x) as (values (1) union all select x + 1 from n) select count(*) from n";
    const running = failure(db.query(endless, [], { timeoutMs: 300_000 }));
    while (!/heddle_queries_running 1\n/.test(await (await fetch(`${node.http}/metrics`)).text()));
    await node.close();
    expect([(await patient).code, (await running).code]).toEqual(["CLOSED", "CLOSED"]);
    // Such as that it had to be terminated.
    expect(errors).toEqual([]);
  });

  it("the node outlives its projection thread: queries are answered again, and nothing is missing", async () => {
    await using node = await startTestNode({ domain, shards: 2, threads: 1 });
    await using db = new Heddle(node.url);
    let sum = 0;
    for (let round = 0; round < 5; round++) {
      const receipts = await Promise.all(Array.from({ length: 50 }, (_, i) => credit(db, `account/${i}`, 1)));
      sum += receipts.length;
      node.failThread(node.threadCount + 1);
      const last = new Map(receipts.map((receipt) => [receipt.shard, receipt]));
      for (const receipt of receipts) {
        if (receipt.position > last.get(receipt.shard)!.position) last.set(receipt.shard, receipt);
      }
      const { rows } = await db.query("select sum(balance) as sum from accounts", [], {
        after: [...last.values()],
        timeoutMs: 60_000,
      });
      expect(rows).toEqual([{ sum }]);
    }
  });
});
