// The routes of transaction-routes.ts over real sockets, with a fake gateway in place of the shards. `rig.call` holds each
// answer against the OpenAPI document. What the shards make of such calls: test/e2e/transactions.e2e.spec.ts.
import { HeddleError, limits } from "@heddle/kernel";
import { rejection } from "@heddle/protocol/internal";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeGateway, Rig } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
});

const [alice, bob] = ["account/alice", "account/bob"] as const;
const credited = { entity: alice, aggregate: "Account", type: "Credited", payload: { amount: 5 } };
const withdraw = { entity: bob, aggregate: "Account", command: "Withdraw", input: { amount: 5 } };
const receiptOf = (entity: string, duplicate = false) => ({
  ok: true,
  entity,
  seq: 7,
  firstSeq: 7,
  count: 1,
  shard: 1,
  position: 4096,
  time: 1_764_000_000_000,
  duplicate,
});
const transact = (operations: unknown, more: object = {}) =>
  rig.post("/v1/transactions", { operations: operations as never, ...more });
const asked = () => rig.gateway.calls.map(({ fields }) => fields);

describe("transactions", () => {
  it("answer 200 with a receipt for each write and a state for each read, in their order", async () => {
    const read = { entity: bob, aggregate: "Account", read: true };
    const { status, body } = await transact([read, credited, withdraw]);
    expect(status).toBe(200);
    expect(body).toEqual({
      ok: true,
      results: [{ entity: bob, aggregate: "Account", state: { balance: 5 }, seq: 7 }, receiptOf(alice), receiptOf(bob)],
      duplicate: false,
    });
  });

  it("reach the shards as they were written, with conditions, metadata and id", async () => {
    const events = [{ type: "Credited", payload: { amount: 1 } }];
    await transact(
      [
        { ...credited, expectedSeq: 6, metadata: { why: "rent" } },
        { entity: bob, events, newLife: true },
        withdraw,
        { entity: bob, read: true, expectedSeq: 0 },
      ],
      { id: "transfer-1" },
    );
    expect(asked()).toEqual([
      {
        id: "transfer-1",
        operations: [
          {
            kind: "append",
            entity: alice,
            aggregate: "Account",
            events: [{ type: "Credited", payload: { amount: 5 } }],
            expectedSeq: 6,
            metadata: { why: "rent" },
          },
          { kind: "append", entity: bob, aggregate: "", events, newLife: true },
          { kind: "execute", entity: bob, aggregate: "Account", command: "Withdraw", input: { amount: 5 } },
          { kind: "read", entity: bob, aggregate: "", expectedSeq: 0, wantsState: true },
        ],
      },
    ]);
  });

  it("take the id as a header too, and refuse two that differ", async () => {
    const headers = { "idempotency-key": "transfer-1" };
    await rig.post("/v1/transactions", { operations: [credited] }, { headers });
    expect(asked()).toMatchObject([{ id: "transfer-1" }]);
    const differing = { operations: [credited], id: "transfer-2" };
    expect(await rig.post("/v1/transactions", differing, { headers })).toMatchObject({
      status: 400,
      body: { facts: { path: "id" } },
    });
  });

  it("that were sent before give the first receipts, and null where they read", async () => {
    rig.gateway.onTransact = async () => ({ results: [[7, 7, 1, 1, 4096, 1_764_000_000_000]], duplicate: true });
    const { status, body } = await transact([{ entity: bob, read: true }, credited], { id: "transfer-1" });
    expect(status).toBe(200);
    expect(body).toEqual({ ok: true, results: [null, receiptOf(alice, true)], duplicate: true });
  });

  it("P3: answer 409 with the place and the rejection when an operation is refused", async () => {
    const inner = rejection("COMMAND_REJECTED", {
      command: "Withdraw",
      reason: "INSUFFICIENT",
      details: { balance: 3 },
    });
    rig.gateway.onTransact = async () =>
      rejection("TRANSACTION_REJECTED", { operation: 1, entity: bob, rejection: inner });
    const { status, body } = await transact([credited, withdraw]);
    expect(status).toBe(409);
    expect(body).toEqual({
      ok: false,
      code: "TRANSACTION_REJECTED",
      message: "nothing was written, for operation 1, on account/bob: Withdraw was rejected: INSUFFICIENT",
      facts: { operation: 1, entity: bob, rejection: inner },
    });
  });

  it("answer 503 and when to come again where a shard gave up or an entity is held", async () => {
    for (const error of [
      new HeddleError("TRANSACTION_ABORTED", { reason: "shard 3 was lost" }),
      new HeddleError("ENTITY_HELD", { entity: bob, heldMs: 5_000 }),
    ]) {
      rig.gateway.onTransact = () => Promise.reject(error);
      const { status, headers, body } = await transact([credited]);
      expect([status, headers["retry-after"], body["code"], body["retryable"]]).toEqual([503, "1", error.code, true]);
    }
  });

  it("P7: are refused for what is no transaction, with the place, and ask no shard", async () => {
    const place = (path: string) => ({ status: 400, body: { code: "INVALID_REQUEST", facts: { path } } });
    const many = new Array(limits.transactionOperationsMax + 1).fill({ entity: alice, read: true });
    const { entity: _, ...nameless } = credited;
    for (const [operations, path] of [
      [undefined, "operations"],
      [{}, "operations"],
      [[], "operations"],
      [many, "operations"],
      [[5], "operations.0"],
      [[credited, { entity: alice }], "operations.1"],
      [[credited, nameless], "operations.1.entity"],
      [[{ ...credited, id: "x" }], "operations.0.id"],
      [[{ ...credited, expectedSeq: -1 }], "operations.0.expectedSeq"],
      [[{ ...credited, expectedseq: 1 }], "operations.0.expectedseq"],
      [[{ ...credited, command: "Withdraw" }], "operations.0"],
      [[{ ...credited, aggregate: "" }], "operations.0.aggregate"],
      [[{ ...credited, newLife: "yes" }], "operations.0.newLife"],
      [[{ entity: alice, type: "Credited" }], "operations.0.payload"],
      [[{ entity: alice, command: "Withdraw" }], "operations.0.input"],
      [[{ entity: alice, events: [] }], "operations.0.events"],
      [[{ entity: alice, events: [{ type: "Credited" }] }], "operations.0.events.0.payload"],
      [[{ entity: alice, read: false }], "operations.0.read"],
      [[{ entity: alice, read: true, metadata: {} }], "operations.0.metadata"],
      [[{ ...credited, read: true }], "operations.0.type"],
    ] as const) {
      expect(await transact(operations), JSON.stringify(operations)?.slice(0, 100)).toMatchObject(place(path));
    }
    for (const entity of ["alice", "$saga/x", "$transaction", 5]) {
      const wanted = { status: 400, body: { code: "INVALID_ENTITY_ID" } };
      expect(await transact([{ ...credited, entity }]), String(entity)).toMatchObject(wanted);
    }
    expect(await transact([credited], { operation: 5 })).toMatchObject(place("operation"));
    expect(await transact([credited], { id: "x".repeat(201) })).toMatchObject(place("id"));
    expect(await rig.post("/v1/transactions?x=1", { operations: [credited] })).toMatchObject(place("x"));
    expect(asked()).toEqual([]);
  });
});

