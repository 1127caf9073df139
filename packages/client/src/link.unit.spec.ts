// Goal: a client finds its node, says who it is, and comes back after every kind of loss without losing or doubling calls.
// Method: a scripted node behind the client's ports; time is moved by hand. Real sockets: tcp-transport.int.spec.ts.
import { HeddleError } from "@heddle/kernel";
import { encodeReply, protocolVersion, replyKind } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import type { HeddleOptions } from "./options.ts";
import { appendOf, failure, outcome, receipt, ScriptedNode, welcome } from "./scripted-node.spec-support.ts";

function open(options: HeddleOptions = {}) {
  const node = new ScriptedNode();
  const db = new Heddle({ host: "db.example", port: 1234, ...options }, undefined, node.ports);
  const append = (name = "alice") => db.entity(`account/${name}`).append("Credited", {});
  return { node, db, append };
}

async function connected(options: HeddleOptions = {}) {
  const opened = open(options);
  const ready = opened.db.ready();
  await opened.node.world.settle();
  await ready;
  return opened;
}

describe("link: connecting", () => {
  it("connects with the first call, not before", async () => {
    const { node, append } = open();
    await node.world.pass(1_000);
    expect(node.connections).toHaveLength(0);
    const call = append();
    await node.world.settle();
    expect(node.addresses).toEqual([{ host: "db.example", port: 1234 }]);
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
  });

  it("says version, session, client and context, and waits for the welcome before it sends calls", async () => {
    const { node, append } = open({ context: "bank", clientName: "test" });
    node.onConnect = "greeting only";
    void append();
    await node.world.settle();
    expect(node.connection.hello).toEqual({
      version: protocolVersion,
      session: 1 + (2 ** 52 % (2 ** 48 - 1)),
      client: "test",
      context: "bank",
    });
    expect(node.arrived).toHaveLength(0);
    node.connection.say(encodeReply(replyKind.welcome, 0, welcome));
    await node.world.settle();
    expect(node.arrived).toHaveLength(1);
  });

  it("ready gives what the node says of itself, at once when there is a connection", async () => {
    const { node, db } = open();
    const ready = db.ready();
    await node.world.settle();
    expect(await ready).toEqual(welcome);
    expect(await db.ready()).toEqual(welcome);
    expect(node.connections).toHaveLength(1);
  });

  it("keeps trying, with pauses that double, and serves the waiting calls when the node appears", async () => {
    const { node, append } = open({ timeoutMs: 60_000 });
    node.onConnect = "refuse";
    const call = append();
    await node.world.settle();
    const pauses: number[] = [];
    for (let attempt = 1; attempt < 7; attempt++) {
      const since = node.world.now;
      while (node.connections.length === attempt) await node.world.pass(1);
      pauses.push(node.world.now - since);
    }
    expect(pauses).toEqual([15, 30, 60, 120, 240, 480]);
    node.onConnect = "welcome";
    await node.world.pass(1_000);
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
  });

  it("P7 fails fast, naming the address, when there never was a connection", async () => {
    const { node, append, db } = open({ connectTimeoutMs: 300, timeoutMs: 60_000 });
    node.onConnect = "refuse";
    const call = outcome(append());
    const ready = outcome(db.ready());
    await node.world.pass(310);
    const facts = { address: "db.example:1234", message: "connect ECONNREFUSED" };
    expect(await call).toMatchObject({ error: { code: "CONNECTION_FAILED", facts } });
    expect(await ready).toMatchObject({ error: { code: "CONNECTION_FAILED", facts } });
    // Nothing goes on behind the scenes, and the next call tries anew.
    expect(node.world.timers).toBe(0);
    node.onConnect = "welcome";
    const next = append();
    await node.world.settle();
    node.connection.receipts();
    expect(await next).toMatchObject({ ok: true });
  });

  it("a node that accepts and stays silent counts as no connection", async () => {
    const { node, append } = open({ connectTimeoutMs: 300 });
    node.onConnect = "silence";
    const call = outcome(append());
    await node.world.pass(310);
    const facts = { message: "no welcome within 300 ms" };
    expect(await call).toMatchObject({ error: { code: "CONNECTION_FAILED", facts } });
    expect(node.connection.isDestroyed).toBe(true);
  });

  it("a call whose own time runs out before any connection says so", async () => {
    const { node, db } = open();
    node.onConnect = "refuse";
    const call = outcome(db.entity("account/a").append("Credited", {}, { timeoutMs: 100 }));
    await node.world.pass(110);
    expect(await call).toMatchObject({ error: { code: "CONNECTION_FAILED" } });
  });

  it("a transport that cannot work here fails the call with its reason", async () => {
    const node = new ScriptedNode();
    const connect = () => {
      throw new Error("there is no TCP in a browser");
    };
    const db = new Heddle({}, undefined, { ...node.ports, connect });
    const call = outcome(db.entity("account/a").append("Credited", {}));
    await node.world.settle();
    expect(await call).toMatchObject({
      error: { code: "CONNECTION_FAILED", facts: { message: "there is no TCP in a browser" } },
    });
    expect(node.world.timers).toBe(0);
  });
});

