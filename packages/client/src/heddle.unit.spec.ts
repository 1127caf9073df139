// Goal: what a caller writes becomes the right request, and the reply becomes what the caller was promised.
// Tested elsewhere: coalescing, retries and time-outs (session), connections (link), types (types).
import { HeddleError, hashEntity, limits, parseEntityId } from "@heddle/kernel";
import {
  appendFlags,
  encodeRejectionReply,
  newExecuteView,
  readExecuteBody,
  readGetBody,
  readHistoryBody,
  rejection,
  requestKind,
  TextCache,
  type WireEvent,
} from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import { committed, RejectedError } from "./results.ts";
import {
  type Arrived,
  answering,
  appendOf,
  failure,
  outcome,
  receipt,
  ScriptedNode,
  value,
} from "./scripted-node.spec-support.ts";

describe("append", () => {
  it("one event: entity, hash, type, payload and options reach the node, the receipt comes back", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call, 7));
    const alice = db.entity("account/alice");
    const result = await run(
      alice.append("Credited", { amount: 5 }, { aggregate: "Account", expectedSeq: 6, id: "x1" }),
    );
    expect(result).toEqual({
      ok: true,
      seq: 7,
      firstSeq: 7,
      count: 1,
      shard: 1,
      position: 107,
      time: 1_763_600_000_000,
      duplicate: false,
    });
    const [request] = node.arrived;
    expect(request).toMatchObject({ kind: requestKind.append, hash: hashEntity(parseEntityId("account/alice")) });
    const wanted = { entity: "account/alice", aggregate: "Account", types: ["Credited"], id: "x1", seq: 6 };
    expect(appendOf(request!)).toEqual(wanted);
  });

  it("whose payload has a getter that makes a call comes after that call, and both are answered", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call, request.call));
    let inner: Promise<{ readonly seq: number }> | undefined;
    const payload = {
      get amount() {
        inner ??= db.entity("account/bob").append("Credited", { amount: 1 }) as Promise<{ readonly seq: number }>;
        return 5;
      },
    };
    const outer = await run(db.entity("account/alice").append("Credited", payload));
    expect([(await inner!).seq, (outer as { readonly seq: number }).seq]).toEqual([1, 2]);
    expect(node.arrived.map((request) => [request.call, appendOf(request).entity])).toEqual([
      [1, "account/bob"],
      [2, "account/alice"],
    ]);
  });

  it("a new life of an erased entity is asked for by name only, by every way to write", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call));
    const alice = db.entity("account/alice");
    const item = { entity: "account/alice", type: "Credited", payload: {} };
    for (const newLife of [undefined, false, true]) {
      await run(alice.append("Credited", {}, { newLife }));
      await run(alice.execute("Deposit", {}, { newLife }));
      await run(db.appendMany([{ ...item, newLife }]));
    }
    const flags = node.arrived.map(({ body }) => body[2 + "account/alice".length + 1]);
    expect(flags).toEqual([0, 0, 0, 0, 0, 0, appendFlags.newLife, appendFlags.newLife, appendFlags.newLife]);
  });

  it("several events are one request", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call));
    const events = ["Credited", "Debited", "Credited"].map((type) => ({ type, payload: { amount: 1 } }));
    await run(db.entity("account/alice").append(events, { aggregate: "Account" }));
    expect(node.arrived.map(appendOf)).toMatchObject([{ types: ["Credited", "Debited"] }]);
  });

  it("a rejection is a value, with code, sentence and facts", async () => {
    const rule = { aggregate: "Account", rule: "balance is never negative", index: 0 };
    const said = rejection("INVARIANT_VIOLATED", rule);
    const { db, run } = await answering((request) => encodeRejectionReply(request.call, said));
    const result = await run(db.entity("account/alice").append("Debited", { amount: 1 }));
    expect(result).toEqual(said);
    expect(result).toMatchObject({ ok: false, code: "INVARIANT_VIOLATED", facts: rule });
  });

  it("the payload is taken when the call is made: changing it afterwards changes nothing", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call));
    const payload = { amount: 1 };
    const call = db.entity("account/alice").append("Credited", payload);
    payload.amount = 2;
    await run(call);
    expect([...node.arrived[0]!.body.subarray(-1)]).toEqual([1]);
  });

  it("P7 refuses what cannot be sent, as a rejected promise, and sends nothing", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call));
    const alice = db.entity("account/alice");
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    const invalid: Promise<unknown>[] = [
      alice.append([]),
      alice.append("Credited", cycle),
      alice.append("Credited", Symbol("s")),
      alice.append("Credited", 2n ** 64n),
      alice.append([undefined as never]),
      alice.append(undefined as never),
      alice.append("x".repeat(200), {}),
      alice.append("Credited", {}, { id: "" }),
      alice.append("Credited", {}, { expectedSeq: -1 }),
      alice.append("Credited", {}, { aggregate: 5 as never }),
      alice.append("Credited", {}, { timeoutMs: Number.NaN }),
    ];
    for (const call of invalid) await expect(call).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    const large = alice.append("Credited", new Uint8Array(limits.frameBytesMax));
    await expect(large).rejects.toMatchObject({ code: "FRAME_TOO_LARGE", facts: { bytesMax: limits.frameBytesMax } });
    // The next call is as if nothing had been.
    await run(alice.append("Credited", { amount: 1 }));
    expect(node.arrived.map((request) => [request.call, appendOf(request).types])).toEqual([[1, ["Credited"]]]);
  });

  it("P7 an entity id is checked when the entity is named", () => {
    const db = new Heddle({}, undefined, new ScriptedNode().ports);
    expect(() => db.entity("alice")).toThrowError(expect.objectContaining({ code: "INVALID_ENTITY_ID" }));
  });
});

