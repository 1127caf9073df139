// Goal: a loop over all entities' events asks the feeds as the merge wants it, outlives lost connections, and leaves nothing
// behind when it is left.
// Method: a scripted node with four shards, whose feeds grow as the test says; time is moved by hand.
// Tested elsewhere: merging and cursors (protocol, feed-merge.unit.spec.ts), answers (feed, feed-server.unit.spec.ts), all of it
// on a node that is killed (test/crash/feed.e2e.spec.ts).
import { HeddleError } from "@heddle/kernel";
import { asksForEnds, readFeedBody, requestKind, TextCache, type WireFeedPage } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import type { HeddleOptions } from "./options.ts";
import {
  type Arrived,
  failure,
  outcome,
  type ScriptedConnection,
  ScriptedNode,
  value,
} from "./scripted-node.spec-support.ts";

const texts = new TextCache();

/** Event number n of a shard stands in record n, which is its position, too. */
class FeedNode extends ScriptedNode {
  readonly lengths = [0, 0, 0, 0];
  readonly questions: { readonly shard: number; readonly from: number }[] = [];
  endsAsked = 0;
  refusal: HeddleError | undefined;
  #waiting: { connection: ScriptedConnection; request: Arrived }[] = [];

  override get ports() {
    const ports = super.ports;
    const connect: typeof ports.connect = (...args) => {
      const transport = ports.connect(...args);
      const { connection } = this;
      connection.answer = (request) => this.#answer(connection, request);
      return transport;
    };
    return { ...ports, connect };
  }

  get waiting(): number {
    return this.#waiting.filter(({ connection }) => !connection.isClosed).length;
  }

  grow(shard: number, count: number): void {
    this.lengths[shard]! += count;
    for (const { connection, request } of this.#waiting.splice(0)) {
      const reply = this.#answer(connection, request);
      if (reply !== undefined && !connection.isClosed) connection.say(reply);
    }
  }

  #answer(connection: ScriptedConnection, request: Arrived): Uint8Array | undefined {
    const { bytes, body, call, kind, hash: shard } = request;
    if (kind !== requestKind.feed) throw new Error(`unexpected request of kind ${kind}`);
    if (asksForEnds(bytes, 0, bytes.length)) {
      this.endsAsked++;
      return value(call, [...this.lengths]);
    }
    if (this.refusal !== undefined) return failure(call, this.refusal);
    const { from, limit } = readFeedBody(body, 0, body.length, texts);
    if (from === "now") throw new Error("no place");
    const first = from.record + from.skip;
    const count = Math.min(limit, this.lengths[shard]! - first);
    if (count === 0) {
      this.#waiting.push({ connection, request });
      return undefined;
    }
    this.questions.push({ shard, from: first });
    const entries = Array.from({ length: count }, (_, i) => {
      const n = first + i;
      return [
        n,
        0,
        n,
        `account/${shard}`,
        "Account",
        n + 1,
        n,
        null,
        null,
        [[0, "Credited", 1, { amount: n }]],
      ] as const;
    });
    return value(call, [first + count, 0, entries] satisfies WireFeedPage);
  }
}

function open(options: HeddleOptions = {}) {
  const node = new FeedNode();
  const db = new Heddle(options, undefined, node.ports);
  /** Takes so many events, in the background of the world. */
  const take = async (subscription: AsyncIterator<{ shard: number; position: number }>, count: number) => {
    const names: string[] = [];
    for (let i = 0; i < count; i++) {
      const next = subscription.next();
      await node.world.settle();
      const { value: event } = await next;
      names.push(`${event.shard}:${event.position}`);
    }
    return names;
  };
  return { node, db, take };
}