describe("link: a node that will not have this client", () => {
  it("UNSUPPORTED_VERSION reaches every waiting call, without further attempts", async () => {
    const { node, append, db } = open();
    node.onConnect = "greeting only";
    const calls = [outcome(append()), outcome(db.ready())];
    await node.world.settle();
    node.connection.say(failure(0, new HeddleError("UNSUPPORTED_VERSION", { found: 1, supported: [2, 3] })));
    for (const call of calls) {
      expect(await call).toMatchObject({
        error: { code: "UNSUPPORTED_VERSION", facts: { found: 1, supported: [2, 3] } },
      });
    }
    await node.world.pass(10_000);
    expect(node.connections).toHaveLength(1);
    expect(node.connection.isDestroyed).toBe(true);
  });

  it("checks version and context of the welcome itself", async () => {
    const cases = [
      { said: { ...welcome, version: 9 }, error: { code: "UNSUPPORTED_VERSION", facts: { found: 9, supported: [1] } } },
      {
        said: { ...welcome, context: "shop" },
        error: { code: "UNKNOWN_CONTEXT", facts: { context: "bank", known: "shop" } },
      },
    ];
    for (const { said, error } of cases) {
      const { node, append } = open({ context: "bank" });
      node.onConnect = "greeting only";
      const call = outcome(append());
      await node.world.settle();
      node.connection.say(encodeReply(replyKind.welcome, 0, said));
      expect(await call).toMatchObject({ error });
    }
  });

  it("a node that is full or going away is asked again", async () => {
    const { node, append } = open();
    node.onConnect = "greeting only";
    const call = append();
    await node.world.settle();
    node.connection.say(failure(0, new HeddleError("OVERLOADED", { queue: "connections", depth: 1, depthMax: 1 })));
    await node.world.pass(20);
    node.connection.say(failure(0, new HeddleError("CLOSED", { what: "the node" })));
    node.onConnect = "welcome";
    await node.world.pass(100);
    expect(node.connections).toHaveLength(3);
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
  });
});

