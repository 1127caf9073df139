// P1: transactions, and calls of single entities beside them, are as if one came after the other. Shown on shards that ask
// each other over several turns, so that everything can come between everything else. What survives a crash stands in
// crashes.int.spec.ts.
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import { requestKind, type TransactOperation, type WireTransaction } from "@heddle/protocol/internal";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { bank, credit } from "../bank.spec-support.ts";
import {
  type Asked,
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
  value,
} from "../shard-under-test.spec-support.ts";
import { ShardsUnderTest } from "../shards-under-test.spec-support.ts";

afterEach(closeAll);

function appends(entity: string, amount: number, expectedSeq?: number): TransactOperation {
  return { kind: "append", ...credit(entity, amount), expectedSeq };
}

function reads(entity: string, expectedSeq?: number): TransactOperation {
  return { kind: "read", entity, aggregate: "Account", expectedSeq, wantsState: true };
}

/** Three shards; requests to settle are kept back until they are let go. */
function keptBack(limits: { holdWaitMs?: number; holdMs?: number } = {}) {
  const shards = new ShardsUnderTest(bank, 3, { limits });
  const accounts = [0, 1, 2].map((shard) => shards.account(shard)) as [string, string, string];
  shards.fate = ({ kind }) => (kind === requestKind.settle || kind === requestKind.inquire ? "lost" : "delivered");
  return { shards, accounts };
}

describe("P1: while an entity is held", () => {
  it("everybody else who names it waits, reads too, in the order in which they came; others do not", async () => {
    const { shards, accounts } = keptBack();
    const [a, b] = accounts;
    const under = shards.of(b);
    receipt(await under.append(credit(b, 1)));
    value(await shards.transact([appends(a, 5), appends(b, 5)]));
    const asked: Asked[] = [
      under.get(b, "Account"),
      under.append(credit(b, 7)),
      under.history(b),
      under.getAt(b, "Account", { seq: 2 }),
      under.execute({ entity: b, aggregate: "Account", command: "Withdraw", input: { amount: 13 } }),
      under.transact([reads(b)]),
      under.get(b, "Account"),
    ];
    await shards.turns();
    expect(asked.map(({ reply }) => reply)).toEqual(asked.map(() => undefined));
    expect(under.shard.stats().transactions).toMatchObject({ holds: 1, waiters: asked.length, pending: 1 });
    const other = shards.account(1, 1);
    receipt(await under.append(credit(other, 1)));
    shards.fate = () => "delivered";
    await shards.settled();
    expect(value(await asked[0]!)).toEqual({ state: { balance: 6, events: 2 }, seq: 2 });
    expect(receipt(await asked[1]!).seq).toBe(3);
    expect((value(await asked[2]!) as unknown[]).length).toBeGreaterThanOrEqual(2);
    expect(value(await asked[3]!)).toMatchObject({ seq: 2 });
    expect(receipt(await asked[4]!).seq).toBe(4);
    expect((value(await asked[5]!) as WireTransaction).results).toEqual([[4, { balance: 0, events: 4 }]]);
    expect(value(await asked[6]!)).toMatchObject({ seq: 4 });
  });

  it("P6: its erasure waits as well, and takes what was prepared with it", async () => {
    const { shards, accounts } = keptBack();
    const [a, b] = accounts;
    const under = shards.of(b);
    const marked = {
      kind: "append",
      entity: b,
      aggregate: "Notes",
      events: [{ type: "Noted", payload: { text: "MARKER" } }],
    };
    value(await shards.transact([appends(a, 5), marked as TransactOperation]));
    const erased = under.delete(b);
    await shards.turns();
    expect(erased.reply).toBeUndefined();
    expect(under.filesWith("MARKER")).not.toEqual([]);
    shards.fate = () => "delivered";
    await shards.settled();
    expect(value(await erased)).toMatchObject({ entity: b, complete: true });
    expect(under.filesWith("MARKER")).toEqual([]);
    expect(failure(await under.get(b, "Account")).code).toBe("ERASED");
  });

  it("P8: nobody waits for longer than the limit, and what was not taken is gone", async () => {
    const { shards, accounts } = keptBack({ holdWaitMs: 2_000 });
    const [a, b, c] = accounts;
    value(await shards.transact([appends(a, 5), appends(b, 5)]));
    const waiting = [shards.of(b).append(credit(b, 1)), shards.of(b).transact([appends(b, 1)])];
    const several = shards.transact([appends(b, 1), appends(c, 1)]);
    await shards.turns();
    await shards.pass(2_500);
    expect(failure(await waiting[0]!)).toMatchObject({ code: "ENTITY_HELD", retryable: true, facts: { entity: b } });
    expect(failure(await waiting[1]!)).toMatchObject({ code: "TRANSACTION_ABORTED", retryable: true });
    expect(failure(await several)).toMatchObject({ code: "TRANSACTION_ABORTED", retryable: true });
    shards.fate = () => "delivered";
    await shards.settled();
    expect(await Promise.all([a, b, c].map((entity) => shards.balance(entity)))).toEqual([5, 5, 0]);
  });

  it("a shard that closes refuses whoever waits, and goes on with what is prepared when it is opened", async () => {
    const { shards, accounts } = keptBack();
    const [a, b] = accounts;
    value(await shards.transact([appends(a, 5), appends(b, 5)]));
    const waiting = shards.of(b).append(credit(b, 1));
    await shards.turns();
    const restarted = shards.of(b).restart();
    expect(failure(await waiting).code).toBe("SHARD_STOPPED");
    await restarted;
    shards.fate = () => "delivered";
    await shards.settled();
    expect(await shards.balance(b)).toBe(5);
  });
});