describe("db.subscribe", () => {
  it("gives what there is and then what comes, of every shard", async () => {
    const { node, db, take } = open();
    node.grow(1, 2);
    const subscription = db.subscribe({ kind: "account" });
    expect(await take(subscription, 2)).toEqual(["1:0", "1:1"]);
    const next = take(subscription, 2);
    await node.world.settle();
    expect(node.waiting).toBe(4);
    node.grow(3, 1);
    await node.world.settle();
    node.grow(1, 1);
    expect((await next).sort()).toEqual(["1:2", "3:0"]);
  });

  it("an event's cursor begins behind it, and is made of all shards", async () => {
    const { node, db, take } = open();
    node.grow(0, 3);
    const first = db.subscribe();
    const next = first.next();
    await node.world.settle();
    const { value: event } = await next;
    expect(event).toMatchObject({ entity: "account/0", seq: 1, type: "Credited", payload: { amount: 0 }, index: 0 });
    expect(event!.cursor).toBe("0:0.1,1:0,2:0,3:0");
    expect(await take(db.subscribe({ from: event!.cursor }), 2)).toEqual(["0:1", "0:2"]);
  });

  it("begins now where the feeds end at the moment of the call, over every connection, whenever it is read", async () => {
    const { node, db, take } = open({ connections: 3 });
    node.grow(2, 5);
    const subscription = db.subscribe({ from: "now" });
    await node.world.settle();
    expect(node.endsAsked).toBe(3);
    node.grow(2, 2);
    expect(await take(subscription, 2)).toEqual(["2:5", "2:6"]);
  });

  it("P8: a reader who asks for nothing is not asked for: one page of each shard at most", async () => {
    const { node, db, take } = open();
    for (let shard = 0; shard < 4; shard++) node.grow(shard, 5_000);
    const subscription = db.subscribe();
    await take(subscription, 500);
    await node.world.pass(60_000);
    expect(node.questions).toHaveLength(4);
    await take(subscription, 600);
    expect(node.questions).toHaveLength(5);
  });

  it("goes on over a lost connection, with no event twice and none left out", async () => {
    const { node, db, take } = open();
    node.grow(0, 1);
    const subscription = db.subscribe();
    expect(await take(subscription, 1)).toEqual(["0:0"]);
    for (let round = 1; round < 5; round++) {
      const next = subscription.next();
      await node.world.settle();
      for (const connection of node.connections) connection.end(new Error("reset"));
      await node.world.pass(3_000);
      node.grow(0, 1);
      await node.world.settle();
      expect((await next).value).toMatchObject({ shard: 0, position: round });
    }
  });

  it("leaving the loop leaves nothing behind: no call, no timer, no listener", async () => {
    const { node, db } = open();
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const subscription = db.subscribe({ from: "now", signal });
    const next = outcome(subscription.next());
    await node.world.settle();
    expect(node.waiting).toBe(4);
    await subscription.return();
    expect(await next).toEqual({ value: { done: true, value: undefined } });
    expect(listeners).toBe(0);
    await node.world.pass(60_000);
    expect(node.world.timers).toBe(0);
    const asked = node.arrived.length;
    node.grow(0, 1);
    await node.world.pass(60_000);
    expect(node.arrived).toHaveLength(asked);
    const closing = db.close();
    await node.world.settle();
    await closing;
  });

  it("ends with the signal's reason, and with CLOSED when the client closes", async () => {
    const { node, db } = open();
    const controller = new AbortController();
    const aborted = outcome(db.subscribe({ signal: controller.signal }).next());
    const closed = outcome(db.subscribe().next());
    await node.world.settle();
    controller.abort(new Error("enough"));
    expect(await aborted).toMatchObject({ error: { message: "enough" } });
    const closing = db.close();
    await node.world.settle();
    expect(await closed).toMatchObject({ error: { code: "CLOSED" } });
    await closing;
    expect(node.world.timers).toBe(0);
  });

  it("P7: tells what the node refuses, and ends", async () => {
    const { node, db } = open();
    node.refusal = new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "Acount", known: ["Account"] });
    const subscription = db.subscribe();
    const first = outcome(subscription.next());
    await node.world.settle();
    expect(await first).toMatchObject({ error: { code: "UNKNOWN_AGGREGATE" } });
    expect(await subscription.next()).toEqual({ done: true, value: undefined });
    const misread = outcome(db.subscribe({ from: "yesterday" }).next());
    await node.world.settle();
    expect(await misread).toMatchObject({ error: { code: "INVALID_REQUEST", facts: { path: "from" } } });
  });
});
