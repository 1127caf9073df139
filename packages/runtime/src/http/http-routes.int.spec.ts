// Routes and answers, over real sockets, with a fake gateway in place of the shards. `rig.call` holds each answer against
// the OpenAPI document. Connections, their bounds and their end: http-connections.int.spec.ts. Lists, erasures and what
// else is about an entity's life: life-routes.int.spec.ts, and with a real node life-node.int.spec.ts.

import { createServer } from "node:http";
import { type ErrorCode, entityIdProblem, errorTable, HeddleError, limits } from "@heddle/kernel";
import { rejection } from "@heddle/protocol/internal";
import { Validator } from "@seriousme/openapi-schema-validator";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { errorSamples as samples } from "../../../../test/contract/error-samples.ts";
import { httpBounds } from "./bounds.ts";
import { type Answered, FakeGateway, facts, Rig, receipt } from "./door-rig.spec-support.ts";
import type { Readiness } from "./gateway.ts";
import { buildHttpApp } from "./http-app.ts";
import { BodyLedger } from "./json-body.ts";
import { openApiDocument } from "./openapi.ts";

let rig: Rig;
let readiness: Readiness;

beforeAll(async () => {
  rig = await Rig.start({ readiness: () => readiness });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  readiness = { ready: true, shards: [{ shard: 0, state: "running" }], projections: [] };
  rig.gateway = new FakeGateway();
  rig.logLines.length = 0;
});

const credited = { type: "Credited", payload: { amount: 5 } };
const appendPath = "/v1/entities/account/alice/append";

const lastCall = (): unknown => rig.gateway.calls.at(-1);

describe("append", () => {
  it("answers 200 with the receipt when the events are durable", async () => {
    const options = { aggregate: "Account", expectedSeq: 6, id: "a-1", metadata: { user: 1 }, newLife: true };
    const { status, body } = await rig.post(appendPath, { ...credited, ...options });
    expect(status).toBe(200);
    expect(body).toEqual({ ...receipt(), entity: "account/alice" });
    expect(lastCall()).toEqual({ name: "append", fields: { entity: "account/alice", events: [credited], ...options } });
  });

  it("takes many events in one call, and the id as a header", async () => {
    await rig.post(appendPath, { events: [credited, credited] }, { headers: { "idempotency-key": "k-1" } });
    expect(lastCall()).toMatchObject({ fields: { events: [credited, credited], id: "k-1" } });
    const both = await rig.post(appendPath, { ...credited, id: "k-2" }, { headers: { "idempotency-key": "k-1" } });
    expect(both).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST", facts: { path: "id" } } });
  });

  it("P3: answers 409 with the rejection when a rule says no", async () => {
    const no = rejection("INVARIANT_VIOLATED", { aggregate: "Account", rule: "balance is never negative", index: 0 });
    rig.gateway.onAppend = async () => no;
    expect(await rig.post(appendPath, credited)).toMatchObject({ status: 409, body: no });
    const conflict = rejection("SEQUENCE_CONFLICT", { expectedSeq: 1, actualSeq: 4 });
    rig.gateway.onAppend = async () => conflict;
    expect(await rig.post(appendPath, credited)).toMatchObject({ status: 409, body: conflict });
  });
});

describe("execute", () => {
  it("answers with the receipt of what the command decided to", async () => {
    const options = { aggregate: "Account", expectedSeq: 6, id: "a-1", metadata: { user: 1 }, newLife: true };
    const command = { command: "Withdraw", input: { amount: 5 } };
    const { status, body } = await rig.post("/v1/entities/account/alice/execute", { ...command, ...options });
    expect([status, body]).toEqual([200, { ...receipt(), entity: "account/alice" }]);
    expect(lastCall()).toEqual({ name: "execute", fields: { entity: "account/alice", ...command, ...options } });
  });

  it("answers 409 with reason and details when the command rejects, whatever values the details have", async () => {
    const details = { balance: 2n ** 60n, at: new Date(0) };
    rig.gateway.onExecute = async () =>
      rejection("COMMAND_REJECTED", { command: "Withdraw", reason: "too little", details });
    const { status, body } = await rig.post("/v1/entities/account/alice/execute", { command: "Withdraw", input: {} });
    expect(status).toBe(409);
    expect(body["facts"]).toEqual({
      command: "Withdraw",
      reason: "too little",
      details: { balance: "1152921504606846976", at: "1970-01-01T00:00:00.000Z" },
    });
  });
});