/** Two aggregates' worth of rules that no single entity can keep. */
const Load = defineAggregate("Load", {
  version: 1,
  initial: () => ({ sum: 0 }),
  events: { Added: event(z.object({ amount: z.number().int() }), (s, e) => ({ sum: s.sum + e.amount })) },
  invariants: {},
  commands: {
    Take: command(z.object({}), (state) =>
      state.sum >= 10 ? reject("FULL", {}) : { type: "Added", payload: { amount: 1 } },
    ),
  },
});
const loads = defineContext("loads", { aggregates: [Load] });

function adds(entity: string, amount: number): TransactOperation {
  return { kind: "append", entity, aggregate: "Load", events: [{ type: "Added", payload: { amount } }] };
}

async function loadOf(under: ShardUnderTest, entity: string): Promise<{ sum: number; seq: number }> {
  const { state, seq } = await under.state(entity, "Load");
  return { sum: (state as { sum: number }).sum, seq };
}

describe("P1: a hold that is lost", () => {
  it("with its thread, before all entities are taken, has the transaction given up: what it read may have changed", async () => {
    const { shards, accounts } = keptBack();
    const [a, b, c] = accounts;
    // Somebody holds b, so that the next one has read a, and waits.
    value(await shards.transact([appends(b, 1), appends(c, 1)], { at: 2 }));
    const waiting = shards.transact([reads(a, 0), appends(b, 1), appends(c, 1)], { at: 2 });
    await shards.turns();
    expect(shards.of(a).shard.stats().transactions.holds).toBe(1);
    await shards.loseThread(0);
    receipt(await shards.of(a).append(credit(a, 7)));
    shards.fate = () => "delivered";
    await shards.settled();
    expect(failure(await waiting).code).toBe("TRANSACTION_ABORTED");
    expect(await Promise.all(accounts.map((entity) => shards.balance(entity)))).toEqual([7, 1, 1]);
  });

  it("after all were taken, changes nothing: an entity that is only read is let go then", async () => {
    const { shards, accounts } = keptBack();
    const [a, b, c] = accounts;
    value(await shards.transact([reads(a, 0), appends(b, 1), appends(c, 1)], { at: 2 }));
    receipt(await shards.of(a).append(credit(a, 7)));
    expect(shards.of(b).shard.stats().transactions.holds).toBe(1);
    shards.fate = () => "delivered";
    await shards.settled();
    expect(await Promise.all(accounts.map((entity) => shards.balance(entity)))).toEqual([7, 1, 1]);
  });
});

