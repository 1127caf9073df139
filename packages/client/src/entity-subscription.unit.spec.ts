// Goal: a loop over an entity's events sees each of them once, whatever happens on the way, and leaves nothing behind.
// Method: a scripted node that keeps a history and answers watches as a shard does; time is moved by hand.
// Tested elsewhere: watches in a shard (packages/shard, watch.int.spec.ts); both over sockets (test/e2e/subscribe.e2e.spec.ts).
import { HeddleError, hashEntity, parseEntityId } from "@heddle/kernel";
import { readWatchBody, requestKind, TextCache, type WatchFields, type WireEvent } from "@heddle/protocol/internal";
import fc from "fast-check";
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
const watchOf = ({ body }: Arrived): WatchFields => readWatchBody(body, 0, body.length, texts);

function event(seq: number, aggregate = "Account"): WireEvent {
  return [seq, 1_000 * seq, aggregate, "Credited", { amount: seq }, null, null, 1, 64 * seq];
}

/** A node with one entity, which grows as the test says. */
class FollowedNode extends ScriptedNode {
  readonly events: WireEvent[] = [];
  readonly watches: WatchFields[] = [];
  /** Events in one page at most. */
  pageMax = 3;
  #waiting: { connection: ScriptedConnection; request: Arrived; fields: WatchFields }[] = [];

  /** Connections made from here on answer watches. */
  serve(): void {
    const { connect } = super.ports;
    Object.defineProperty(this, "ports", {
      value: {
        ...super.ports,
        connect: (...args: Parameters<typeof connect>) => {
          const transport = connect(...args);
          const { connection } = this;
          connection.answer = (request) => this.#answer(connection, request);
          return transport;
        },
      },
    });
  }

  grow(count: number, aggregate?: string): void {
    for (let i = 0; i < count; i++) this.events.push(event(this.events.length + 1, aggregate));
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { connection, request } of waiting) {
      const reply = this.#answer(connection, request);
      if (reply !== undefined && !connection.isClosed) connection.say(reply);
    }
  }

  /** So many watches wait at the node. */
  get waiting(): number {
    return this.#waiting.filter(({ connection }) => !connection.isClosed).length;
  }

  /** The waits of all watches are over. */
  endWaits(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { connection, request, fields } of waiting) {
      if (!connection.isClosed)
        connection.say(value(request.call, [[], Math.max(fields.from, this.events.length + 1)]));
    }
  }

  #answer(connection: ScriptedConnection, request: Arrived): Uint8Array | undefined {
    if (request.kind !== requestKind.watch) throw new Error(`a request of kind ${request.kind}`);
    const fields = watchOf(request);
    this.watches.push(fields);
    if (fields.from === 0) return value(request.call, [[], this.events.length + 1]);
    const rest = this.events.slice(fields.from - 1);
    const matching = rest.filter(([, , aggregate]) => fields.aggregate === "" || aggregate === fields.aggregate);
    const page = matching.slice(0, Math.min(fields.limit, this.pageMax));
    if (page.length > 0) return value(request.call, [page, page.at(-1)![0] + 1]);
    this.#waiting.push({ connection, request, fields });
    return undefined;
  }
}

function open(options: HeddleOptions = {}) {
  const node = new FollowedNode();
  node.serve();
  const db = new Heddle(options, undefined, node.ports);
  const alice = db.entity("account/alice");
  const settled = async <T>(promise: Promise<T>): Promise<T> => {
    const result = outcome(promise);
    await node.world.settle();
    const { value, error } = await result;
    if (error !== undefined) throw error;
    return value as T;
  };
  return { node, db, alice, settled };
}