describe("append-many", () => {
  it("gives each item one result, in order, with 200 even when some were rejected or failed", async () => {
    const no = rejection("SEQUENCE_CONFLICT", { expectedSeq: 1, actualSeq: 4 });
    const unknown = new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "X", known: ["Account"] });
    rig.gateway.onMany = () => [receipt({ seq: 1 }), no, unknown, receipt({ seq: 2, duplicate: true })];
    const items = [
      { entity: "account/a", ...credited },
      { entity: "account/b", ...credited, expectedSeq: 1 },
      { entity: "account/c", ...credited, aggregate: "X" },
      { entity: "account/a", events: [credited], id: "i" },
    ];
    const { status, body } = await rig.post("/v1/append-many", { items });
    expect(status).toBe(200);
    expect(body["results"]).toEqual([
      receipt({ seq: 1 }),
      no,
      {
        ok: false,
        code: "UNKNOWN_AGGREGATE",
        message: 'there is no aggregate "X"; known: Account',
        facts: { aggregate: "X", known: ["Account"] },
        retryable: false,
        advice: errorTable.UNKNOWN_AGGREGATE.advice,
      },
      receipt({ seq: 2, duplicate: true }),
    ]);
    expect(lastCall()).toMatchObject({ name: "appendMany", fields: [{}, {}, {}, { events: [credited], id: "i" }] });
  });

  it("takes and answers a thousand items", async () => {
    const items = Array.from({ length: 1_000 }, (_, i) => ({ entity: `account/${i}`, ...credited }));
    rig.gateway.onMany = (fields) => fields.map((_, i) => receipt({ seq: i + 1 }));
    const { body } = await rig.post("/v1/append-many", { items });
    expect((body["results"] as { seq: number }[]).map((result) => result.seq)).toEqual(items.map((_, i) => i + 1));
    expect((await rig.post("/v1/append-many", { items: [] })).body).toEqual({ results: [] });
  });

  it("P7: refuses the whole call for a fault that shows at once, and asks no shard", async () => {
    const items = [{ entity: "account/a", ...credited }, { entity: "account/b" }];
    const { status, body } = await rig.post("/v1/append-many", { items });
    expect([status, body["facts"]]).toEqual([400, expect.objectContaining({ path: "items.1.type" })]);
    const badId = await rig.post("/v1/append-many", { items: [{ entity: "alice", ...credited }] });
    expect(badId).toMatchObject({ status: 400, body: { code: "INVALID_ENTITY_ID" } });
    const keyed = await rig.post("/v1/append-many", { items: [] }, { headers: { "idempotency-key": "k" } });
    expect(keyed).toMatchObject({ status: 400, body: { facts: { path: "Idempotency-Key" } } });
    expect(rig.gateway.calls).toEqual([]);
  });
});

describe("get", () => {
  it("answers with the state and its sequence", async () => {
    const { status, body } = await rig.get("/v1/entities/account/alice?aggregate=Account");
    expect([status, body]).toEqual([
      200,
      { entity: "account/alice", aggregate: "Account", state: { balance: 5 }, seq: 7 },
    ]);
    expect(lastCall()).toEqual({ name: "get", fields: { entity: "account/alice", aggregate: "Account" } });
  });

  it("answers with an earlier state, and the sequence that the moment meant", async () => {
    const { status, body } = await rig.get("/v1/entities/account/alice?aggregate=Account&seq=3");
    const state = { entity: "account/alice", aggregate: "Account", state: { balance: 1 }, seq: 3 };
    expect([status, body]).toEqual([200, state]);
    const fields = { entity: "account/alice", aggregate: "Account" };
    expect(lastCall()).toEqual({ name: "getAt", fields: { ...fields, at: { seq: 3 } } });
    await rig.get("/v1/entities/account/alice?aggregate=Account&time=2026-01-31T12%3A00%3A00%2B02%3A00");
    expect(lastCall()).toEqual({ name: "getAt", fields: { ...fields, at: { time: Date.UTC(2026, 0, 31, 10) } } });
  });

  it("P7: refuses a moment that is none, and one that was not reached", async () => {
    for (const query of ["seq=1&time=1", "seq=-1", "seq=x", "time=tomorrow", "time=2026-01-31T12:00", "at=1"]) {
      const { status, body } = await rig.get(`/v1/entities/account/alice?${query}`);
      expect([query, status, body["code"]]).toEqual([query, 400, "INVALID_REQUEST"]);
    }
    expect(rig.gateway.calls).toEqual([]);
    rig.gateway.onGetAt = async () => Promise.reject(new HeddleError("OUT_OF_RANGE", samples.OUT_OF_RANGE));
    expect(await rig.get("/v1/entities/account/alice?seq=9")).toMatchObject({ status: 416 });
    rig.gateway.onGet = async () => Promise.reject(new HeddleError("ERASED", samples.ERASED));
    expect(await rig.get("/v1/entities/account/alice")).toMatchObject({ status: 410, body: { code: "ERASED" } });
  });

  it("needs no aggregate in a context of one, and says which it was", async () => {
    expect((await rig.get("/v1/entities/account/alice")).body).toMatchObject({ aggregate: "Account" });
    expect(lastCall()).toMatchObject({ fields: { aggregate: "" } });
  });

  it("shows values that JSON has no word for as strings", async () => {
    const state = {
      big: 2n ** 64n,
      bytes: new Uint8Array([1, 2, 3]),
      at: new Date(5),
      gone: undefined,
      nan: Number.NaN,
    };
    rig.gateway.onGet = async () => ({ state, seq: 1 });
    expect((await rig.get("/v1/entities/account/alice")).body["state"]).toEqual({
      big: "18446744073709551616",
      bytes: "AQID",
      at: "1970-01-01T00:00:00.005Z",
      nan: "NaN",
    });
    rig.gateway.onGet = async () => ({ state: undefined, seq: 0 });
    expect((await rig.get("/v1/entities/account/alice")).body["state"]).toBeNull();
  });
});

