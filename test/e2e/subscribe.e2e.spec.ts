// Goal: who follows an entity gets every event once, over every way there is: TCP, WebSocket, server-sent events.
// Tested elsewhere: the node killed meanwhile (test/crash/subscribe.e2e.spec.ts); a browser (test/browser); one shard with its
// disk in the test's hands (packages/shard, watch.int.spec.ts).
import { committed, Heddle, type Subscription } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { startTestNode } from "../support/node.ts";

const ways = {
  TCP: (port: number) => `heddle://127.0.0.1:${port}`,
  WebSocket: (port: number) => `ws://127.0.0.1:${port}`,
};

async function take<T>(events: Subscription<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) {
    const { value, done } = await events.next();
    if (done === true) break;
    taken.push(value);
  }
  return taken;
}

for (const [way, urlOf] of Object.entries(ways)) {
  describe(`a subscription over ${way}`, () => {
    it("gives the history, then what others write, and lets go of everything", async () => {
      await using node = await startTestNode({ shards: 2 });
      await using db = new Heddle<typeof bank>(urlOf(node.port));
      await using writer = new Heddle<typeof bank>({ port: node.port });
      const [alice, hers] = [db.entity("account/alice"), writer.entity("account/alice")];
      for (let i = 1; i <= 3; i++) committed(await hers.append("Credited", { amount: i }));
      const events = alice.subscribe("Account");
      expect((await take(events, 3)).map(({ seq, payload }) => [seq, payload])).toEqual([
        [1, { amount: 1 }],
        [2, { amount: 2 }],
        [3, { amount: 3 }],
      ]);
      const next = events.next();
      committed(await hers.append("Credited", { amount: 4 }));
      expect(await next).toMatchObject({ done: false, value: { seq: 4, type: "Credited", aggregate: "Account" } });
      await events.return();
      const now = alice.subscribe("Account", { from: "now" });
      committed(await alice.append("Debited", { amount: 4 }));
      expect(await take(now, 1)).toMatchObject([{ seq: 5, type: "Debited" }]);
    });

    it("gives each event once, at the seam too, while eight callers write", async () => {
      await using node = await startTestNode({ shards: 2 });
      await using db = new Heddle<typeof bank>(urlOf(node.port));
      await using writer = new Heddle<typeof bank>({ port: node.port });
      const ids = ["account/a", "account/b", "account/c"];
      const each = 300;
      const writing = ids.flatMap((id) =>
        Array.from({ length: 8 }, async () => {
          for (let i = 0; i < each / 8; i++) committed(await writer.entity(id).append("Credited", { amount: 1 }));
        }),
      );
      const total = 8 * Math.ceil(each / 8);
      // They begin at many different moments.
      const readers = ids.flatMap((id) =>
        Array.from({ length: 6 }, async (_, i) => {
          for (let left = 10 * i; left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
          const events = await take(db.entity(id).subscribe("Account", { from: 1 + i }), total - i);
          return events.map(({ seq }) => seq - i);
        }),
      );
      await Promise.all(writing);
      for (const [i, seqs] of (await Promise.all(readers)).entries()) {
        const length = total - (i % 6);
        expect(seqs).toEqual(Array.from({ length }, (_, at) => at + 1));
      }
    });
  });
}

describe("many subscriptions", () => {
  it("a thousand, of one entity each: each sees its own events, all of them, once", async () => {
    await using node = await startTestNode({ shards: 4 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await using writer = new Heddle<typeof bank>({ port: node.port });
    const ids = Array.from({ length: 1_000 }, (_, i) => `account/user-${i}`);
    const rounds = 5;
    const readers = ids.map((id) => take(db.entity(id).subscribe("Account"), rounds));
    for (let round = 1; round <= rounds; round++) {
      const results = await Promise.all(ids.map((id) => writer.entity(id).append("Credited", { amount: round })));
      for (const result of results) committed(result);
    }
    for (const events of await Promise.all(readers)) {
      expect(events.map(({ seq, payload }) => [seq, payload])).toEqual(
        Array.from({ length: rounds }, (_, i) => [i + 1, { amount: i + 1 }]),
      );
    }
  });

  it("are forgotten by the node when their connection is gone", async () => {
    await using node = await startTestNode({ shards: 2 });
    const db = new Heddle<typeof bank>({ port: node.port });
    const waiting = Array.from({ length: 50 }, (_, i) => db.entity(`account/${i}`).subscribe().next());
    const watches = async () => (await node.stats()).reduce((sum, { watches }) => sum + watches, 0);
    while ((await watches()) < 50) await new Promise((resolve) => setImmediate(resolve));
    const ended = Promise.allSettled(waiting);
    await db.close();
    expect((await ended).map(({ status }) => status)).toEqual(waiting.map(() => "rejected"));
    while ((await watches()) > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  it("go on when the threads of their shards are lost and started again", async () => {
    await using node = await startTestNode({ shards: 2, threads: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const readers = Array.from({ length: 20 }, (_, i) => take(db.entity(`account/${i}`).subscribe("Account"), 2));
    for (let i = 0; i < 20; i++) committed(await db.entity(`account/${i}`).append("Credited", { amount: 1 }));
    node.failThread(0);
    node.failThread(1);
    for (let i = 0; i < 20; i++) committed(await db.entity(`account/${i}`).append("Credited", { amount: 2 }));
    for (const events of await Promise.all(readers)) expect(events.map(({ seq }) => seq)).toEqual([1, 2]);
  });

  it("end at once when the node closes, without holding it up", async () => {
    const node = await startTestNode({ shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const abort = new AbortController();
    const next = db.entity("account/alice").subscribe({ signal: abort.signal }).next();
    await db.entity("account/alice").append("Credited", { amount: 1 });
    await next;
    const waiting = db.entity("account/alice").subscribe({ from: 2, signal: abort.signal }).next();
    const gone = expect(waiting).rejects.toThrowError("enough");
    await node.close();
    abort.abort(new Error("enough"));
    await gone;
  });
});

describe("server-sent events of all entities", () => {
  /** Reads messages until there are so many events; gives them with their ids. */
  async function streamed(url: string, count: number, headers: Record<string, string> = {}) {
    const ending = new AbortController();
    const response = await fetch(url, { headers, signal: ending.signal });
    const events: { id: string; data: { entity: string; seq: number } }[] = [];
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const messages = text.split("\n\n");
      text = messages.pop()!;
      for (const message of messages) {
        const [, data] = /^data: (.*)$/m.exec(message) ?? [];
        if (data !== undefined) events.push({ id: /^id: (.*)$/m.exec(message)![1]!, data: JSON.parse(data) });
      }
      if (events.length >= count) break;
    }
    ending.abort();
    return events;
  }

  it("have every event once, and go on behind any of their ids", async () => {
    await using node = await startTestNode({ shards: 3 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const url = `${node.http}/v1/stream?kind=account&types=Credited`;
    const reading = streamed(url, 300);
    const writes = Array.from({ length: 300 }, (_, i) =>
      db.entity(`account/${i % 10}`).append("Credited", { amount: 1 }),
    );
    for (const result of await Promise.all(writes)) committed(result);
    const events = await reading;
    const nameOf = ({ data }: (typeof events)[number]) => `${data.entity} ${data.seq}`;
    expect(new Set(events.map(nameOf)).size).toBe(300);
    for (const at of [0, 7, 150, 298]) {
      const rest = await streamed(url, 299 - at, { "last-event-id": events[at]!.id });
      expect(rest.map(nameOf).sort()).toEqual(
        events
          .slice(at + 1)
          .map(nameOf)
          .sort(),
      );
    }
  });

  it("free their places at the node when the reader goes", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    committed(await db.entity("account/alice").append("Credited", { amount: 1 }));
    for (let i = 0; i < 5; i++) await streamed(`${node.http}/v1/entities/account/alice/stream`, 1);
    const metric = async (name: string) => {
      const text = await (await fetch(`${node.http}/metrics`)).text();
      return [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"))].reduce(
        (sum, [, n]) => sum + Number(n),
        0,
      );
    };
    while ((await metric("heddle_http_event_streams")) > 0 || (await metric("heddle_watches")) > 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
});