describe("entity.subscribe", () => {
  it("gives what there is, page by page, then what comes, and asks from behind what it was given", async () => {
    const { node, alice, settled } = open();
    node.grow(5);
    const seen: number[] = [];
    const loop = (async () => {
      for await (const { seq } of alice.subscribe("Account")) {
        seen.push(seq);
        if (seq === 7) return;
      }
    })();
    await node.world.settle();
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    node.grow(1);
    await node.world.settle();
    expect(seen.at(-1)).toBe(6);
    node.grow(1);
    await settled(loop);
    expect(node.watches.map(({ from }) => from)).toEqual([1, 4, 6, 6, 7, 7]);
    expect(node.watches[0]).toMatchObject({ entity: "account/alice", aggregate: "Account", limit: 1_000 });
    expect(node.arrived[0]).toMatchObject({ hash: hashEntity(parseEntityId("account/alice")) });
  });

  it("gives events as a history gives them, Heddle's own too where no aggregate is named", async () => {
    const { node, alice, settled } = open();
    node.grow(1, "$heddle");
    node.grow(1);
    const all = alice.subscribe();
    expect((await settled(all.next())).value).toMatchObject({ seq: 1, aggregate: "$heddle" });
    expect((await settled(all.next())).value).toEqual({
      seq: 2,
      time: 2_000,
      aggregate: "Account",
      type: "Credited",
      payload: { amount: 2 },
      metadata: undefined,
      id: undefined,
      schemaVersion: 1,
      position: 128,
    });
    const one = alice.subscribe("Account");
    expect((await settled(one.next())).value).toMatchObject({ seq: 2 });
  });

  it("asks for nothing before the first next, nor while the reader is busy", async () => {
    const { node, alice, settled } = open();
    node.grow(7);
    const events = alice.subscribe("Account");
    await node.world.settle();
    expect(node.arrived).toEqual([]);
    for (let seq = 1; seq <= 3; seq++) await settled(events.next());
    await node.world.pass(60_000);
    expect(node.arrived).toHaveLength(1);
    expect((await settled(events.next())).value).toMatchObject({ seq: 4 });
  });

  it("begins where it is told to, also with what is still to come", async () => {
    const { node, alice, settled } = open();
    node.grow(5);
    expect((await settled(alice.subscribe("Account", { from: 4 }).next())).value).toMatchObject({ seq: 4 });
    const later = alice.subscribe({ from: 7 }).next();
    await node.world.settle();
    node.grow(2);
    expect((await settled(later)).value).toMatchObject({ seq: 7 });
  });

  it("from now gives what is appended after the call, although the reader begins later", async () => {
    const { node, alice, settled } = open();
    node.grow(5);
    const events = alice.subscribe("Account", { from: "now" });
    await node.world.settle();
    node.grow(1);
    expect((await settled(events.next())).value).toMatchObject({ seq: 6 });
    expect(node.watches.map(({ from }) => from)).toEqual([0, 6]);
  });

  it("asks on when the wait is over, for as long as it takes, from where the node has looked", async () => {
    const { node, alice, settled } = open();
    node.grow(3, "Notes");
    const events = alice.subscribe("Account");
    const next = events.next();
    for (let round = 0; round < 20; round++) {
      await node.world.settle();
      expect(node.waiting).toBe(1);
      node.endWaits();
    }
    await node.world.settle();
    expect(node.watches.map(({ from }) => from)).toEqual([1, ...Array.from({ length: 20 }, () => 4)]);
    node.grow(1);
    expect((await settled(next)).value).toMatchObject({ seq: 4 });
  });

  it("goes on over lost connections and an absence of hours: each event once", async () => {
    const { node, alice, settled } = open();
    node.grow(4);
    const seen: number[] = [];
    const events = alice.subscribe("Account");
    const loop = (async () => {
      for await (const { seq } of events) seen.push(seq);
    })();
    await node.world.settle();
    node.connection.end(new Error("reset"));
    node.grow(1);
    await node.world.pass(5_000);
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    node.onConnect = "refuse";
    node.connection.end(new Error("reset"));
    await node.world.pass(2 * 60 * 60_000);
    node.grow(2);
    node.onConnect = "welcome";
    await node.world.pass(60_000);
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7]);
    await events.return();
    await settled(loop);
  });

  it("outwaits refusals that pass, and throws those that do not", async () => {
    const { node, alice, settled } = open();
    const first = alice.subscribe("Account").next();
    await node.world.settle();
    const { connection } = node;
    connection.say(failure(1));
    await node.world.pass(5_000);
    node.grow(1);
    expect((await settled(first)).value).toMatchObject({ seq: 1 });
    const second = alice.subscribe("Account", { from: 2 });
    const next = outcome(second.next());
    await node.world.settle();
    const unknown = new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "Account", known: ["Notes"] });
    connection.say(failure(connection.arrived.at(-1)!.call, unknown));
    expect(await next).toMatchObject({ error: { code: "UNKNOWN_AGGREGATE" } });
    expect(await second.next()).toEqual({ done: true, value: undefined });
  });

  it("throws CONNECTION_FAILED where there never was a node", async () => {
    const { node, alice } = open();
    node.onConnect = "refuse";
    const next = outcome(alice.subscribe("Account").next());
    await node.world.pass(10_000);
    expect(await next).toMatchObject({ error: { code: "CONNECTION_FAILED" } });
    expect(node.world.timers).toBe(0);
  });

  it("P7 refuses a beginning that is none, before anything leaves", () => {
    const { node, alice } = open();
    for (const from of [0, -1, 1.5, "8", "then", Number.NaN, null]) {
      expect(() => alice.subscribe("Account", { from: from as never }), String(from)).toThrowError(
        expect.objectContaining({ code: "INVALID_REQUEST" }),
      );
    }
    expect(node.arrived).toEqual([]);
  });

  it("P7 takes a page of another shape for an error of the node, not for events", async () => {
    for (const page of [null, [], [[event(1)], 0], [[event(1)], "2"], [[[1, 2]], 2], [{}, 2]]) {
      const { node, alice } = open();
      const next = outcome(alice.subscribe("Account").next());
      await node.world.settle();
      node.connection.say(value(1, page));
      await node.world.settle();
      expect(await next, JSON.stringify(page)).toMatchObject({ error: { code: "BAD_FRAME" } });
    }
  });
});