describe("history", () => {
  const path = "/v1/entities/account/alice/history";
  const seqs = (answered: Answered): number[] => (answered.body["events"] as { seq: number }[]).map(({ seq }) => seq);

  it("gives events as objects with every field", async () => {
    rig.gateway.onHistory = async ({ from }) =>
      from === 0 ? [[1, 1_764_000_000_001, "Account", "Credited", { n: 1n }, { user: "x" }, "id-1", 3, 400]] : [];
    expect((await rig.get(path)).body).toEqual({
      events: [
        {
          seq: 1,
          time: 1_764_000_000_001,
          aggregate: "Account",
          type: "Credited",
          payload: { n: "1" },
          metadata: { user: "x" },
          id: "id-1",
          schemaVersion: 3,
          position: 400,
        },
      ],
    });
  });

  it("hands its parameters on", async () => {
    const times = "since=2026-01-31&until=1769860800000";
    await rig.get(`${path}?limit=2&from=3&to=1&${times}&direction=backward&aggregate=Account`);
    const range = { from: 3, to: 1, since: Date.UTC(2026, 0, 31), until: 1_769_860_800_000 };
    expect(rig.gateway.calls[0]).toEqual({
      name: "history",
      fields: { entity: "account/alice", limit: 2, ...range, direction: "backward", aggregate: "Account" },
    });
  });

  it("says where the next page starts, either way, until there is none", async () => {
    rig.gateway.historyLength = 5;
    const first = await rig.get(`${path}?limit=2`);
    expect([seqs(first), first.body["next"]]).toEqual([[1, 2], 3]);
    const last = await rig.get(`${path}?limit=2&from=5`);
    expect([seqs(last), last.body["next"]]).toEqual([[5], undefined]);
    const full = await rig.get(`${path}?limit=5`);
    expect([seqs(full), full.body["next"]]).toEqual([[1, 2, 3, 4, 5], undefined]);
    const newest = await rig.get(`${path}?limit=3&direction=backward`);
    expect([seqs(newest), newest.body["next"]]).toEqual([[5, 4, 3], 2]);
    const oldest = await rig.get(`${path}?limit=3&direction=backward&from=2`);
    expect([seqs(oldest), oldest.body["next"]]).toEqual([[2, 1], undefined]);
  });

  it("has no next page beyond the end of its range", async () => {
    rig.gateway.historyLength = 9;
    const middle = await rig.get(`${path}?from=3&to=6&limit=2`);
    expect([seqs(middle), middle.body["next"]]).toEqual([[3, 4], 5]);
    const last = await rig.get(`${path}?from=5&to=6&limit=2`);
    expect([seqs(last), last.body["next"]]).toEqual([[5, 6], undefined]);
    const down = await rig.get(`${path}?from=6&to=5&limit=2&direction=backward`);
    expect([seqs(down), down.body["next"]]).toEqual([[6, 5], undefined]);
  });

  it("says so too when the shard cuts a page short", async () => {
    const whole = rig.gateway.onHistory;
    rig.gateway.onHistory = async (fields) => (await whole(fields)).slice(0, 1);
    expect((await rig.get(path)).body["next"]).toBe(2);
  });

  it("of an entity without events is an empty page", async () => {
    rig.gateway.historyLength = 0;
    expect((await rig.get(path)).body).toEqual({ events: [] });
  });

  it("P7: refuses parameters that are wrong, unknown, or given twice", async () => {
    for (const query of [
      "limit=0",
      "limit=10001",
      "limit=x",
      "from=-1",
      "direction=up",
      "limt=5",
      "limit=1&limit=2",
      "from=2&to=1",
      "from=1&to=2&direction=backward",
      "since=x",
      "since=2&until=1",
    ]) {
      const { status, body } = await rig.get(`${path}?${query}`);
      expect([query, status, body["code"]]).toEqual([query, 400, "INVALID_REQUEST"]);
    }
    expect(rig.gateway.calls).toEqual([]);
  });
});