describe("P1: rules over several entities", () => {
  it.each([1, 3])("hold against write skew: the sum of two stays at most 100, on %i shards", async (count) => {
    const shards = new ShardsUnderTest(loads, count);
    const pairs = Array.from(
      { length: 20 },
      (_, i) => [shards.account(0, i), shards.account(count - 1, i + 50)] as const,
    );
    for (const [x, y] of pairs) value(await shards.transact([adds(x, 45), adds(y, 45)]));
    // Each reads both, sees that 8 more fit, and adds them to one of the two; only one of them may.
    const addIfRoom = async (x: string, y: string, to: string): Promise<boolean> => {
      const [a, b] = [await loadOf(shards.of(x), x), await loadOf(shards.of(y), y)];
      if (a.sum + b.sum + 8 > 100) return false;
      const condition = (entity: string, expectedSeq: number): TransactOperation => {
        return { kind: "read", entity, aggregate: "Load", expectedSeq, wantsState: false };
      };
      const reply = await shards.transact([condition(x, a.seq), condition(y, b.seq), adds(to, 8)]);
      if (reply.kind === "rejected") expect(rejected(reply).code).toBe("TRANSACTION_REJECTED");
      return reply.kind === "value";
    };
    for (const [x, y] of pairs) {
      const done = await Promise.all([addIfRoom(x, y, x), addIfRoom(x, y, y), addIfRoom(y, x, x)]);
      expect(done.filter(Boolean)).toHaveLength(1);
      await shards.settled();
      expect((await loadOf(shards.of(x), x)).sum + (await loadOf(shards.of(y), y)).sum).toBe(98);
    }
  });

  it("give the last of ten seats to one of two who ask for it", async () => {
    const shards = new ShardsUnderTest(loads, 3);
    const [seats, x, y] = [shards.account(1), shards.account(0), shards.account(2)];
    value(await shards.transact([adds(seats, 9)]));
    const takes = (who: string): TransactOperation[] => [
      { kind: "execute", entity: seats, aggregate: "Load", command: "Take", input: {} },
      adds(who, 1),
    ];
    const replies = await Promise.all([shards.transact(takes(x)), shards.transact(takes(y))]);
    expect(replies.map(({ kind }) => kind).sort()).toEqual(["rejected", "value"]);
    await shards.settled();
    const sums = await Promise.all([seats, x, y].map(async (entity) => (await loadOf(shards.of(entity), entity)).sum));
    expect(sums.reduce((a, b) => a + b)).toBe(11);
  });
});

interface Done {
  readonly operations: readonly TransactOperation[];
  readonly results: WireTransaction["results"];
}

/** A cycle among what was committed, if there is one: who wrote what another read or overwrote comes before it. */
function cycleOf(done: readonly Done[]): number[] | undefined {
  const after = done.map(() => new Set<number>());
  const entities = new Set(done.flatMap(({ operations }) => operations.map(({ entity }) => entity)));
  for (const entity of entities) {
    // By sequence, who wrote it.
    const writers = new Map<number, number>();
    const seen: { at: number; seq: number }[] = [];
    for (const [at, { operations, results }] of done.entries()) {
      for (const [i, operation] of operations.entries()) {
        if (operation.entity !== entity) continue;
        const result = results[i]!;
        const [seq] = result;
        if (result.length === 6) {
          for (let own = result[1]; own <= seq; own++) {
            expect(writers.has(own), `${entity}: sequence ${own} twice`).toBe(false);
            writers.set(own, at);
          }
          seen.push({ at, seq: result[1] - 1 });
        } else seen.push({ at, seq });
      }
    }
    for (const { at, seq } of seen) {
      const before = writers.get(seq);
      const behind = writers.get(seq + 1);
      if (before !== undefined && before !== at) after[before]!.add(at);
      if (behind !== undefined && behind !== at) after[at]!.add(behind);
    }
  }
  const states = done.map(() => 0);
  const path: number[] = [];
  const visit = (at: number): boolean => {
    if (states[at] === 1) return true;
    if (states[at] === 2) return false;
    states[at] = 1;
    path.push(at);
    for (const next of after[at]!) if (visit(next)) return true;
    path.pop();
    states[at] = 2;
    return false;
  };
  for (const at of done.keys()) if (visit(at)) return path;
  return undefined;
}

const places = fc.array(fc.nat(5), { minLength: 1, maxLength: 4 });
const planned = fc.array(fc.record({ reads: places, writes: places, at: fc.nat(2), onlyReads: fc.boolean() }), {
  minLength: 2,
  maxLength: 12,
});

