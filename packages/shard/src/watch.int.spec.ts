// Watches: who follows an entity gets every durable event once, and nothing before it is durable.
//
// Method: a shard over a simulated disk and clock. The same over sockets, with nodes that are killed: test/e2e/subscribe.
import type { HeddleError } from "@heddle/kernel";
import {
  type Reply,
  readWatchPage,
  requestKind,
  type WatchFields,
  type WatchPage,
  writeUnwatchBody,
  writeWatchBody,
} from "@heddle/protocol/internal";
import { seededRandom } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, debit, note } from "./bank.spec-support.ts";
import {
  type Asked,
  brief,
  type Caller,
  closeAll,
  failure,
  openShard,
  receipt,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";
import { ShardsUnderTest } from "./shards-under-test.spec-support.ts";

afterEach(closeAll);

const waitMs = 10_000;

function watch(under: ShardUnderTest, entity: string, more: Partial<WatchFields> = {}, caller?: Caller): Asked {
  const fields = { entity, aggregate: "", from: 1, limit: 1_000, waitMs, ...more };
  // On a connection of its own, as a client does it.
  return under.ask(requestKind.watch, entity, (reserve) => writeWatchBody(fields, reserve), { session: 9, ...caller });
}

function unwatch(under: ShardUnderTest, call: number, caller?: Caller): Asked {
  const write = (reserve: Parameters<typeof writeUnwatchBody>[1]) => writeUnwatchBody({ call }, reserve);
  return under.ask(requestKind.unwatch, alice, write, { session: 9, ...caller });
}

function page(reply: Reply | undefined): WatchPage {
  return readWatchPage(value(reply!));
}

function told(reply: Reply | undefined): { events: ReturnType<typeof brief>; next: number } {
  const { events, next } = page(reply);
  return { events: brief(events), next };
}

const noted = (seq: number, text: string) => [seq, "Noted", { text }];

describe("a watch", () => {
  it("is answered at once with what there is, as a history would", async () => {
    const under = openShard(bank);
    receipt(await under.append({ ...credit(alice, 5, 6), id: "order-7", metadata: { trace: "t" } }));
    receipt(await under.append(note(alice, "a")));
    const { events, next } = page(await watch(under, alice, { from: 2 }));
    expect(events).toEqual(await under.events(alice, { from: 2 }));
    expect(next).toBe(4);
    expect(told(await watch(under, alice, { from: 1, limit: 2 })).next).toBe(3);
  });

  it("waits for the next event of its entity, and for no other's", async () => {
    const under = openShard(bank);
    receipt(await under.append(note(alice, "a")));
    const asked = watch(under, alice, { from: 2 });
    receipt(await under.append(note(bob, "b")));
    await under.turns();
    expect(asked.reply).toBeUndefined();
    receipt(await under.append(note(alice, "c")));
    expect(told(await asked)).toEqual({ events: [noted(2, "c")], next: 3 });
    expect(under.shard.stats().watches).toBe(0);
  });

  it("of an entity that was never written waits for its first event", async () => {
    const under = openShard(bank);
    const asked = watch(under, alice);
    await under.turns();
    expect(asked.reply).toBeUndefined();
    receipt(await under.append(note(alice, "first")));
    expect(told(await asked)).toEqual({ events: [noted(1, "first")], next: 2 });
  });

  it("P2: sees nothing before it is durable", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const first = watch(under, alice);
    const append = under.append(note(alice, "a"));
    const second = watch(under, alice);
    await under.turns();
    expect([first.reply, second.reply, append.reply]).toEqual([undefined, undefined, undefined]);
    under.disk.releaseSyncs();
    expect(told(await first)).toEqual({ events: [noted(1, "a")], next: 2 });
    expect(told(await second)).toEqual({ events: [noted(1, "a")], next: 2 });
  });

  it("P2: sees nothing of a group that failed, and goes on after the recovery in place", async () => {
    const under = openShard(bank);
    receipt(await under.append(note(alice, "a")));
    under.disk.failNextWrite();
    const asked = watch(under, alice, { from: 2 });
    failure(await under.append(note(alice, "lost")));
    await under.until(() => under.shard.state === "open");
    await under.turns();
    expect(asked.reply).toBeUndefined();
    receipt(await under.append(note(alice, "b")));
    expect(told(await asked)).toEqual({ events: [noted(2, "b")], next: 3 });
  });

  it("P5: is told of what a failed sync had brought to the disk after all", async () => {
    const under = openShard(bank);
    receipt(await under.append(note(alice, "a")));
    const asked = watch(under, alice, { from: 2 });
    under.disk.failNextSync();
    failure(await under.append(note(alice, "unacknowledged")));
    await under.until(() => under.shard.state === "open");
    expect(await under.state(alice, "Notes")).toMatchObject({ seq: 2 });
    expect(told(await asked)).toEqual({ events: [noted(2, "unacknowledged")], next: 3 });
  });

  it("of one aggregate passes over the others' events, and does not look at them again", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1, 2, 3)));
    const asked = watch(under, alice, { aggregate: "Notes" });
    receipt(await under.append(credit(alice, 4)));
    await under.turns();
    expect(asked.reply).toBeUndefined();
    under.advance(waitMs);
    under.shard.tick();
    expect(told(asked.reply)).toEqual({ events: [], next: 5 });
    receipt(await under.append(note(alice, "n")));
    expect(told(await watch(under, alice, { aggregate: "Notes", from: 5 }))).toEqual({
      events: [noted(5, "n")],
      next: 6,
    });
  });

  it("comes back empty when its time is over, and not before", async () => {
    const under = openShard(bank);
    const [long, short, none] = [
      watch(under, alice),
      watch(under, alice, { waitMs: 100, from: 7 }),
      watch(under, bob, { waitMs: 0 }),
    ];
    expect(told(none.reply)).toEqual({ events: [], next: 1 });
    under.advance(99);
    under.shard.tick();
    expect(short.reply).toBeUndefined();
    under.advance(1);
    under.shard.tick();
    expect(told(short.reply)).toEqual({ events: [], next: 7 });
    expect(long.reply).toBeUndefined();
    under.advance(waitMs);
    under.shard.tick();
    expect(told(long.reply)).toEqual({ events: [], next: 1 });
    expect(under.shard.stats().watches).toBe(0);
  });

  it("from 0 says at once where now is: behind what was sent before it", async () => {
    const under = openShard(bank);
    expect(told(await watch(under, alice, { from: 0 }))).toEqual({ events: [], next: 1 });
    under.disk.holdSyncs();
    under.append(note(alice, "a"), { session: 9 });
    const asked = watch(under, alice, { from: 0 });
    await under.turns();
    expect(asked.reply).toBeUndefined();
    under.disk.releaseSyncs();
    expect(told(await asked)).toEqual({ events: [], next: 2 });
  });

  it("of a part of an append's events gives the rest with the next watch", async () => {
    const under = openShard(bank);
    receipt(await under.append(note(alice, "a", "b", "c", "d", "e")));
    const seen: unknown[] = [];
    for (let from = 1; from <= 5; ) {
      const { events, next } = told(await watch(under, alice, { from, limit: 2 }));
      expect(next).toBe(events.at(-1)![0] + 1);
      seen.push(...events);
      from = next;
    }
    expect(seen).toEqual(["a", "b", "c", "d", "e"].map((text, i) => noted(i + 1, text)));
  });

  it("P8: gives long histories in pages of some kilobytes, each with an event at least", async () => {
    const under = openShard(bank);
    for (let i = 0; i < 8; i++) receipt(await under.append(note(alice, "x".repeat(i === 3 ? 200_000 : 30_000))));
    const counts: number[] = [];
    for (let from = 1; from <= 8; ) {
      const { events, next } = page(await watch(under, alice, { from }));
      counts.push(events.length);
      from = next;
    }
    expect(counts).toEqual([2, 1, 1, 2, 2]);
  });
});