describe("reads of several entities", () => {
  it("answer with a state for each item, in their order, and ask the shards once", async () => {
    const items = [{ entity: bob }, { entity: alice, aggregate: "Account" }];
    const { status, body } = await rig.post("/v1/read", { items });
    expect(status).toBe(200);
    const state = { aggregate: "Account", state: { balance: 5 }, seq: 7 };
    expect(body).toEqual({
      states: [
        { entity: bob, ...state },
        { entity: alice, ...state },
      ],
    });
    expect(asked()).toEqual([
      {
        operations: [
          { kind: "read", entity: bob, aggregate: "", wantsState: true },
          { kind: "read", entity: alice, aggregate: "Account", wantsState: true },
        ],
      },
    ]);
  });

  it("P7: are refused for items that are none", async () => {
    for (const [items, path] of [
      [undefined, "items"],
      [[], "items"],
      [[{}], "items.0.entity"],
      [[{ entity: alice, seq: 5 }], "items.0.seq"],
      [[{ entity: alice, aggregate: 5 }], "items.0.aggregate"],
      [new Array(limits.transactionOperationsMax + 1).fill({ entity: alice }), "items"],
    ] as const) {
      const { status, body } = await rig.post("/v1/read", { items });
      expect([status, body["code"], body["facts"]]).toMatchObject([400, "INVALID_REQUEST", { path }]);
    }
    expect(asked()).toEqual([]);
  });
});