describe("P1: what a transaction has read", () => {
  it.each(["history", "getAt"] as const)(
    "is not taken back by a %s that begins later, though it was not durable and what was read beside has changed since",
    async (how) => {
      const shards = new ShardsUnderTest(bank, 2);
      const [a, b] = [shards.account(0), shards.account(1)];
      const [slow, quick] = [shards.of(a), shards.of(b)];
      receipt(await slow.append(credit(a, 1)));
      slow.disk.holdSyncs();
      const written = slow.append(credit(a, 1));
      const transaction = shards.transact([reads(a), reads(b)]);
      await shards.turns();
      // It comes behind the transaction, which saw nothing of it, and is answered.
      receipt(await quick.append(credit(b, 1)));
      const asked = how === "history" ? slow.history(a) : slow.getAt(a, "Account", { time: slow.clock.nowMs });
      await shards.turns();
      expect(asked.reply).toBeUndefined();
      slow.disk.releaseSyncs();
      expect((value(await transaction) as WireTransaction).results.map(([seq]) => seq)).toEqual([2, 0]);
      const found = value(await asked);
      expect(how === "history" ? (found as unknown[]).length : (found as { seq: number }).seq).toBe(2);
      receipt(await written);
    },
  );
});

describe("P1: what a transaction has written", () => {
  it("is not missing from a history that waited for it, though the disk was full when it was to be written", async () => {
    const { shards, accounts } = keptBack();
    const [a, b] = accounts;
    const under = shards.of(b);
    receipt(await under.append(credit(b, 1)));
    value(await shards.transact([appends(a, 5), appends(b, 5)]));
    const asked = [under.history(b), under.getAt(b, "Account", { time: under.clock.nowMs + 1_000 })] as const;
    under.disk.setFreeBytes(0);
    shards.fate = () => "delivered";
    await shards.pass(1_500);
    expect(under.shard.state).toBe("full");
    expect(asked.map(({ reply }) => reply)).toEqual([undefined, undefined]);
    under.disk.setFreeBytes(Number.POSITIVE_INFINITY);
    await shards.settled();
    expect(value(await asked[0])).toHaveLength(2);
    expect(value(await asked[1])).toMatchObject({ seq: 2 });
  });
});

describe("P1: any transactions at once", () => {
  it("never wait in a circle, and are as if one came after the other", async () => {
    let committed = 0;
    await fc.assert(
      fc.asyncProperty(planned, fc.nat(3), async (plans, faults) => {
        const shards = new ShardsUnderTest(bank, 3);
        const entities = Array.from({ length: 6 }, (_, i) => shards.account(i % 3, Math.floor(i / 3)));
        let left = faults;
        shards.fate = ({ kind, to }) => {
          if (left === 0 || (kind + to) % 3 !== 0) return "delivered";
          left--;
          return kind % 2 === 0 ? "lost" : "unheard";
        };
        const asked = plans.map(({ reads: read, writes, at, onlyReads }) => {
          const operations = [
            ...read.map((place) => reads(entities[place]!)),
            ...(onlyReads ? [] : writes.map((place) => appends(entities[place]!, 1))),
          ];
          return { operations, reply: shards.transact(operations, { at }) };
        });
        await shards.turns(3);
        await shards.settled();
        const done: Done[] = [];
        for (const { operations, reply } of asked) {
          const answer = await reply;
          if (answer.kind === "value") done.push({ operations, results: value(answer as never) as never });
          else expect(failure(answer).code).toBe("TRANSACTION_ABORTED");
        }
        committed += done.length;
        const flat = done.map((one) => ({ ...one, results: (one.results as unknown as WireTransaction).results }));
        expect(cycleOf(flat)).toBeUndefined();
        const written = flat.flatMap(({ results }) => results).filter(({ length }) => length === 6).length;
        let sum = 0;
        for (const entity of entities) sum += await shards.balance(entity);
        expect(sum).toBe(written);
        await closeAll();
      }),
      { numRuns: 25, endOnFailure: true },
    );
    expect(committed).toBeGreaterThan(20);
  });
});

describe("a single shard", () => {
  it("has one transaction wait for another's entities and keep what it has, without a circle", async () => {
    const under = openShard(bank);
    const asked = Array.from({ length: 20 }, (_, i) =>
      under.transact(
        i % 2 === 0
          ? [appends("account/a", 1), appends("account/b", 1)]
          : [appends("account/b", 1), appends("account/a", 1)],
      ),
    );
    for (const one of asked) value(await one);
    expect(under.shard.stats().transactions).toMatchObject({ committed: 20, holds: 0, waiters: 0 });
  });
});
