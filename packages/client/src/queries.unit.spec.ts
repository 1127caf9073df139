// Goal: queries and operations on projections become one request each, and their replies what callers were promised. Bodies
// themselves are protocol's; against a real node: test/e2e/queries.e2e.spec.ts.
import { HeddleError } from "@heddle/kernel";
import type { ListedProjection } from "@heddle/protocol";
import { readProjectionOperateBody, readQueryBody, requestKind } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import { type Arrived, answering, failure, outcome, ScriptedNode, value } from "./scripted-node.spec-support.ts";

const queryOf = ({ body }: Arrived) => readQueryBody(body, 0, body.length);
const operationOf = ({ body }: Arrived) => readProjectionOperateBody(body, 0, body.length);

const listed: ListedProjection = {
  projection: "accounts",
  sink: "sqlite",
  table: "accounts",
  version: 1,
  state: "live",
  shards: [],
  lagBytes: 0,
  lagMs: 0,
  events: 5,
  eventsPerSecond: 0,
  setAside: 0,
  failures: [],
  waitingForSagas: 0,
  generation: 1,
};

/** A client whose node answers on whichever connection it is asked. */
function asking(answer: (request: Arrived) => Uint8Array | undefined) {
  const node = new ScriptedNode();
  const { connect, ...ports } = node.ports;
  const answeringConnect: typeof connect = (address, handlers) => {
    const transport = connect(address, handlers);
    node.connections.at(-1)!.answer = answer;
    return transport;
  };
  const db = new Heddle({}, undefined, { ...ports, connect: answeringConnect });
  const run = async <T>(promise: Promise<T>): Promise<T> => {
    const result = outcome(promise);
    await node.world.settle();
    const { value, error } = await result;
    if (error !== undefined) throw error;
    return value as T;
  };
  return { node, db, run, arrived: () => node.connections.flatMap((connection) => connection.arrived) };
}

describe("query", () => {
  it("becomes one request, and its rows objects by column", async () => {
    const rows = [
      ["account/alice", 120],
      ["account/bob", null],
    ];
    const { db, run, arrived } = asking((request) => value(request.call, [["account", "balance"], rows]));
    const after = {
      ok: true,
      seq: 1,
      firstSeq: 1,
      count: 1,
      shard: 2,
      position: 64,
      time: 0,
      duplicate: false,
    } as const;
    const result = await run(
      db.query<{ account: string; balance: number | null }>("select * from accounts where balance > ?", [100], {
        after,
        rowsMax: 5,
        timeoutMs: 700,
        sink: "rqlite",
        consistency: "strong",
      }),
    );
    expect(result).toEqual({
      columns: ["account", "balance"],
      rows: [
        { account: "account/alice", balance: 120 },
        { account: "account/bob", balance: null },
      ],
    });
    const [request] = arrived();
    expect([request!.kind, request!.hash]).toEqual([requestKind.query, 0]);
    expect(queryOf(request!)).toEqual({
      sql: "select * from accounts where balance > ?",
      params: [100],
      after: [{ shard: 2, position: 64 }],
      sink: "rqlite",
      rowsMax: 5,
      timeoutMs: 700,
      consistency: "strong",
    });
  });

  it("goes over a connection of its own: an append does not wait behind it", async () => {
    const { node, db, run } = asking((request) =>
      request.kind === requestKind.query ? value(request.call, [["n"], [[1]]]) : undefined,
    );
    const append = outcome(db.entity("account/alice").append("Credited", { amount: 1 }));
    await run(db.query("select 1 as n"));
    expect(node.connections.map(({ arrived }) => arrived.map(({ kind }) => kind)).sort()).toEqual([
      [requestKind.append],
      [requestKind.query],
    ]);
    void append;
  });

  it("P7: is refused before it leaves when something does not fit", async () => {
    const { db, run, arrived } = asking(() => undefined);
    for (const [promise, code] of [
      [() => db.query("select ?", [undefined as never]), "QUERY_REFUSED"],
      [() => db.query("select ?", [new Date() as never]), "QUERY_REFUSED"],
      [() => db.query(5 as never), "QUERY_REFUSED"],
      [() => db.query("select 1", [], { rowsMax: 0 }), "INVALID_REQUEST"],
      [() => db.query("select 1", [], { after: {} as never }), "INVALID_REQUEST"],
    ] as const) {
      await expect(run(promise())).rejects.toMatchObject({ code });
    }
    expect(arrived()).toEqual([]);
  });

  it("rejects with what the node says, at once", async () => {
    const facts = { projection: "accounts", sink: "sqlite", waitedMs: 5, state: "paused" };
    const { db, run, arrived } = asking((request) => failure(request.call, new HeddleError("PROJECTION_LAGS", facts)));
    await expect(run(db.query("select 1"))).rejects.toMatchObject({ code: "PROJECTION_LAGS", facts });
    expect(arrived()).toHaveLength(1);
  });
});