describe("leaving a subscription", () => {
  const leave = {
    "leaving the loop": async ({ node, alice }: ReturnType<typeof open>) => {
      const loop = (async () => {
        for await (const _ of alice.subscribe("Account")) break;
      })();
      await node.world.settle();
      node.grow(1);
      await node.world.settle();
      await loop;
    },
    "return, while it waits": async ({ node, alice }: ReturnType<typeof open>) => {
      const events = alice.subscribe("Account");
      const next = events.next();
      await node.world.settle();
      expect(await events.return()).toEqual({ done: true, value: undefined });
      expect(await next).toEqual({ done: true, value: undefined });
      expect(await events.next()).toEqual({ done: true, value: undefined });
    },
    "the signal, while it waits": async ({ node, alice }: ReturnType<typeof open>) => {
      const abort = new AbortController();
      const next = outcome(alice.subscribe("Account", { signal: abort.signal }).next());
      await node.world.settle();
      abort.abort(new Error("enough"));
      expect(await next).toMatchObject({ error: { message: "enough" } });
    },
    "a signal that was aborted before": async ({ node, alice }: ReturnType<typeof open>) => {
      const events = alice.subscribe("Account", { signal: AbortSignal.abort(new Error("never")), from: "now" });
      expect(await outcome(events.next())).toMatchObject({ error: { message: "never" } });
      await node.world.settle();
      expect(node.arrived).toEqual([]);
    },
    "await using": async ({ node, alice }: ReturnType<typeof open>) => {
      await using events = alice.subscribe("Account");
      void events.next();
      await node.world.settle();
    },
  };
  for (const [how, act] of Object.entries(leave)) {
    it(`${how}: frees everything: no call, no timer, no listener is left`, async () => {
      const opened = open();
      await act(opened);
      const { node, db } = opened;
      const asked = node.arrived.length;
      await node.world.pass(120_000);
      expect(node.arrived).toHaveLength(asked);
      expect(node.world.timers).toBe(0);
      // Nothing is unanswered: it closes without waiting.
      const closed = db.close();
      await node.world.settle();
      await closed;
    });
  }

  it("takes its listener off a signal that lives on", async () => {
    const { node, alice, settled } = open();
    const abort = new AbortController();
    const { signal } = abort;
    let listeners = 0;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const events = alice.subscribe("Account", { signal });
    node.grow(1);
    await settled(events.next());
    expect(listeners).toBe(1);
    await events.return();
    expect(listeners).toBe(0);
  });

  it("closing the client ends it at once, with CLOSED", async () => {
    const { node, db, alice } = open();
    const next = outcome(alice.subscribe("Account").next());
    await node.world.settle();
    const closed = db.close();
    await node.world.settle();
    await closed;
    expect(await next).toMatchObject({ error: { code: "CLOSED" } });
    expect(node.world.timers).toBe(0);
  });
});

