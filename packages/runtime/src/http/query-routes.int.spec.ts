// The routes of query-routes.ts over real sockets, with a fake gateway in place of the projection thread. `rig.call` holds each
// answer against the OpenAPI document.
import { errorTable, HeddleError } from "@heddle/kernel";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeGateway, listedProjection, Rig } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
});

const asked = () => rig.gateway.calls.at(-1)!;
const query = (body: unknown) => rig.call("POST", "/v1/query", { body });
const operate = (action: string, body: unknown) => rig.call("POST", `/v1/projections/accounts/${action}`, { body });

describe("queries over HTTP", () => {
  it("bring SQL, parameters and bounds, and give rows by column", async () => {
    const receipt = { ok: true, seq: 1, firstSeq: 1, count: 1, shard: 2, position: 64, time: 5, duplicate: false };
    const { status, body } = await query({
      sql: "select * from accounts where balance > :least",
      params: { least: 100 },
      after: receipt,
      sink: "rqlite",
      rowsMax: 5,
      timeoutMs: 700,
      consistency: "strong",
    });
    expect({ status, body }).toEqual({
      status: 200,
      body: { columns: ["account", "balance"], rows: [{ account: "account/alice", balance: 120 }] },
    });
    expect(asked()).toEqual({
      name: "query",
      fields: {
        sql: "select * from accounts where balance > :least",
        params: { least: 100 },
        after: [{ shard: 2, position: 64 }],
        sink: "rqlite",
        rowsMax: 5,
        timeoutMs: 700,
        consistency: "strong",
      },
    });
  });

  it("have bounds of their own where none are given, and take several receipts", async () => {
    const after = [
      { shard: 0, position: 1 },
      { shard: 1, position: 2 },
    ];
    await query({ sql: "select ?", params: ["x"], after });
    expect(asked().fields).toMatchObject({ params: ["x"], after, sink: "", rowsMax: 10_000, timeoutMs: 5_000 });
  });

  it("give integers beyond 2^53 in decimal, and bytes in base64", async () => {
    rig.gateway.onQuery = async () => ({ columns: ["a", "b"], rows: [{ a: 2n ** 60n, b: Uint8Array.of(0, 255) }] });
    expect((await query({ sql: "select 1" })).body).toEqual({
      columns: ["a", "b"],
      rows: [{ a: "1152921504606846976", b: "AP8=" }],
    });
  });

  it("P7: are refused before they leave when something does not fit, with its place", async () => {
    for (const [body, code, message] of [
      [{}, "INVALID_REQUEST", "sql: missing"],
      [{ sql: 5 }, "INVALID_REQUEST", "sql: wanted a string"],
      [{ sql: "select 1", parms: [] }, "INVALID_REQUEST", "parms: unknown"],
      [{ sql: "select ?", params: 5 }, "INVALID_REQUEST", "params: wanted an array"],
      [{ sql: "select ?", params: [{}] }, "QUERY_REFUSED", "parameter 1 is an object"],
      [{ sql: "select ?", params: { a: [1] } }, "QUERY_REFUSED", "parameter a is an object or a list"],
      [{ sql: "select 1", rowsMax: "many" }, "INVALID_REQUEST", "rowsMax: wanted a whole number"],
      [{ sql: "select 1", timeoutMs: 0 }, "INVALID_REQUEST", "timeoutMs: wanted a whole number"],
      [{ sql: "select 1", after: 5 }, "INVALID_REQUEST", "after: wanted an object"],
      [{ sql: "select 1", after: [{ shard: 0 }] }, "INVALID_REQUEST", "after.0.position: wanted"],
      [{ sql: "select 1", after: { shard: 0, positon: 1 } }, "INVALID_REQUEST", "after.positon: unknown"],
      [{ sql: "select 1", consistency: "soon" }, "INVALID_REQUEST", "consistency: wanted one of"],
      [{ sql: "select 1", sink: "" }, "INVALID_REQUEST", "sink: it is empty"],
    ] as const) {
      const answer = await query(body);
      expect([answer.status, answer.body["code"]]).toEqual([400, code]);
      expect(answer.body["message"]).toContain(message);
    }
    expect(rig.gateway.calls).toEqual([]);
  });

  it("carry the status of what went wrong", async () => {
    for (const error of [
      new HeddleError("QUERY_REFUSED", { problem: "no such table: acounts" }),
      new HeddleError("QUERY_LIMIT", { limit: "rows", max: 5 }),
      new HeddleError("PROJECTION_LAGS", { projection: "accounts", sink: "sqlite", waitedMs: 5, state: "paused" }),
      new HeddleError("NO_QUERY_SINK", { wanted: "projection", known: [] }),
      new HeddleError("SINK_UNAVAILABLE", { sink: "rqlite", message: "away" }),
      new HeddleError("SINK_REFUSED", { sink: "rqlite", message: "401" }),
    ]) {
      rig.gateway.onQuery = () => Promise.reject(error);
      expect(await query({ sql: "select 1" })).toMatchObject({
        status: errorTable[error.code].status,
        body: { code: error.code },
      });
    }
  });
});

describe("projections over HTTP", () => {
  it("are listed with all that an operator asks for", async () => {
    const { status, body } = await rig.get("/v1/projections");
    expect({ status, body }).toEqual({ status: 200, body: { projections: [listedProjection] } });
    expect((await rig.get("/v1/projections?sink=sqlite")).status).toBe(400);
  });

  it("are rebuilt, paused, resumed, and what they have set aside is retried or skipped", async () => {
    for (const [action, body] of [
      ["rebuild", {}],
      ["pause", { sink: "sqlite" }],
      ["resume", {}],
      ["retry", { entity: "account/bob" }],
      ["skip", { entity: "account/bob", reason: "booked twice", by: "ops" }],
    ] as const) {
      expect(await operate(action, body)).toMatchObject({
        status: 200,
        body: { ok: true, projections: [{ projection: "accounts", sink: "sqlite", generation: 2 }] },
      });
      const defaults = { sink: "", entity: "", reason: "", by: "" };
      expect(asked()).toEqual({
        name: "operateProjection",
        fields: { action, projection: "accounts", ...defaults, ...body },
      });
    }
  });

  it("P7: an operation that lacks something, or has too much, is refused", async () => {
    for (const [action, body, message] of [
      ["retry", {}, "entity: missing"],
      ["skip", { entity: "account/bob" }, "reason: missing"],
      ["pause", { entity: "account/bob" }, "entity: unknown"],
      ["rebuild", { sink: 5 }, "sink: wanted a string"],
      ["rebuild", [], "wanted an object"],
    ] as const) {
      const answer = await operate(action, body);
      expect([answer.status, answer.body["code"]]).toEqual([400, "INVALID_REQUEST"]);
      expect(answer.body["message"]).toContain(message);
    }
    expect((await operate("drop", {})).status).toBe(404);
    expect(rig.gateway.calls).toEqual([]);
  });

  it("that do not exist, or have set nothing aside, are answered with 404", async () => {
    for (const error of [
      new HeddleError("UNKNOWN_PROJECTION", { projection: "acounts", known: ["accounts"] }),
      new HeddleError("NOT_SET_ASIDE", { projection: "accounts", entity: "account/bob" }),
    ]) {
      rig.gateway.onOperateProjection = () => Promise.reject(error);
      expect(await operate("retry", { entity: "account/bob" })).toMatchObject({
        status: 404,
        body: { code: error.code },
      });
    }
  });
});