describe("entity ids in paths", () => {
  const askedFor = async (path: string): Promise<unknown> => {
    rig.gateway.calls.length = 0;
    const { status } = await rig.get(path);
    const [call] = rig.gateway.calls;
    return call === undefined ? status : `${call.name} ${(call.fields as { entity: string }).entity}`;
  };

  it("may hold slashes, encoded or plain", async () => {
    expect(await askedFor("/v1/entities/file/a%2Fb%2Fc")).toBe("get file/a/b/c");
    expect(await askedFor("/v1/entities/file/a/b/c")).toBe("get file/a/b/c");
    expect(await askedFor("/v1/entities/file/a/b/history")).toBe("history file/a/b");
    expect(await askedFor("/v1/entities/file/a%2Fhistory")).toBe("get file/a/history");
    expect(await askedFor("/v1/entities/file/history")).toBe("get file/history");
    expect(await askedFor("/v1/entities/file/a/restore")).toBe(405);
    expect(await askedFor("/v1/entities/file/a%2Frestore")).toBe("get file/a/restore");
    expect(await askedFor("/v1/entities/file/a%252Fb")).toBe("get file/a%2Fb");
  });

  it("name no other entity by a slash too many", async () => {
    expect(await askedFor("/v1/entities/file/a/")).toBe(404);
    expect(await askedFor("/v1/entities/file//a")).toBe(404);
    expect(await askedFor("/v1/entities/file/")).toBe(400);
  });

  it("come through unchanged, whatever characters the name has", async () => {
    const name = fc
      .oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), fc.stringMatching(/^[%2Ff/?#.a;+&= ]+$/))
      .filter((text) => entityIdProblem(`account/${text}`) === undefined);
    await fc.assert(
      fc.asyncProperty(name, async (text) => {
        expect(await askedFor(`/v1/entities/account/${encodeURIComponent(text)}`)).toBe(`get account/${text}`);
        expect(await askedFor(`/v1/entities/account/${encodeURIComponent(text)}/history`)).toBe(
          `history account/${text}`,
        );
      }),
      { numRuns: 200 },
    );
    const longest = "ü".repeat((limits.entityIdBytesMax - 8) / 2);
    expect(await askedFor(`/v1/entities/account/${encodeURIComponent(longest)}`)).toBe(`get account/${longest}`);
  });

  it("P7: are refused when they are none", async () => {
    for (const [path, code] of [
      ["/v1/entities/Account/alice", "INVALID_ENTITY_ID"],
      [`/v1/entities/account/${"x".repeat(600)}`, "INVALID_ENTITY_ID"],
      ["/v1/entities/account/a%00b", "INVALID_ENTITY_ID"],
      ["/v1/entities/account/%ff", "INVALID_REQUEST"],
      ["/v1/entities/account/100%", "INVALID_REQUEST"],
      ["/v1/entities/account/%ed%a0%80", "INVALID_REQUEST"],
    ] as const) {
      expect(await rig.get(path)).toMatchObject({ status: 400, body: { ok: false, code } });
      expect(await rig.get(`${path}/history`)).toMatchObject({ status: 400, body: { ok: false, code } });
    }
    expect(rig.gateway.calls).toEqual([]);
  });
});

describe("operating errors", () => {
  // What a shard never answers to an append.
  const elsewhere = new Set<ErrorCode>([
    "UNKNOWN_ROUTE",
    "UNKNOWN_COMMAND",
    "BAD_FRAME",
    "UNSUPPORTED_VERSION",
    "UNKNOWN_CONTEXT",
    "OUT_OF_RANGE",
    "ENTITY_EXISTS",
    "DOMAIN_LOAD_FAILED",
    "SCHEMA_MISMATCH",
    "CONNECTION_FAILED",
    "CANNOT_LISTEN",
    "DATA_FOLDER_IN_USE",
    "DATA_FOLDER_VERSION",
    "DATA_FOLDER_MISMATCH",
    "DATA_FOLDER_UNWRITABLE",
    "LOG_DAMAGED",
    "PARTITION_DAMAGED",
    "SLOW_DISK",
    "BACKUP_REFUSED",
    "KEYS_UNAVAILABLE",
    "EXPORT_DAMAGED",
    "UNKNOWN_SAGA",
    "NO_SUCH_SAGA",
    "SAGA_NOT_STUCK",
    "TRANSACTION_ABORTED",
    "TRANSACTION_CONFLICT",
    "NO_SUCH_REMINDER",
    "GROUP_MEMBER_LOST",
    "UNKNOWN_PROJECTION",
    "PROJECTION_CHANGED",
    "PROJECTION_LAGS",
    "NOT_SET_ASIDE",
    "NO_QUERY_SINK",
    "QUERY_REFUSED",
    "QUERY_LIMIT",
    "SINK_UNAVAILABLE",
    "SINK_REFUSED",
    "FEED_GAP",
  ]);
  const codes = (Object.keys(samples) as ErrorCode[]).filter((code) => !elsewhere.has(code));

  it.each(codes)("%s has the error table's status, facts, and advice", async (code) => {
    const error = new HeddleError(code, samples[code]);
    rig.gateway.onAppend = async () => Promise.reject(error);
    const { status, headers, body } = await rig.post(appendPath, credited);
    const { status: wanted, retryable, advice } = errorTable[code];
    expect(status).toBe(wanted);
    expect(body).toMatchObject({ ok: false, code, facts: samples[code], retryable, advice });
    expect(`${body["message"]}. ${advice}`).toBe(error.message);
    expect(headers["retry-after"]).toBe(wanted === 503 ? "1" : undefined);
  });

  it("UNKNOWN_COMMAND answers a command", async () => {
    rig.gateway.onExecute = async () => Promise.reject(new HeddleError("UNKNOWN_COMMAND", samples.UNKNOWN_COMMAND));
    const answered = await rig.post("/v1/entities/account/alice/execute", { command: "X", input: {} });
    expect(answered).toMatchObject({ status: 404, body: { code: "UNKNOWN_COMMAND" } });
  });

  it("a fault of the node's own is OUTCOME_UNKNOWN, tells no secrets, and is logged whole", async () => {
    rig.gateway.onAppend = async () => Promise.reject(new TypeError("inner workings"));
    const { status, body, text } = await rig.post(appendPath, credited);
    expect([status, body["code"], body["retryable"]]).toEqual([503, "OUTCOME_UNKNOWN", true]);
    expect(text).not.toContain("inner workings");
    expect(rig.logLines.join()).toContain("inner workings");
  });

  it("are logged from 500 up at level error, but for OVERLOADED, which would be many lines", async () => {
    const errorLines = async (code: ErrorCode): Promise<number> => {
      rig.logLines.length = 0;
      rig.gateway.onAppend = async () => Promise.reject(new HeddleError(code, samples[code]));
      await rig.post(appendPath, credited);
      return rig.logLines.filter((line) => JSON.parse(line).level >= 50).length;
    };
    expect(await errorLines("SHARD_STOPPED")).toBe(1);
    expect(await errorLines("DOMAIN_FAILED")).toBe(1);
    expect(await errorLines("OVERLOADED")).toBe(0);
    expect(await errorLines("INVALID_PAYLOAD")).toBe(0);
  });
});

describe("bodies", () => {
  it.each<[string, string | undefined, Record<string, string>]>([
    ["no content type", JSON.stringify(credited), { "content-type": "" }],
    ["text", JSON.stringify(credited), { "content-type": "text/plain" }],
    ["a form", "type=Credited", { "content-type": "application/x-www-form-urlencoded" }],
    ["nonsense", JSON.stringify(credited), { "content-type": ";;" }],
    ["another charset", JSON.stringify(credited), { "content-type": "application/json; charset=latin1" }],
    ["a compressed body", JSON.stringify(credited), { "content-encoding": "gzip" }],
  ])("P7: of %s are answered 415", async (_what, body, headers) => {
    const answered = await rig.post(appendPath, body, { headers });
    expect(answered).toMatchObject({ status: 415, body: { code: "UNSUPPORTED_MEDIA_TYPE" } });
    expect((answered.body["facts"] as { wanted: string }).wanted).toContain("application/json");
    expect(rig.gateway.calls).toEqual([]);
  });

  it("may say that they are UTF-8", async () => {
    for (const type of [
      "application/json;charset=utf-8",
      'Application/JSON; charset="UTF-8"',
      "application/json; x=y",
    ]) {
      const { status } = await rig.post(appendPath, credited, { headers: { "content-type": type } });
      expect([type, status]).toEqual([type, 200]);
    }
  });

  it.each<[string, string | Buffer]>([
    ["empty", ""],
    ["not JSON", "{'type': 'Credited'}"],
    ["cut", '{"type":"Credi'],
    ["not UTF-8", Buffer.from([0x7b, 0xff, 0x7d])],
    ["not an object", "[1]"],
    ["nested 10,000 deep", `{"type":"A","payload":${"[".repeat(10_000)}${"]".repeat(10_000)}}`],
    ["nested a million deep", "[".repeat(1_000_000)],
    ["out to reach the prototype", '{"type":"A","payload":{"__proto__":{"x":1}}}'],
  ])("P7: that are %s are answered 400, saying what is wrong", async (_what, body) => {
    const answered = await rig.post(appendPath, body);
    expect(answered).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
    expect(rig.gateway.calls).toEqual([]);
  });

  it("P7: that are missing are answered 400", async () => {
    expect(await rig.call("POST", appendPath)).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
  });

  it("keep keys such as constructor, and reach no prototype", async () => {
    const payload = '{"constructor":{"prototype":{"polluted":1}},"prototype":2}';
    await rig.post(appendPath, `{"type":"A","payload":${payload}}`);
    expect(JSON.stringify(rig.gateway.appends[0]!.events[0]!.payload)).toBe(payload);
    expect("polluted" in {}).toBe(false);
  });
});

describe("routes", () => {
  it("that do not exist are answered 404 with the code, whatever the body", async () => {
    for (const [method, path] of [
      ["GET", "/v2"],
      ["GET", "/v1/entities/"],
      ["GET", "/v1/entities/account"],
      ["GET", "/v1/types/Account"],
      ["DELETE", "/nothing"],
      ["GET", "/V1/context"],
      ["GET", "//"],
    ] as const) {
      const { status, body, headers } = await rig.call(method, path);
      expect([path, status, body["code"], body["facts"]]).toEqual([path, 404, "UNKNOWN_ROUTE", { method, path }]);
      expect(headers["allow"]).toBeUndefined();
    }
    const sent = await rig.post("/nothing", "{no json");
    expect(sent).toMatchObject({ status: 404, body: { code: "UNKNOWN_ROUTE" } });
  });

  it("with another method are answered 405 with the ones there are", async () => {
    for (const [method, path, allow] of [
      ["GET", appendPath, "POST"],
      ["PUT", appendPath, "POST"],
      ["PUT", "/v1/entities/account/alice", "GET, HEAD, DELETE"],
      ["POST", "/v1/entities", "GET, HEAD"],
      ["DELETE", "/v1/entities", "GET, HEAD"],
      ["DELETE", "/v1/entities/account/alice/history", "GET, HEAD"],
      ["GET", "/v1/entities/account/alice/fork", "POST"],
      ["POST", "/v1/entities/account/alice/appendix", "GET, HEAD, DELETE"],
      ["POST", "/v1/entities/file/a/b/history?x=1", "GET, HEAD"],
      ["OPTIONS", "/v1/append-many", "POST"],
      ["HEAD", "/v1/entities/account/alice/export", "GET"],
    ] as const) {
      const { status, body, headers } = await rig.call(method, path);
      expect([method, path, status, headers["allow"]]).toEqual([method, path, 405, allow]);
      if (method !== "HEAD") expect(body["code"]).toBe("UNKNOWN_ROUTE");
    }
    expect(rig.gateway.calls).toEqual([]);
  });

  it("answer HEAD as GET, without a body", async () => {
    for (const path of ["/livez", "/v1/entities/account/alice", "/v1/entities/account/alice/history"]) {
      const [head, get] = [await rig.call("HEAD", path), await rig.get(path)];
      expect([head.status, head.text, head.headers["content-length"]]).toEqual([
        200,
        "",
        get.headers["content-length"],
      ]);
    }
  });

  it("of the node say what it is and how it fares", async () => {
    expect((await rig.get("/")).body).toMatchObject({
      node: "node-1",
      version: "1.2.3",
      context: "bank",
      durability: "fsync",
      see: { routes: "/openapi.json" },
    });
    expect((await rig.get("/livez")).body).toEqual({ live: true });
    const { body } = await rig.get("/v1/context");
    expect(body).toMatchObject({ context: "bank", durability: "fsync", shardCount: 2 });
    expect(body["sagas"]).toEqual([{ name: "transfer" }]);
    expect(body["aggregates"]).toEqual(JSON.parse(JSON.stringify(facts.context.aggregates)));
  });

  it("say readiness with 200, and with 503 and reasons while a shard does not serve", async () => {
    expect(await rig.get("/readyz")).toMatchObject({ status: 200, body: { ready: true, reasons: [] } });
    readiness = {
      ready: false,
      shards: [
        { shard: 0, state: "running" },
        { shard: 1, state: "recovering", reason: "replaying 5 of 9 segments" },
      ],
      projections: [{ projection: "accounts", sink: "sqlite", state: "paused", reason: "an operator paused it" }],
    };
    const { status, headers, body } = await rig.get("/readyz");
    expect([status, headers["retry-after"]]).toEqual([503, "1"]);
    expect(body).toEqual({
      ready: false,
      reasons: ["shard 1 is recovering: replaying 5 of 9 segments"],
      shards: readiness.shards,
      projections: readiness.projections,
    });
    expect((await rig.get("/livez")).status).toBe(200);
  });

  it("say what is wrong with a projection, and are ready all the same", async () => {
    const projection = { projection: "accounts", sink: "sqlite", state: "stopped", reason: "its shape has changed" };
    readiness = { ready: true, shards: [{ shard: 0, state: "running" }], projections: [projection] };
    expect(await rig.get("/readyz")).toMatchObject({
      status: 200,
      body: { ready: true, reasons: [], projections: [projection] },
    });
  });

  it("give metrics of the node, its shards, and HTTP itself", async () => {
    await rig.get("/nothing");
    const { status, headers, text } = await rig.get("/metrics");
    expect([status, headers["content-type"]]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
    expect(text).toContain('heddle_appends_total{shard="0"} 100\n');
    expect(text).toMatch(/^heddle_http_requests_total\{method="GET",route="none",status="404"\} [1-9]\d*$/m);
    expect(text).toMatch(/^heddle_http_requests_running 1$/m);
  });
});

describe("requests from web pages", () => {
  it("are refused when they come by a name that is not the node's, or from another origin", async () => {
    for (const [headers, path] of [
      [{ host: "evil.example:9090" }, "Host"],
      [{ host: "evil.example:9090", origin: "http://evil.example:9090" }, "Host"],
      [{ origin: "https://evil.example" }, "Origin"],
      [{ origin: "null" }, "Origin"],
    ] as const) {
      for (const answered of [
        await rig.get("/v1/entities/account/alice", { headers }),
        await rig.post(appendPath, credited, { headers }),
        await rig.post("/v1/entities/account/alice/restore", { seq: 1 }, { headers }),
        await rig.post("/v1/entities/account/alice/fork", { entity: "account/bob" }, { headers }),
        await rig.call("DELETE", "/v1/entities/account/alice", { headers }),
        await rig.get("/nothing", { headers }),
      ]) {
        expect(answered).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST", facts: { path } } });
      }
    }
    expect(rig.gateway.calls).toEqual([]);
  });

  it("get no leave to send what they may not send unasked", async () => {
    const headers = { origin: rig.url, "access-control-request-method": "POST" };
    const preflight = await rig.call("OPTIONS", appendPath, { headers });
    expect(preflight.status).toBe(405);
    const answered = await rig.get("/v1/context", { headers: { origin: rig.url } });
    expect(answered.status).toBe(200);
    for (const { headers } of [preflight, answered]) {
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
      expect(headers["x-content-type-options"]).toBe("nosniff");
    }
  });
});

describe("logs", () => {
  it("hold no payload and no entity, at any level", async () => {
    const secret = "s3cr3t";
    rig.gateway.onAppend = async () => Promise.reject(new HeddleError("DISK_FULL", { shard: 0, path: "/data" }));
    await rig.post(`/v1/entities/account/${secret}/append`, {
      ...credited,
      payload: { secret },
      metadata: secret,
      id: secret,
    });
    await rig.post(appendPath, `{"type": ${secret}}`);
    await rig.post(appendPath, { ...credited, [secret]: 1 });
    await rig.get(`/nothing/${secret}?${secret}=${secret}`);
    rig.gateway.onGet = async () => Promise.reject(new Error("broken"));
    await rig.get(`/v1/entities/account/${secret}`);
    expect(rig.logLines.length).toBeGreaterThan(5);
    expect(rig.logLines.join()).not.toContain(secret);
  });

  it("hold a line for each request at level debug", async () => {
    await rig.get("/livez");
    await rig.raw().then((connection) => connection.socket.destroy());
    const lines = rig.logLines.map((line) => JSON.parse(line));
    expect(lines).toMatchObject([{ level: 20, method: "GET", route: "/livez", status: 200, msg: "request" }]);
  });
});

describe("the OpenAPI document", () => {
  it("is valid", async () => {
    const { body } = await rig.get("/openapi.json");
    expect(body).toEqual(JSON.parse(JSON.stringify(openApiDocument(facts))));
    expect(await new Validator().validate(body)).toMatchObject({ valid: true });
  });

  it("has every route, and only those", async () => {
    const { routes } = await buildHttpApp({
      gateway: new FakeGateway(),
      facts,
      readiness: () => readiness,
      metricsText: async () => "",
      logger: pino({ level: "silent" }),
      bounds: httpBounds,
      ledger: new BodyLedger(httpBounds),
      serverFactory: (handler) => createServer(handler),
      onClientError: () => {},
      onRoute: () => {},
    });
    const { paths } = openApiDocument(facts) as { paths: Record<string, Record<string, unknown>> };
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods)
        .filter((method) => method !== "parameters")
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = routes
      .filter(({ method }) => method !== "HEAD")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    expect(documented.sort()).toEqual(served.sort());
  });

  it("refers only to what it has, and uses all that it has", () => {
    const text = JSON.stringify(openApiDocument({ ...facts, context: { name: "empty", aggregates: [], sagas: [] } }));
    const { components } = JSON.parse(text) as { components: Record<string, Record<string, unknown>> };
    const defined = Object.entries(components).flatMap(([section, all]) =>
      Object.keys(all).map((name) => `#/components/${section}/${name}`),
    );
    const used = new Set([...text.matchAll(/"\$ref":"(#[^"]+)"/g)].map(([, target]) => target!));
    expect([...used].sort()).toEqual(
      defined.sort().filter((name) => name !== "#/components/schemas/Event" || used.has(name)),
    );
  });

  it("has the schemas of the context under names of their own", () => {
    const { components } = openApiDocument(facts) as {
      components: { schemas: Record<string, Record<string, unknown>> };
    };
    expect(components.schemas["Payload.Account.Credited"]).toMatchObject({
      properties: { amount: { type: "integer" } },
    });
    expect(components.schemas["Input.Account.Withdraw"]).toHaveProperty("description");
    const odd = Object.keys(components.schemas).find((name) => name.startsWith("Payload.Account.Gr"));
    expect(odd).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(components.schemas[odd!]).toHaveProperty("$id");
  });
});

describe("P7: whatever is sent, no request ends in a fault of the node's", () => {
  it("for any bytes as the body of any write", async () => {
    const anyBody = fc.oneof(
      fc.jsonValue().map((value) => JSON.stringify(value)),
      fc.string(),
      fc
        .record({ type: fc.jsonValue(), payload: fc.jsonValue(), events: fc.jsonValue() }, { requiredKeys: [] })
        .map((value) => JSON.stringify(value)),
    );
    const actions = ["append", "execute", "restore"].map((action) => `/v1/entities/account/alice/${action}`);
    const path = fc.constantFrom(...actions, "/v1/append-many");
    await fc.assert(
      fc.asyncProperty(path, anyBody, async (to, body) => {
        const calls = rig.gateway.calls.length;
        const { status } = await rig.post(to, body);
        const called = rig.gateway.calls.length - calls;
        expect([status, called]).toEqual(called === 0 ? [400, 0] : [200, 1]);
      }),
      { numRuns: 300 },
    );
  });
});