describe("execute and get", () => {
  it("a command reaches the node with its input and options", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call));
    await run(db.entity("account/alice").execute("Withdraw", { amount: 5 }, { aggregate: "Account", id: "w1" }));
    const [request] = node.arrived;
    const view = newExecuteView();
    readExecuteBody(request!.body, 0, request!.body.length, new TextCache(), view);
    expect(request!.kind).toBe(requestKind.execute);
    expect(view).toMatchObject({ entity: "account/alice", aggregate: "Account", command: "Withdraw", id: "w1" });
  });

  it("get gives state and sequence", async () => {
    const { node, db, run } = await answering((request) => value(request.call, { state: { balance: 5 }, seq: 3 }));
    expect(await run(db.entity("account/alice").get("Account"))).toEqual({ state: { balance: 5 }, seq: 3 });
    const { body, kind } = node.arrived[0]!;
    expect(kind).toBe(requestKind.get);
    const fields = { entity: "account/alice", aggregate: "Account" };
    expect(readGetBody(body, 0, body.length, new TextCache())).toEqual(fields);
  });

  it("P7 a value of another shape is an error, not a wrong state", async () => {
    const { db, run } = await answering((request) => value(request.call, { state: {} }));
    await expect(run(db.entity("account/alice").get())).rejects.toMatchObject({ code: "BAD_FRAME" });
  });
});

/** A node that has these many events of one entity, and gives at most `pageMax` of them at once. */
function archive(count: number, pageMax = Infinity) {
  const events: WireEvent[] = Array.from({ length: count }, (_, i) => [
    i + 1,
    1_000 + i,
    i % 2 === 0 ? "Account" : "Limit",
    "Credited",
    { i },
    i === 0 ? { trace: "t" } : undefined,
    i === 0 ? "id-1" : null,
    1,
    50 * i,
  ]);
  const queries: unknown[] = [];
  const answer = (request: Arrived): Uint8Array => {
    const query = readHistoryBody(request.body, 0, request.body.length, new TextCache());
    queries.push([query.from, query.limit, query.direction, query.aggregate]);
    const forward = query.direction === "forward";
    const inOrder = forward ? events : events.toReversed();
    const from = query.from === 0 ? (forward ? 1 : Infinity) : query.from;
    const found = inOrder
      .filter(([seq]) => (forward ? seq >= from : seq <= from))
      .filter(([, , aggregate]) => query.aggregate === "" || aggregate === query.aggregate);
    return value(request.call, found.slice(0, Math.min(query.limit, pageMax)));
  };
  return { answer, queries };
}