describe("A3: several next at once", () => {
  it("get the events in their order, and all of them the end", async () => {
    const { node, alice } = open();
    const events = alice.subscribe("Account");
    const asked = Array.from({ length: 7 }, () => events.next());
    await node.world.settle();
    node.grow(5);
    await node.world.settle();
    const first = await Promise.all(asked.slice(0, 5));
    expect(first.map(({ value }) => value?.seq)).toEqual([1, 2, 3, 4, 5]);
    await events.return();
    expect(await Promise.all(asked.slice(5))).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
  });

  it("are told of an error once: who stands behind it is told that it is over", async () => {
    const { node, db, alice } = open();
    const events = alice.subscribe("Account");
    const asked = [outcome(events.next()), outcome(events.next())];
    await node.world.settle();
    void db.close();
    await node.world.settle();
    expect(await Promise.all(asked)).toMatchObject([
      { error: { code: "CLOSED" } },
      { value: { done: true, value: undefined } },
    ]);
  });
});

describe("the seam, property", () => {
  it("sees every event once and in order, under any schedule of writes, waits and lost connections", async () => {
    const step = fc.oneof(
      { arbitrary: fc.record({ act: fc.constant("grow" as const), count: fc.integer({ min: 1, max: 8 }) }), weight: 4 },
      { arbitrary: fc.record({ act: fc.constant("read" as const), count: fc.integer({ min: 1, max: 5 }) }), weight: 4 },
      {
        arbitrary: fc.record({ act: fc.constantFrom("lose" as const, "end waits" as const, "time" as const) }),
        weight: 2,
      },
    );
    const schedule = fc.record({
      before: fc.nat({ max: 10 }),
      from: fc.integer({ min: 1, max: 12 }),
      pageMax: fc.integer({ min: 1, max: 5 }),
      steps: fc.array(step, { maxLength: 25 }),
    });
    await fc.assert(
      fc.asyncProperty(schedule, async ({ before, from, pageMax, steps }) => {
        const { node, alice } = open();
        node.pageMax = pageMax;
        node.grow(before);
        const events = alice.subscribe("Account", { from });
        const seen: number[] = [];
        let reading: Promise<unknown> | undefined;
        const read = (count: number) => {
          reading ??= (async () => {
            for (let i = 0; i < count; i++) {
              const { value, done } = await events.next();
              if (done === true) return;
              seen.push(value.seq);
            }
          })().finally(() => {
            reading = undefined;
          });
        };
        for (const one of steps) {
          if (one.act === "grow") node.grow(one.count);
          else if (one.act === "read") read(one.count);
          else if (one.act === "end waits") node.endWaits();
          else if (one.act === "time") await node.world.pass(15_000);
          else if (node.connections.length > 0) node.connection.end(new Error("reset"));
          await node.world.settle();
        }
        await node.world.pass(5_000);
        while (seen.length < node.events.length - from + 1) {
          read(1);
          await node.world.pass(1_000);
        }
        expect(seen).toEqual(Array.from({ length: seen.length }, (_, i) => from + i));
        await events.return();
        await reading;
        await node.world.pass(60_000);
        expect(node.world.timers).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