describe("link: reconnecting", () => {
  it("P4 S1 S2: sends everything unanswered again, in order, the same bytes, flagged as retries, before new calls", async () => {
    const { node, append } = await connected();
    const calls = ["a", "b", "a", "c"].map((name) => append(name));
    await node.world.settle();
    const first = node.connection;
    first.say(receipt(2));
    first.end();
    await node.world.settle();
    calls.push(append("new"), append("a"));
    await node.world.pass(50);
    expect(node.connections).toHaveLength(2);
    const again = node.connection.arrived;
    expect(again.map((request) => [request.call, request.isRetry])).toEqual([
      [1, true],
      [3, true],
      [4, true],
      [5, false],
      [6, false],
    ]);
    for (const request of again.slice(0, 3)) {
      expect(request.bytes).toEqual(first.arrived.find((other) => other.call === request.call)!.bytes);
    }
    expect(again.slice(3).map((request) => appendOf(request).entity)).toEqual(["account/new", "account/a"]);
    expect(node.connection.hello).toEqual(first.hello);
    node.connection.receipts();
    expect((await Promise.all(calls)).every((result) => result.ok)).toBe(true);
  });

  it("P4: calls that were held back by a full socket are no retries", async () => {
    const { node, append } = await connected();
    node.connection.full = true;
    void append("sent");
    await node.world.settle();
    void append("held");
    await node.world.settle();
    node.connection.end();
    await node.world.pass(50);
    expect(node.connection.arrived.map((request) => [request.call, request.isRetry])).toEqual([
      [1, true],
      [2, false],
    ]);
  });

  it("P4: flags a retry on every further connection, however often the node goes away", async () => {
    const { node, append } = await connected();
    const call = append();
    for (let i = 0; i < 5; i++) {
      await node.world.pass(50);
      node.connection.end();
    }
    await node.world.pass(50);
    expect(node.arrived.map((request) => request.isRetry)).toEqual([false, true, true, true, true, true]);
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
  });

  it("does not send again what was given up", async () => {
    const { node, db, append } = await connected();
    const controller = new AbortController();
    const aborted = outcome(db.entity("account/a").append("Credited", {}, { signal: controller.signal }));
    const late = outcome(db.entity("account/b").append("Credited", {}, { timeoutMs: 10 }));
    void append("kept");
    await node.world.settle();
    controller.abort();
    await node.world.pass(20);
    node.connection.end();
    await node.world.pass(50);
    expect(node.connection.arrived.map((request) => appendOf(request).entity)).toEqual(["account/kept"]);
    await Promise.all([aborted, late]);
  });

  it("a call in its pause after a refusal keeps its pause, and goes again after it", async () => {
    const { node, append } = await connected();
    const refused = append("refused");
    void append("other");
    await node.world.settle();
    for (let i = 0; i < 6; i++) {
      node.connection.say(failure(1));
      await node.world.pass(i < 5 ? 1_000 : 1);
    }
    node.connection.end();
    await node.world.pass(50);
    expect(node.connection.arrived.map((request) => request.call)).toEqual([2]);
    await node.world.pass(1_000);
    expect(node.connection.arrived.map((request) => [request.call, request.isRetry])).toEqual([
      [2, true],
      [1, true],
    ]);
    node.connection.receipts();
    expect(await refused).toMatchObject({ ok: true });
  });

  it("a lost connection that nobody needs is not made anew before the next call", async () => {
    const { node, append } = await connected();
    node.connection.end();
    await node.world.pass(60_000);
    expect(node.connections).toHaveLength(1);
    expect(node.world.timers).toBe(0);
    const call = append();
    await node.world.settle();
    expect(node.connections).toHaveLength(2);
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
  });

  it("after there was a connection, calls wait for the next one until their own time-outs", async () => {
    const { node, db } = await connected({ connectTimeoutMs: 300 });
    node.onConnect = "refuse";
    node.connection.end(new Error("read ECONNRESET"));
    const call = outcome(db.entity("account/a").append("Credited", {}, { timeoutMs: 5_000 }));
    await node.world.pass(4_900);
    const early = await Promise.race([call, Promise.resolve("waiting")]);
    expect(early).toBe("waiting");
    await node.world.pass(200);
    const { error } = (await call) as { error: HeddleError };
    expect(error).toMatchObject({ code: "TIMEOUT", facts: { afterMs: 5_000 } });
    expect(error.cause).toMatchObject({ message: "connect ECONNREFUSED" });
  });

  it("ready after a loss waits for the new connection, at most connectTimeoutMs", async () => {
    const { node, db } = await connected({ connectTimeoutMs: 300 });
    node.onConnect = "refuse";
    node.connection.end();
    await node.world.settle();
    const ready = outcome(db.ready());
    await node.world.pass(310);
    expect(await ready).toMatchObject({ error: { code: "CONNECTION_FAILED" } });
  });

  it("calls that were sent have an unknown outcome when the node then refuses this client", async () => {
    const { node, append } = await connected();
    const sent = outcome(append());
    await node.world.settle();
    node.onConnect = "greeting only";
    node.connection.end();
    await node.world.settle();
    const unsent = outcome(append());
    await node.world.pass(50);
    node.connection.say(failure(0, new HeddleError("UNKNOWN_CONTEXT", { context: "", known: "shop" })));
    expect(await sent).toMatchObject({ error: { code: "OUTCOME_UNKNOWN", cause: { code: "UNKNOWN_CONTEXT" } } });
    expect(await unsent).toMatchObject({ error: { code: "UNKNOWN_CONTEXT" } });
  });
});