const seqs = (events: readonly { seq: number }[]) => events.map((event) => event.seq);

describe("history", () => {
  it("history(n) gives the n newest events in rising order", async () => {
    const { answer, queries } = archive(10);
    const { db, run } = await answering(answer);
    expect(seqs(await run(db.entity("account/a").history(3)))).toEqual([8, 9, 10]);
    expect(seqs(await run(db.entity("account/a").history()))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(queries).toEqual([
      [0, 3, "backward", ""],
      [0, 100, "backward", ""],
    ]);
  });

  it("gives every field of an event", async () => {
    const { db, run } = await answering(archive(2).answer);
    expect(await run(db.entity("account/a").history(2))).toEqual([
      {
        seq: 1,
        time: 1_000,
        aggregate: "Account",
        type: "Credited",
        payload: { i: 0 },
        metadata: { trace: "t" },
        id: "id-1",
        schemaVersion: 1,
        position: 0,
      },
      { seq: 2, time: 1_001, aggregate: "Limit", type: "Credited", payload: { i: 1 }, schemaVersion: 1, position: 50 },
    ]);
  });

  it("pages from a place on, forward and backward, and by aggregate", async () => {
    const { db, run } = await answering(archive(10).answer);
    const entity = db.entity("account/a");
    expect(seqs(await run(entity.history({ limit: 3 })))).toEqual([1, 2, 3]);
    expect(seqs(await run(entity.history({ from: 4, limit: 3 })))).toEqual([4, 5, 6]);
    expect(seqs(await run(entity.history({ from: 4, limit: 3, direction: "backward" })))).toEqual([4, 3, 2]);
    expect(seqs(await run(entity.history({ from: 2, direction: "backward" })))).toEqual([2, 1]);
    expect(seqs(await run(entity.history({ aggregate: "Limit", limit: 2 })))).toEqual([2, 4]);
  });

  it("asks on when the node gives shorter pages than it was asked for", async () => {
    const { db, run } = await answering(archive(10, 2).answer);
    const entity = db.entity("account/a");
    expect(seqs(await run(entity.history(5)))).toEqual([6, 7, 8, 9, 10]);
    expect(seqs(await run(entity.history({ limit: 100 })))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(seqs(await run(entity.history({ limit: 100, direction: "backward" })))).toHaveLength(10);
  });

  it("of an entity that was never written is empty", async () => {
    const { db, run } = await answering(archive(0).answer);
    expect(await run(db.entity("account/a").history(5))).toEqual([]);
  });

  it("P7 refuses a limit or a place out of bounds, and a reply of another shape", async () => {
    const { db, run } = await answering((request) => value(request.call, [[1, 2]]));
    const entity = db.entity("account/a");
    for (const call of [entity.history(0), entity.history(10_001), entity.history({ from: -1 })]) {
      await expect(call).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    }
    await expect(run(entity.history(1))).rejects.toMatchObject({ code: "BAD_FRAME" });
  });
});

describe("events", () => {
  async function collect(node: ScriptedNode, events: AsyncIterable<{ seq: number }>, atMost = Infinity) {
    const found: number[] = [];
    const reading = (async () => {
      for await (const event of events) {
        found.push(event.seq);
        if (found.length === atMost) break;
      }
    })();
    await node.world.settle();
    await reading;
    return found;
  }

  it("gives all events in order, page by page, until a page is empty", async () => {
    const { answer, queries } = archive(7, 3);
    const { node, db } = await answering(answer);
    expect(await collect(node, db.entity("account/a").events({ pageEvents: 5 }))).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(queries).toEqual([0, 4, 7, 8].map((from) => [from, 5, "forward", ""]));
  });

  it("P8 fetches the next page only when the last was consumed", async () => {
    const { answer, queries } = archive(100);
    const { node, db } = await answering(answer);
    expect(await collect(node, db.entity("account/a").events({ pageEvents: 10 }), 11)).toHaveLength(11);
    expect(queries).toHaveLength(2);
  });

  it("begins anywhere, and keeps to one aggregate", async () => {
    const { node, db } = await answering(archive(10).answer);
    expect(await collect(node, db.entity("account/a").events({ from: 4, aggregate: "Limit" }))).toEqual([4, 6, 8, 10]);
  });

  it("ends with the signal's reason when it is aborted between pages", async () => {
    const { node, db } = await answering(archive(10).answer);
    const controller = new AbortController();
    const reading = (async () => {
      for await (const event of db.entity("account/a").events({ pageEvents: 2, signal: controller.signal })) {
        if (event.seq === 2) controller.abort();
      }
    })();
    const result = outcome(reading);
    await node.world.settle();
    expect((await result).error).toBe(controller.signal.reason);
  });
});

describe("appendMany", () => {
  it("gives one result for each item, in their order; one bad item hides nothing", async () => {
    const full = new HeddleError("DISK_FULL", { shard: 1, path: "/data" });
    const said = rejection("SEQUENCE_CONFLICT", { expectedSeq: 1, actualSeq: 2 });
    const { node, db, run } = await answering((request) => {
      if (request.call === 2) return encodeRejectionReply(2, said);
      return request.call === 3 ? failure(3, full) : receipt(request.call);
    });
    const item = (entity: string) => ({ entity, type: "Credited", payload: {}, aggregate: "Account" });
    const names = ["account/a", "account/b", "account/c", "no slash", "account/e"];
    const results = await run(db.appendMany(names.map(item)));
    expect(results).toMatchObject([
      { ok: true, seq: 1 },
      { ok: false, code: "SEQUENCE_CONFLICT" },
      { ok: false, code: "FAILED", error: { code: "DISK_FULL" } },
      { ok: false, code: "FAILED", error: { code: "INVALID_ENTITY_ID" } },
      { ok: true, seq: 4 },
    ]);
    expect(node.connection.writes).toEqual([0, 4]);
  });

  it("carries id, metadata and expected sequence of each item", async () => {
    const { node, db, run } = await answering((request) => receipt(request.call));
    await run(db.appendMany([{ entity: "a/b", type: "T", payload: 1, id: "x", expectedSeq: 4, metadata: 1 }]));
    const wanted = { entity: "a/b", aggregate: "", types: ["T"], id: "x", seq: 4 };
    expect(node.arrived.map(appendOf)).toEqual([wanted]);
  });

  it("P7 P8 refuses more items than a call may have, and sends none of them", async () => {
    const { node, db } = await answering(() => undefined);
    const items = new Array(limits.appendManyItemsMax + 1).fill({ entity: "a/b", type: "T", payload: 1 });
    await expect(db.appendMany(items)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    await node.world.settle();
    expect(node.arrived).toHaveLength(0);
  });

  it("an abort rejects the whole call with the signal's reason", async () => {
    const { node, db } = await answering(() => undefined);
    const controller = new AbortController();
    const items = [1, 2].map((payload) => ({ entity: "a/b", type: "T", payload }));
    const call = outcome(db.appendMany(items, { signal: controller.signal }));
    await node.world.settle();
    controller.abort();
    expect((await call).error).toBe(controller.signal.reason);
  });
});

describe("committed", () => {
  it("gives the receipt, or throws what was said instead", async () => {
    const { db, run } = await answering((request) => receipt(request.call, 9));
    expect(committed(await run(db.entity("a/b").append("T", {}))).seq).toBe(9);
    const said = rejection("COMMAND_REJECTED", { command: "Withdraw", reason: "INSUFFICIENT_FUNDS", details: {} });
    expect(() => committed(said)).toThrowError(RejectedError);
    expect(() => committed(said)).toThrowError(
      expect.objectContaining({ message: said.message, code: "COMMAND_REJECTED", rejection: said }),
    );
    const error = new HeddleError("TIMEOUT", { afterMs: 5 });
    expect(() => committed({ ok: false, code: "FAILED", error })).toThrowError(error);
  });
});
