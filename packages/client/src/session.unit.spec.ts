// Goal: calls leave together, in order, bounded, and every one of them is settled.
// Method: a scripted node behind the client's ports; time is moved by hand.
// Tested elsewhere: connecting and reconnecting (link.unit.spec.ts), what calls mean (heddle.unit.spec.ts).
import { HeddleError, limits } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import type { HeddleOptions } from "./options.ts";
import { appendOf, failure, outcome, overloaded, receipt, ScriptedNode, value } from "./scripted-node.spec-support.ts";

function open(options: HeddleOptions = {}): {
  node: ScriptedNode;
  db: Heddle;
  append: (name?: string) => Promise<unknown>;
} {
  const node = new ScriptedNode();
  const db = new Heddle(options, undefined, node.ports);
  let n = 0;
  return { node, db, append: (name = "alice") => db.entity(`account/${name}`).append("Credited", { n: n++ }) };
}

async function connected(options: HeddleOptions = {}): Promise<ReturnType<typeof open>> {
  const opened = open(options);
  const ready = opened.db.ready();
  await opened.node.world.settle();
  await ready;
  opened.node.connection.writes.length = 0;
  return opened;
}

describe("session: calls leave together", () => {
  it("all calls of one turn are one write", async () => {
    const { node, append } = await connected();
    for (let i = 0; i < 64; i++) void append(`a${i}`);
    await node.world.settle();
    expect(node.connection.writes).toEqual([64]);
  });

  it("plain callers that were answered together call again together, through however many awaits", async () => {
    const { node, append } = await connected();
    const twice = async (name: string): Promise<void> => {
      await append(name);
      for (let i = 0; i < name.length; i++) await undefined;
      await append(name);
    };
    const callers = Array.from({ length: 64 }, (_, i) => twice("x".repeat(1 + (i % 7))));
    await node.world.settle();
    node.connection.receipts();
    await node.world.settle();
    expect(node.connection.writes).toEqual([64, 64]);
    node.connection.receipts(64);
    await Promise.all(callers);
  });

  it("calls that fill several chunks are still one write, in order", async () => {
    const { node, db } = await connected();
    const text = "x".repeat(3_000);
    for (let i = 0; i < 100; i++) void db.entity("account/alice").append("Credited", { text });
    await node.world.settle();
    expect(node.connection.writes).toEqual([100]);
    expect(node.arrived.map((request) => request.call)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  it("calls made before the connection stands leave together with the welcome", async () => {
    const { node, append } = open();
    for (let i = 0; i < 10; i++) void append();
    await node.world.settle();
    expect(node.connection.writes).toEqual([0, 10]);
  });
});

describe("session: order and numbers", () => {
  it("numbers rise by one from 1, in the order of the calls", async () => {
    const { node, append } = await connected();
    for (const name of ["a", "b", "a", "c"]) void append(name);
    await node.world.settle();
    expect(node.arrived.map((request) => [request.call, appendOf(request).entity])).toEqual([
      [1, "account/a"],
      [2, "account/b"],
      [3, "account/a"],
      [4, "account/c"],
    ]);
  });

  it("answers may come in any order", async () => {
    const { node, append } = await connected();
    const calls = [append(), append(), append()];
    await node.world.settle();
    node.connection.say(receipt(3), receipt(1), receipt(2));
    expect(await Promise.all(calls)).toMatchObject([{ seq: 1 }, { seq: 2 }, { seq: 3 }]);
  });

  it("P4 S3: never sends a number that the node's window could not hold beside the oldest unanswered one", async () => {
    const { node, append } = await connected();
    const calls = Array.from({ length: 10_000 }, () => append());
    await node.world.settle();
    const first = limits.sessionCallsMax - 1;
    expect(node.arrived).toHaveLength(first);
    // The oldest stays unanswered: nothing moves, however many of the others are answered.
    node.connection.receipts(1);
    await node.world.settle();
    expect(node.arrived).toHaveLength(first);
    node.connection.say(receipt(1));
    await node.world.settle();
    expect(node.arrived).toHaveLength(10_000);
    node.connection.receipts(first);
    expect(await Promise.all(calls)).toHaveLength(10_000);
  });

  it("P4 S3: a call that was given up frees its place", async () => {
    const { node, db, append } = await connected();
    const controller = new AbortController();
    const oldest = outcome(db.entity("account/a").get(undefined, { signal: controller.signal }));
    for (let i = 0; i < limits.sessionCallsMax; i++) void append();
    await node.world.settle();
    expect(node.arrived).toHaveLength(limits.sessionCallsMax - 1);
    controller.abort();
    await node.world.settle();
    expect(node.arrived).toHaveLength(limits.sessionCallsMax);
    expect((await oldest).error).toBe(controller.signal.reason);
  });
});

describe("session: P8 back-pressure", () => {
  it("holds calls back while the socket is full, and sends them when it drains", async () => {
    const { node, append } = await connected();
    node.connection.full = true;
    void append();
    await node.world.settle();
    void append();
    void append();
    await node.world.settle();
    expect(node.connection.writes).toEqual([1]);
    node.connection.drain();
    await node.world.settle();
    expect(node.connection.writes).toEqual([1, 2]);
  });

  it("looks at the socket again after a mebibyte, rather than writing all that waits", async () => {
    const { node, db } = await connected();
    node.connection.full = true;
    const text = "x".repeat(100_000);
    for (let i = 0; i < 25; i++) void db.entity("account/a").append("Credited", { text });
    await node.world.settle();
    expect(node.connection.writes).toEqual([11]);
    node.connection.drain();
    await node.world.settle();
    expect(node.connection.writes).toEqual([11, 11, 3]);
  });

  it("refuses a call beyond the memory for unanswered ones, and takes calls again when some were answered", async () => {
    const { node, append } = await connected({ unansweredBytesMax: 1_000 });
    const kept = [append(), append(), append()];
    await expect(append()).rejects.toMatchObject({ code: "OVERLOADED", retryable: true });
    await node.world.settle();
    node.connection.receipts();
    await Promise.all(kept);
    const next = append();
    await node.world.settle();
    node.connection.receipts(3);
    expect(await next).toMatchObject({ ok: true });
  });
});

describe("session: time-outs", () => {
  it("a call without an answer rejects with TIMEOUT, and its late answer is ignored", async () => {
    const { node, db } = await connected();
    const call = outcome(db.entity("account/a").append("Credited", {}, { timeoutMs: 200 }));
    const other = db.entity("account/a").append("Credited", {});
    await node.world.pass(199);
    await node.world.pass(10);
    expect(await call).toMatchObject({ error: { code: "TIMEOUT", facts: { afterMs: 200 } } });
    node.connection.say(receipt(1), receipt(2));
    expect(await other).toMatchObject({ ok: true, seq: 2 });
    expect(node.connections).toHaveLength(1);
  });

  it("one timer serves all calls, and none is left once all are answered and it has rung", async () => {
    const { node, append } = await connected();
    const calls = Array.from({ length: 50 }, () => append());
    await node.world.settle();
    expect(node.world.timers).toBe(1);
    node.connection.receipts();
    await Promise.all(calls);
    await node.world.pass(60_000);
    expect(node.world.timers).toBe(0);
  });

  it("the client's time-out holds where the call has none of its own", async () => {
    const { node, append } = await connected({ timeoutMs: 50 });
    const call = outcome(append());
    await node.world.pass(60);
    expect(await call).toMatchObject({ error: { code: "TIMEOUT", facts: { afterMs: 50 } } });
  });

  it("P7 refuses a time-out longer than a node keeps a session's window", async () => {
    const { db } = await connected();
    const call = db.entity("account/a").append("Credited", {}, { timeoutMs: 600_001 });
    await expect(call).rejects.toMatchObject({ code: "INVALID_REQUEST", facts: { path: "timeoutMs" } });
  });
});

describe("session: abort", () => {
  it("rejects with the signal's reason, and ignores the late answer", async () => {
    const { node, db } = await connected();
    const controller = new AbortController();
    const call = outcome(db.entity("account/a").append("Credited", {}, { signal: controller.signal }));
    await node.world.settle();
    const reason = new Error("changed my mind");
    controller.abort(reason);
    expect((await call).error).toBe(reason);
    node.connection.say(receipt(1));
    await node.world.settle();
    expect(node.connections).toHaveLength(1);
  });

  it("a call that is aborted before it leaves does not leave", async () => {
    const { node, db, append } = await connected();
    const controller = new AbortController();
    const call = outcome(db.entity("account/a").append("Credited", {}, { signal: controller.signal }));
    const kept = append("kept");
    controller.abort();
    await node.world.settle();
    expect(node.arrived.map((request) => appendOf(request).entity)).toEqual(["account/kept"]);
    expect((await call).error).toBe(controller.signal.reason);
    node.connection.receipts();
    await kept;
  });

  it("a signal that was aborted before costs no call", async () => {
    const { node, db } = await connected();
    const call = db.entity("account/a").append("Credited", {}, { signal: AbortSignal.abort() });
    await expect(call).rejects.toMatchObject({ name: "AbortError" });
    await node.world.settle();
    expect(node.arrived).toHaveLength(0);
  });

  it("lets go of the signal when the call is answered", async () => {
    const { node, db } = await connected();
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const call = db.entity("account/a").append("Credited", {}, { signal });
    await node.world.settle();
    expect(listeners).toBe(1);
    node.connection.receipts();
    await call;
    expect(listeners).toBe(0);
  });
});

describe("session: refusals that pass", () => {
  it("P4 P8 sends an OVERLOADED call again after a pause: same number, same bytes, retry flag", async () => {
    const { node, append } = await connected();
    const call = append();
    await node.world.settle();
    node.connection.say(failure(1));
    await node.world.settle();
    expect(node.arrived).toHaveLength(1);
    await node.world.pass(15);
    expect(node.arrived).toHaveLength(2);
    const [first, second] = node.arrived;
    expect(second).toEqual({ ...first, isRetry: true });
    expect(first!.isRetry).toBe(false);
    node.connection.say(receipt(1));
    expect(await call).toMatchObject({ ok: true, seq: 1 });
  });

  it("pauses double, up to a second", async () => {
    const { node, append } = await connected();
    void append();
    await node.world.settle();
    const pauses: number[] = [];
    for (let attempt = 1; attempt <= 9; attempt++) {
      node.connection.say(failure(1));
      const since = node.world.now;
      while (node.arrived.length === attempt) await node.world.pass(1);
      pauses.push(node.world.now - since);
    }
    // Chance gives the middle between half and whole.
    expect(pauses).toEqual([8, 15, 30, 60, 120, 240, 480, 750, 750]);
  });

  it("retries of several calls leave in call order", async () => {
    const { node, append } = await connected();
    for (const name of ["a", "b", "c"]) void append(name);
    await node.world.settle();
    node.connection.say(failure(3), failure(1), failure(2));
    await node.world.pass(20);
    expect(node.arrived.slice(3).map((request) => request.call)).toEqual([1, 2, 3]);
  });

  it("SHARD_STOPPED and OUTCOME_UNKNOWN are outwaited too; DISK_FULL is told at once", async () => {
    const { node, append } = await connected();
    const stopped = new HeddleError("SHARD_STOPPED", { shard: 1, reason: "restarting" });
    const unknown = new HeddleError("OUTCOME_UNKNOWN", { problem: "the shard restarted" });
    const full = new HeddleError("DISK_FULL", { shard: 1, path: "/data" });
    const calls = [append(), append(), outcome(append())];
    await node.world.settle();
    node.connection.say(failure(1, stopped), failure(2, unknown), failure(3, full));
    expect(await calls[2]).toMatchObject({ error: { code: "DISK_FULL", facts: full.facts } });
    await node.world.pass(20);
    node.connection.receipts(3);
    expect(await Promise.all(calls.slice(0, 2))).toMatchObject([{ ok: true }, { ok: true }]);
  });

  it("a call that is refused until its time is up rejects with the refusal", async () => {
    const { node, db } = await connected();
    node.connection.answer = (request) => failure(request.call);
    const call = outcome(db.entity("account/a").append("Credited", {}, { timeoutMs: 1_000 }));
    await node.world.pass(1_010);
    expect(await call).toMatchObject({ error: { code: "OVERLOADED", facts: overloaded.facts } });
    expect(node.arrived.length).toBeGreaterThan(4);
  });
});

describe("session: answers", () => {
  it("rebuilds the node's errors, with code, facts and advice", async () => {
    const { node, append } = await connected();
    const call = outcome(append());
    await node.world.settle();
    const error = new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "", known: ["Account", "Limit"] });
    node.connection.say(failure(1, error));
    const found = (await call).error as HeddleError;
    expect(found).toBeInstanceOf(HeddleError);
    expect(found).toMatchObject({ code: error.code, facts: error.facts, message: error.message, advice: error.advice });
  });

  it("P7 a value that cannot be decoded fails its own call only", async () => {
    const { node, db, append } = await connected();
    const read = outcome(db.entity("account/a").get());
    const write = append();
    await node.world.settle();
    const broken = value(1, "text");
    broken[broken.length - 1] = 0xc1;
    broken[broken.length - 5] = 0x91;
    node.connection.say(broken, receipt(2));
    expect(await read).toMatchObject({ error: { code: "BAD_FRAME" } });
    expect(await write).toMatchObject({ ok: true });
    expect(node.connections).toHaveLength(1);
  });
});

describe("session: closing", () => {
  it("waits for unanswered calls, then closes the socket; later calls reject with CLOSED", async () => {
    const { node, db, append } = await connected();
    const call = append();
    let isClosed = false;
    const closing = db.close().then(() => {
      isClosed = true;
    });
    await node.world.settle();
    expect(isClosed).toBe(false);
    await expect(append()).rejects.toMatchObject({ code: "CLOSED" });
    await expect(db.ready()).rejects.toMatchObject({ code: "CLOSED" });
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
    await node.world.settle();
    await closing;
    expect(node.connection.isDestroyed).toBe(false);
    expect(node.connection.isClosed).toBe(true);
    expect(node.world.timers).toBe(0);
  });

  it("cuts calls off at its deadline: sent ones have an unknown outcome, others are CLOSED", async () => {
    const { node, db, append } = await connected();
    node.connection.full = true;
    const sent = outcome(append());
    await node.world.settle();
    const unsent = outcome(append());
    const closing = db.close({ timeoutMs: 100 });
    await node.world.pass(110);
    await closing;
    expect(await sent).toMatchObject({ error: { code: "OUTCOME_UNKNOWN" } });
    expect(await unsent).toMatchObject({ error: { code: "CLOSED" } });
  });

  it("twice, and before the first connection, is fine", async () => {
    const { node, db } = await connected();
    const both = [db.close(), db.close()];
    await node.world.settle();
    await Promise.all(both);
    await db.close();
    const never = open();
    await never.db.close();
    expect(never.node.connections).toHaveLength(0);
  });

  it("while connecting gives the attempt up", async () => {
    const { node, db } = open();
    node.onConnect = "silence";
    const ready = outcome(db.ready());
    await node.world.settle();
    await db.close();
    expect(await ready).toMatchObject({ error: { code: "CLOSED" } });
    expect(node.connection.isDestroyed).toBe(true);
    expect(node.world.timers).toBe(0);
  });

  it("await using closes", async () => {
    const node = new ScriptedNode();
    {
      await using db = new Heddle({}, undefined, node.ports);
      const ready = db.ready();
      await node.world.settle();
      await ready;
      node.world.soon(() => undefined);
      // The socket's end is an event of the loop, which this block cannot run while it waits for it.
      setImmediate(() => void node.world.settle());
    }
    expect(node.connection.isClosed).toBe(true);
  });
});