describe("what else happens to a watched entity", () => {
  it("P6: a watcher is told of an erasure as the history tells it, and of the new life", async () => {
    const under = openShard(bank);
    receipt(await under.append(note(alice, "secret")));
    const asked = watch(under, alice, { from: 2 });
    await under.erase(alice);
    expect(told(await asked)).toEqual({ events: [[2, "Erased", { from: 1, to: 1 }]], next: 3 });
    expect(told(await watch(under, alice)).events).toEqual([[2, "Erased", { from: 1, to: 1 }]]);
    const next = watch(under, alice, { from: 3, aggregate: "Notes" });
    receipt(await under.append({ ...note(alice, "anew"), newLife: true }));
    expect(told(await next)).toEqual({ events: [noted(3, "anew")], next: 4 });
  });

  it("is told of a restoring: the marker, then the copies", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 5)));
    receipt(await under.append(debit(alice, 3)));
    const asked = watch(under, alice, { from: 3 });
    receipt(await under.restore(alice, { seq: 1 }));
    const { events } = told(await asked);
    expect(events.map(([seq, type]) => [seq, type])).toEqual([
      [3, "Restored"],
      [4, "Credited"],
    ]);
  });

  it("is told of a transaction's events when they are applied, on every shard, and not while they are pending", async () => {
    const pair = new ShardsUnderTest(bank, 2);
    const [here, there] = [pair.account(0), pair.account(1)];
    const asked = [here, there].map((id) => watch(pair.of(id), id));
    // Both have prepared, and the decision does not come through.
    pair.fate = ({ kind }) => (kind === requestKind.settle ? "lost" : "delivered");
    const transaction = pair.transact([
      { kind: "append", ...credit(here, 5) },
      { kind: "append", ...credit(there, 6) },
    ]);
    await pair.turns();
    expect(pair.of(there).shard.stats().transactions.pending).toBe(1);
    expect(asked[1]!.reply).toBeUndefined();
    pair.fate = () => "delivered";
    await pair.committed(transaction);
    await pair.settled();
    expect(told(await asked[0]!)).toEqual({ events: [[1, "Credited", { amount: 5 }]], next: 2 });
    expect(told(await asked[1]!)).toEqual({ events: [[1, "Credited", { amount: 6 }]], next: 2 });
  });
});