describe("link: P7 bad frames from the node", () => {
  const bad: Record<string, Uint8Array> = {
    "a frame that is too long": Uint8Array.of(0xff, 0xff, 0xff, 0x7f),
    "a frame that is too short": Uint8Array.of(3, 0, 0, 0, 66, 1, 0),
    "an unknown kind of reply": encodeReply(99, 1, null),
    "a receipt that is no receipt": encodeReply(replyKind.receipt, 1, null),
    "an answer to a call that was not made": receipt(7_000),
    "a value that answers no call": encodeReply(replyKind.value, 0, null),
    "a second welcome": encodeReply(replyKind.welcome, 0, welcome),
    "a pong as an answer": encodeReply(replyKind.pong, 1, null),
    "an error about the connection": failure(0, new HeddleError("BAD_FRAME", { problem: "x" })),
  };

  for (const [what, bytes] of Object.entries(bad)) {
    it(`${what} ends the connection; the call is made again on a new one`, async () => {
      const { node, append } = await connected();
      const call = append();
      await node.world.settle();
      node.connection.say(bytes);
      expect(node.connection.isDestroyed).toBe(true);
      // Nothing more of the old connection is looked at.
      node.connection.say(receipt(1, 66));
      await node.world.pass(50);
      expect(node.connections).toHaveLength(2);
      expect(node.connection.arrived).toMatchObject([{ call: 1, isRetry: true }]);
      node.connection.receipts();
      expect(await call).toMatchObject({ seq: 1 });
    });
  }

  it("what is no node of this protocol fails the call, saying what was found", async () => {
    const { node, append } = open({ connectTimeoutMs: 100 });
    node.onConnect = "greeting only";
    const call = outcome(append());
    await node.world.settle();
    node.connection.say(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
    node.onConnect = "refuse";
    await node.world.pass(110);
    expect(await call).toMatchObject({ error: { code: "CONNECTION_FAILED" } });
  });

  it("a welcome without its fields is no welcome", async () => {
    const { node, append } = open();
    node.onConnect = "greeting only";
    void append();
    await node.world.settle();
    node.connection.say(encodeReply(replyKind.welcome, 0, { version: "1" }));
    expect(node.connection.isDestroyed).toBe(true);
  });
});

describe("link: signs of life", () => {
  it("asks for one when calls wait and nothing is heard, and gives the connection up without one", async () => {
    const { node, append } = await connected({ heartbeatMs: 100 });
    const call = append();
    await node.world.pass(105);
    expect(node.connection.pings).toBe(1);
    node.connection.say(encodeReply(replyKind.pong, 0, null));
    await node.world.pass(105);
    expect(node.connection.pings).toBe(2);
    expect(node.connections).toHaveLength(1);
    await node.world.pass(150);
    expect(node.connections).toHaveLength(2);
    expect(node.connection.arrived).toMatchObject([{ call: 1, isRetry: true }]);
    node.connection.receipts();
    expect(await call).toMatchObject({ ok: true });
  });

  it("asks for none while nothing is waited for", async () => {
    const { node } = await connected({ heartbeatMs: 100 });
    await node.world.pass(1_000);
    expect(node.connection.pings).toBe(0);
  });
});

describe("link: several connections", () => {
  it("each is a session of its own, and an entity stays on one", async () => {
    const { node, db, append } = await connected({ connections: 3 });
    expect(node.connections).toHaveLength(3);
    for (let round = 0; round < 4; round++) for (let i = 0; i < 30; i++) void append(`a${i}`);
    await node.world.settle();
    const homes = new Map<string, number>();
    node.connections.forEach((connection, index) => {
      expect(connection.arrived.map((request) => request.call)).toEqual(connection.arrived.map((_, i) => i + 1));
      for (const request of connection.arrived) {
        const { entity } = appendOf(request);
        expect(homes.get(entity) ?? index).toBe(index);
        homes.set(entity, index);
      }
    });
    expect(homes.size).toBe(30);
    expect(new Set(homes.values()).size).toBe(3);
    for (const connection of node.connections) connection.receipts();
    const closing = db.close();
    await node.world.settle();
    await closing;
    expect(node.connections.every((connection) => connection.isClosed)).toBe(true);
  });
});
