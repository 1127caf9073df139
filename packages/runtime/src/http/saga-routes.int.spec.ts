// The routes of saga-routes.ts over real sockets, with a fake gateway in place of the shards. `rig.call` holds each answer
// against the OpenAPI document. What a node makes of such calls: test/e2e/sagas.e2e.spec.ts.
import { HeddleError, limits } from "@heddle/kernel";
import {
  newAppendView,
  newExecuteView,
  readAppendBody,
  readExecuteBody,
  readSagaSteps,
  type SagaFields,
  TextCache,
} from "@heddle/protocol/internal";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeGateway, Rig, sagaRecord, sagaResult } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
});

const path = "/v1/sagas/transfer-001";
const credited = { type: "Credited", payload: { amount: 5 } };
const debited = { type: "Debited", payload: { amount: 5 } };
const step = { entity: "account/alice", aggregate: "Account", forward: debited, back: credited };
const last = { entity: "account/bob", forward: { command: "Deposit", input: { amount: 5 } }, back: null };
const asked = (): SagaFields => rig.gateway.calls.at(-1)!.fields as SagaFields;
const texts = new TextCache();

describe("a saga over HTTP", () => {
  it("is sent as the requests of its steps, with the ids that they have on their entities", async () => {
    const carol = {
      entity: "account/carol",
      forward: { events: [credited, debited] },
      back: { command: "Close", input: null },
    };
    const { status, body } = await rig.post(path, {
      steps: [step, [{ ...carol, timeoutMs: 700 }], last],
      timeoutMs: 9_000,
    });
    expect({ status, body }).toEqual({ status: 200, body: sagaResult() });
    const { entity, timeoutMs, stepTimeoutMs, named, steps } = asked();
    expect({ entity, timeoutMs, stepTimeoutMs, named }).toEqual({ entity: "$saga/transfer-001", timeoutMs: 9_000 });
    const ranges = readSagaSteps(steps!, 0, steps!.length);
    expect(ranges.map(({ stage, timeoutMs: own, backKind }) => [stage, own, backKind])).toEqual([
      [0, 0, 2],
      [1, 700, 3],
      [2, 0, 0],
    ]);
    const append = newAppendView();
    readAppendBody(steps!, ranges[0]!.forwardFrom, ranges[0]!.forwardTo, texts, append);
    expect([append.entity, append.aggregate, append.id, append.types[0]]).toEqual([
      "account/alice",
      "Account",
      "saga:transfer-001:0:f",
      "Debited",
    ]);
    const execute = newExecuteView();
    readExecuteBody(steps!, ranges[1]!.backFrom, ranges[1]!.backTo, texts, execute);
    expect([execute.entity, execute.command, execute.id]).toEqual(["account/carol", "Close", "saga:transfer-001:1:c"]);
  });

  it("takes an array inside of its steps for steps that run side by side", async () => {
    const back = credited;
    await rig.post(path, { steps: [[step, { ...last, back }], { entity: "account/carol", forward: credited, back }] });
    const { steps } = asked();
    expect(readSagaSteps(steps!, 0, steps!.length).map(({ stage }) => stage)).toEqual([0, 0, 1]);
  });

  it("can be run by the name that it has in the domain module", async () => {
    const { status } = await rig.post("/v1/sagas/a%2Fb", { name: "transfer", input: { amount: 5 }, stepTimeoutMs: 50 });
    expect(status).toBe(200);
    expect(asked()).toEqual({
      entity: "$saga/a/b",
      stepTimeoutMs: 50,
      named: { name: "transfer", input: { amount: 5 } },
    });
  });

  it("P7: is refused with the place of what makes no sense, and no shard is asked", async () => {
    for (const [body, at] of [
      [{}, "steps"],
      [{ steps: [] }, "steps"],
      [{ steps: [[]] }, "steps"],
      [{ steps: [step, []] }, "stages.1"],
      [{ steps: {} }, "steps"],
      [{ steps: [step], name: "transfer" }, "name"],
      [{ steps: [step], input: {} }, "input"],
      [{ name: "transfer" }, "input"],
      [{ name: "", input: {} }, "name"],
      [{ name: "transfer", input: { ["__proto__x"]: 1 }, step: 1 }, "step"],
      [{ steps: [step], timeoutMs: 0 }, "timeoutMs"],
      [{ steps: [step], stepTimeoutMs: "1s" }, "stepTimeoutMs"],
      [{ steps: [{ ...step, timeoutMs: 86_400_001 }] }, "steps.0.timeoutMs"],
      [{ steps: [[step, 7]] }, "steps.1"],
      [{ steps: [{ ...step, entity: undefined }] }, "steps.0.entity"],
      [{ steps: [{ ...step, entity: "$saga/transfer-002" }] }, "steps.0.entity"],
      [{ steps: [step, { ...last, entity: "account/alice" }] }, "steps.1.entity"],
      [{ steps: [{ ...step, forward: undefined }] }, "steps.0.forward"],
      [{ steps: [{ ...step, forward: {} }] }, "steps.0.forward"],
      [{ steps: [{ ...step, forward: { ...debited, command: "Withdraw", input: {} } }] }, "steps.0.forward"],
      [{ steps: [{ ...step, forward: { type: "Debited" } }] }, "steps.0.forward.payload"],
      [{ steps: [{ ...step, forward: { ...debited, input: {} } }] }, "steps.0.forward.input"],
      [{ steps: [{ ...step, forward: { command: "Withdraw" } }] }, "steps.0.forward.input"],
      [{ steps: [{ ...step, forward: { command: "Withdraw", input: {}, payload: {} } }] }, "steps.0.forward.payload"],
      [{ steps: [{ ...step, forward: { events: [] } }] }, "steps.0.forward.events"],
      [{ steps: [{ ...step, forward: { events: [{ type: "Debited" }] } }] }, "steps.0.forward.events.0.payload"],
      [{ steps: [{ ...step, forward: { ...debited, id: "x" } }] }, "steps.0.forward.id"],
      [{ steps: [{ ...step, back: undefined }] }, "steps.0.back"],
      [{ steps: [{ ...step, back: "none" }] }, "steps.0.back"],
      [{ steps: [last, step] }, "steps.0.back"],
      [{ steps: [[step, last]] }, "steps.1.back"],
      [{ steps: [{ ...step, schemaVsn: 0 }] }, "steps.0.schemaVsn"],
      [{ steps: [{ ...step, expectedSeq: 3 }] }, "steps.0.expectedSeq"],
      [{ steps: new Array(limits.sagaStepsMax + 1).fill(step) }, "steps"],
    ] as const) {
      const { status, body: answer } = await rig.post(path, body);
      expect([status, answer["code"], answer["facts"]], JSON.stringify(body).slice(0, 200)).toEqual([
        400,
        "INVALID_REQUEST",
        { path: at, problem: expect.any(String) },
      ]);
    }
    expect(await rig.post(path, { steps: [{ ...step, entity: "alice" }] })).toMatchObject({
      status: 400,
      body: { code: "INVALID_ENTITY_ID" },
    });
    expect(await rig.post(`/v1/sagas/${"x".repeat(limits.sagaIdBytesMax + 1)}`, { steps: [step] })).toMatchObject({
      status: 400,
      body: { facts: { path: "saga" } },
    });
    expect(await rig.post(path, { steps: [step] }, { headers: { "idempotency-key": "k" } })).toMatchObject({
      status: 400,
      body: { facts: { path: "Idempotency-Key" } },
    });
    expect(rig.gateway.calls).toEqual([]);
  });

  it("P7: is refused when it is enormous", async () => {
    const forward = { type: "Noted", payload: "x".repeat(limits.sagaBytesMax) };
    expect(await rig.post(path, { steps: [{ ...step, forward }] })).toMatchObject({
      status: 413,
      body: { code: "FRAME_TOO_LARGE", facts: { bytesMax: limits.sagaBytesMax } },
    });
  });

  it("answers with the error of the shard, at the status of its code", async () => {
    for (const error of [
      new HeddleError("ID_REUSED", { entity: "$saga/transfer-001", id: "transfer-001" }),
      new HeddleError("UNKNOWN_SAGA", { saga: "transfer", known: [] }),
      new HeddleError("OVERLOADED", { queue: "running sagas of shard 0", depth: 9, depthMax: 9 }),
    ]) {
      rig.gateway.onSaga = () => Promise.reject(error);
      expect((await rig.post(path, { name: "transfer", input: null })).body).toMatchObject({
        ok: false,
        code: error.code,
      });
    }
  });
});