describe("watches and the shard", () => {
  it("does not wake an entity, nor keep one awake, by watching it", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 1 } });
    receipt(await under.append(note(alice, "a")));
    receipt(await under.append(note(bob, "b")));
    await under.restart();
    const { activations } = under.shard.stats();
    const asked = [watch(under, alice, { from: 2 }), watch(under, bob, { from: 2 })];
    expect(told(await watch(under, alice)).events).toEqual([noted(1, "a")]);
    expect(under.shard.stats()).toMatchObject({ activations, activeEntities: 0, watches: 2 });
    receipt(await under.append(note(bob, "c")));
    expect(told(await asked[1]!).events).toEqual([noted(2, "c")]);
  });

  it("P8: holds so many watches and refuses more as OVERLOADED", async () => {
    const under = openShard(bank);
    under.turn(() => {
      for (let i = 0; i < 16_384; i++) watch(under, `account/user-${i}`);
    });
    expect(failure(await watch(under, alice))).toMatchObject({ code: "OVERLOADED", retryable: true });
    // One more that has something to be told at once is refused as well: it may be the next to wait.
    receipt(await under.append(note("account/user-7", "x")));
    await under.turns();
    expect(under.shard.stats().watches).toBe(16_383);
    watch(under, alice);
    expect(under.shard.stats().watches).toBe(16_384);
  });

  it("P8: answers many watchers of one entity, each of them, over as many turns as it takes", async () => {
    const under = openShard(bank);
    const asked = under.turn(() => Array.from({ length: 1_000 }, () => watch(under, alice)));
    receipt(await under.append(note(alice, "a")));
    for (const one of asked) expect(told(await one)).toEqual({ events: [noted(1, "a")], next: 2 });
    expect(under.shard.stats().watches).toBe(0);
  });

  it("that nobody wants any more is answered at once, empty", async () => {
    const under = openShard(bank);
    const asked = watch(under, alice, {}, { call: 41 });
    value(await unwatch(under, 99));
    value(await unwatch(under, 41, { session: 8 }));
    expect(asked.reply).toBeUndefined();
    value(await unwatch(under, 41));
    expect(told(asked.reply)).toEqual({ events: [], next: 1 });
    expect(under.shard.stats().watches).toBe(0);
  });

  it("that was told to end just when an event came is answered once", async () => {
    const under = openShard(bank);
    const asked = watch(under, alice, {}, { call: 41 });
    receipt(await under.append(note(alice, "a")));
    // The event has come; the turn in which it would be read has not.
    const ended = unwatch(under, 41);
    await ended;
    await under.turns();
    expect(page(await asked).events.length).toBeLessThanOrEqual(1);
    expect(under.replies.filter(({ call }) => call === 41)).toHaveLength(1);
  });

  it("P8: of a connection that is gone is answered with nothing, so that the credit comes back", async () => {
    const under = openShard(bank);
    const gone = [watch(under, alice, {}, { session: 5 }), watch(under, bob, {}, { session: 5 })];
    const stays = watch(under, alice);
    under.shard.forget(5);
    expect(under.shard.stats().watches).toBe(1);
    receipt(await under.append(note(alice, "a")));
    await stays;
    await under.turns();
    for (const asked of gone) expect(page(await asked).events).toEqual([]);
  });

  it("is answered when the shard closes, and when it stops", async () => {
    for (const end of ["close", "stop"] as const) {
      const under = openShard(bank);
      receipt(await under.append(note(alice, "a")));
      const asked = watch(under, alice, { from: 2 });
      if (end === "close") await under.shard.close();
      else {
        // It fails again while the shard recovers.
        under.disk.failNextWrite();
        failure(await under.append(note(bob, "b")));
        under.disk.failNextSync();
        await under.until(() => under.shard.state === "stopped");
      }
      expect(failure((await asked)!) as HeddleError).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
      expect(under.shard.stats().watches).toBe(0);
    }
  });

  it("P7: refuses what makes no sense", async () => {
    const under = openShard(bank);
    expect(failure(await watch(under, alice, { aggregate: "Nobody" })).code).toBe("UNKNOWN_AGGREGATE");
    expect(() => watch(under, alice, { limit: 0 })).toThrowError(/limit/);
    expect(() => watch(under, alice, { waitMs: 25_001 })).toThrowError(/waitMs/);
    const body = new Uint8Array([1, 0, 97]);
    expect(failure(await under.send(requestKind.watch, alice, body)).code).toBe("BAD_FRAME");
  });
});