describe("projections", () => {
  it("are listed", async () => {
    const { db, run } = await answering((request) => value(request.call, [listed]));
    expect(await run(db.projections())).toEqual([listed]);
  });

  it("are paused, resumed, and what they have set aside is retried or skipped", async () => {
    const { node, db, run } = await answering((request) => value(request.call, []));
    await run(db.pauseProjection("accounts", { sink: "sqlite" }));
    await run(db.resumeProjection("accounts"));
    await run(db.retrySetAside("accounts", "account/bob"));
    await run(db.skipSetAside("accounts", "account/bob", { reason: "booked twice", by: "ops" }));
    const none = { projection: "accounts", sink: "", entity: "", reason: "", by: "" };
    expect(node.arrived.map(operationOf)).toEqual([
      { ...none, action: "pause", sink: "sqlite" },
      { ...none, action: "resume" },
      { ...none, action: "retry", entity: "account/bob" },
      { ...none, action: "skip", entity: "account/bob", reason: "booked twice", by: "ops" },
    ]);
    await expect(run(db.skipSetAside("accounts", "account/bob", { reason: " " }))).rejects.toMatchObject({
      code: "INVALID_REQUEST",
    });
  });

  it("are rebuilt: progress is told until the new rows are those that are read", async () => {
    const rebuild = { reason: "an operator asked for it", done: 0, total: 100, events: 0, eventsPerSecond: 0 };
    const pages: ListedProjection[] = [
      { ...listed, state: "rebuilding", rebuild },
      { ...listed, state: "rebuilding", rebuild: { ...rebuild, done: 60 } },
      { ...listed, generation: 2 },
    ];
    const { node, db } = await answering((request) =>
      request.kind === requestKind.projectionOperate
        ? value(request.call, [{ projection: "accounts", sink: "sqlite", generation: 2 }])
        : value(request.call, [pages.shift()]),
    );
    const told: number[] = [];
    const result = outcome(db.rebuildProjection("accounts", { onProgress: ({ done }) => told.push(done) }));
    for (let pause = 0; pause < 3; pause++) {
      await node.world.settle();
      await node.world.pass(250);
    }
    expect(await result).toEqual({ value: [{ projection: "accounts", sink: "sqlite", generation: 2 }] });
    expect(told).toEqual([0, 60]);
  });

  it("a rebuild that stops rejects with the reason, and one that nobody waits for leaves nothing", async () => {
    const begun = [{ projection: "accounts", sink: "sqlite", generation: 2 }];
    let row: ListedProjection = { ...listed, state: "stopped", problem: "more than 1,000 entities are set aside" };
    const { node, db, run } = await answering((request) =>
      value(request.call, request.kind === requestKind.projectionOperate ? begun : [row]),
    );
    await expect(run(db.rebuildProjection("accounts"))).rejects.toMatchObject({
      code: "PROJECTION_LAGS",
      facts: { state: "stopped: more than 1,000 entities are set aside" },
    });
    row = { ...listed, state: "rebuilding" };
    const leave = new AbortController();
    const timers = node.world.timers;
    const left = outcome(db.rebuildProjection("accounts", { signal: leave.signal }));
    await node.world.settle();
    leave.abort(new Error("enough"));
    expect((await left).error).toMatchObject({ message: "enough" });
    expect(node.world.timers).toBe(timers);
  });
});