describe("the operator's desk over HTTP", () => {
  it("lists sagas, all of them or only those that somebody should look at", async () => {
    const { body } = await rig.get("/v1/sagas?only=stuck&limit=7&cursor=0%3Aa");
    expect(asked()).toEqual({ only: "stuck", limit: 7, cursor: "0:a" });
    expect(body).toEqual({
      sagas: [{ saga: "transfer-001", state: "STUCK", name: "transfer", startedAt: 1_764_000_000_000 }],
    });
    await rig.get("/v1/sagas");
    expect(asked()).toEqual({ only: "all", limit: 100 });
    for (const [query, at] of [
      ["only=lost", "only"],
      ["limit=0", "limit"],
      ["stuck=true", "stuck"],
    ]) {
      expect(await rig.get(`/v1/sagas?${query}`)).toMatchObject({ status: 400, body: { facts: { path: at } } });
    }
  });

  it("shows one saga whole, and says of none that there is none", async () => {
    const { status, body } = await rig.get(path);
    expect({ status, body }).toEqual({ status: 200, body: sagaRecord() });
    rig.gateway.onSagaShow = () => Promise.reject(new HeddleError("NO_SUCH_SAGA", { saga: "transfer-001" }));
    expect(await rig.get(path)).toMatchObject({ status: 404, body: { code: "NO_SUCH_SAGA" } });
  });

  it("retries and resolves with a reason, and answers with the saga as it is then", async () => {
    expect(await rig.post(`${path}/retry`, { reason: "open again" })).toMatchObject({
      status: 200,
      body: sagaRecord(),
    });
    expect(await rig.post(`${path}/resolve`, { as: "COMPENSATED", reason: "paid back", by: "ann" })).toMatchObject({
      status: 200,
    });
    const operations = rig.gateway.calls.filter(({ name }) => name === "sagaOperate").map(({ fields }) => fields);
    expect(operations).toEqual([
      { entity: "$saga/transfer-001", as: undefined, reason: "open again", by: "" },
      { entity: "$saga/transfer-001", as: "COMPENSATED", reason: "paid back", by: "ann" },
    ]);
    rig.gateway.onSagaOperate = () =>
      Promise.reject(new HeddleError("SAGA_NOT_STUCK", { saga: "transfer-001", state: "COMMITTED" }));
    expect(await rig.post(`${path}/retry`, { reason: "x" })).toMatchObject({ status: 409 });
  });

  it("P7: does neither without a reason, and ends nothing in a state that is no end", async () => {
    for (const [action, body, at] of [
      ["retry", {}, "reason"],
      ["retry", { reason: "" }, "reason"],
      ["retry", { reason: "x".repeat(4_097) }, "reason"],
      ["retry", { reason: "x", as: "COMMITTED" }, "as"],
      ["resolve", { reason: "x" }, "as"],
      ["resolve", { reason: "x", as: "STUCK" }, "as"],
      ["resolve", { as: "COMMITTED" }, "reason"],
      ["resolve", { as: "COMMITTED", reason: "x", by: 7 }, "by"],
      ["resolve", { as: "COMMITTED", reason: "x", force: true }, "force"],
    ] as const) {
      expect(await rig.post(`${path}/${action}`, body), JSON.stringify(body).slice(0, 80)).toMatchObject({
        status: 400,
        body: { facts: { path: at } },
      });
    }
    expect(rig.gateway.calls).toEqual([]);
  });
});