describe("the seam between what was and what comes", () => {
  it("neither leaves an event out nor gives one twice, whoever writes meanwhile", async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = seededRandom(seed);
      const below = (bound: number) => random.safeInteger() % bound;
      const under = openShard(bank, { limits: { activeEntitiesMax: 2, segmentBytes: 64 << 10 } });
      const entities = [alice, bob, "account/carol"];
      const seen = new Map(entities.map((id) => [id, [] as unknown[]]));
      let isOver = false;
      const follow = async (id: string) => {
        for (let from = 1; !isOver; ) {
          const { events, next } = told(await watch(under, id, { from, limit: 1 + below(4) }));
          seen.get(id)!.push(...events);
          from = next;
        }
      };
      const followers = entities.map(follow);
      for (let i = 0; i < 120; i++) {
        const batch = () =>
          Array.from({ length: 1 + below(4) }, () => {
            const texts = Array.from({ length: 1 + below(3) }, () => `t${below(1_000)}`);
            return under.append(note(entities[below(3)]!, ...texts));
          });
        if (below(10) === 0 && under.shard.state === "open") under.disk.failNextWrite();
        for (const one of under.turn(batch)) await one;
        if (below(6) === 0) under.shard.requestCheckpoint();
        if (below(3) === 0) under.shard.tick();
        if (below(4) === 0) await under.turns(below(3));
      }
      await under.until(() => under.shard.state === "open");
      const all = await Promise.all(entities.map((id) => under.events(id)));
      await under.until(() => entities.every((id, i) => seen.get(id)!.length >= all[i]!.length));
      for (const [i, id] of entities.entries()) expect(seen.get(id), `seed ${seed}`).toEqual(brief(all[i]!));
      isOver = true;
      under.advance(waitMs);
      under.shard.tick();
      await Promise.all(followers);
    }
  });
});
