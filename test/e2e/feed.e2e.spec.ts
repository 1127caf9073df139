// Goal: subscriptions to all entities as users meet them: typed, over one node, and over a feed thread that dies.
// Tested elsewhere: kill -9 and every way to write (test/crash/feed.e2e.spec.ts), parts in their packages.
import { committed, type FeedEventOf, Heddle } from "@heddle/client";
import { describe, expect, expectTypeOf, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { startTestNode } from "../support/node.ts";

/** Adds up what was paid in, from where it was left to the account that closes the books. */
async function follow(db: Heddle<typeof bank>, cursor: string | undefined, last: string) {
  let paidIn = 0;
  for await (const event of db.subscribe({ kind: "account", types: ["Credited"], from: cursor ?? "beginning" })) {
    paidIn += event.payload.amount;
    // Kept with what was made of the events: whoever begins there gets exactly the rest.
    cursor = event.cursor;
    if (event.entity === last) break;
  }
  return { paidIn, cursor };
}

describe("db.subscribe on a node", () => {
  it("follows all entities, and goes on from a cursor", async () => {
    await using node = await startTestNode({ shards: 1, threads: 1 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    for (let i = 1; i <= 50; i++) committed(await db.entity(`account/${i}`).append("Credited", { amount: i }));
    const first = await follow(db, undefined, "account/30");
    expect(first.paidIn).toBe((30 * 31) / 2);
    const second = follow(db, first.cursor, "account/end");
    committed(await db.entity("account/end").append("Credited", { amount: 1_000 }));
    expect((await second).paidIn).toBe((50 * 51) / 2 - first.paidIn + 1_000);
  });

  it("what was acknowledged comes to who subscribed before, and is never shown before it could be acknowledged", async () => {
    await using node = await startTestNode({ shards: 3, threads: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const subscription = db.subscribe({ from: "now" });
    for (let i = 0; i < 100; i++) {
      const next = subscription.next();
      const { shard, position, seq } = committed(await db.entity(`account/${i % 7}`).append("Credited", { amount: 1 }));
      expect((await next).value).toMatchObject({ entity: `account/${i % 7}`, shard, position, seq });
    }
    await subscription.return();
  });

  it("goes on when the feed thread dies, as often as it does", async () => {
    await using node = await startTestNode({ shards: 2, threads: 1 });
    await using db = new Heddle<typeof bank>({ port: node.port, reconnectDelayMaxMs: 50 });
    const seen: FeedEventOf<typeof bank>[] = [];
    const all = db.subscribe();
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 20; i++) committed(await db.entity(`account/${i}`).append("Credited", { amount: round + 1 }));
      for (let i = 0; i < 20; i++) seen.push((await all.next()).value!);
      node.failThread(node.threadCount);
    }
    const places = seen.map(({ entity, seq }) => `${entity} ${seq}`).sort();
    expect(places).toEqual(Array.from({ length: 80 }, (_, i) => `account/${i % 20} ${1 + Math.floor(i / 20)}`).sort());
    await all.return();
  });

  it("a thousand readers at once each see every event", async () => {
    await using node = await startTestNode({ shards: 2, threads: 1 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    committed(await db.entity("account/first").append("Credited", { amount: 1 }));
    const readers = Array.from({ length: 1_000 }, () => db.subscribe({ types: ["Credited"] }));
    for (const reader of readers) expect((await reader.next()).value).toMatchObject({ entity: "account/first" });
    const next = readers.map((reader) => reader.next());
    committed(await db.entity("account/second").append("Credited", { amount: 2 }));
    for (const result of await Promise.all(next)) expect(result.value).toMatchObject({ entity: "account/second" });
    await Promise.all(readers.map((reader) => reader.return()));
  });

  it("a node closes in order while readers wait", async () => {
    const node = await startTestNode({ shards: 2, threads: 1 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const waits = db.subscribe();
    const next = waits.next();
    committed(await db.entity("account/a").append("Credited", { amount: 1 }));
    await next;
    const forEver = waits.next();
    await node.close();
    await waits.return();
    expect(await forEver).toEqual({ done: true, value: undefined });
  });

  it("types follow what is asked for", () => {
    const db = {} as Heddle<typeof bank>;
    type Of<T> = T extends AsyncIterable<infer E> ? E : never;
    const one = () => db.subscribe({ aggregate: "Account", types: ["Credited"] });
    type One = Of<ReturnType<typeof one>>;
    expectTypeOf<One["type"]>().toEqualTypeOf<"Credited">();
    expectTypeOf<One["payload"]["amount"]>().toEqualTypeOf<number>();
    expectTypeOf<One["cursor"]>().toEqualTypeOf<string>();
    const any = () => db.subscribe({ kind: "account", from: "now" });
    type Any = Of<ReturnType<typeof any>>;
    expectTypeOf<Any["type"]>().toEqualTypeOf<"Credited" | "Debited">();
    // @ts-expect-error: the bank has no such type.
    const wrong = () => db.subscribe({ types: ["Credit"] });
    expect(wrong).toBeTypeOf("function");
  });
});
