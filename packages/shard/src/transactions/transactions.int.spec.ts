// Transactions over a simulated disk, on one shard and on several: all or nothing, isolated, once.
import { requestKind, type TransactOperation, type WireTransaction } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, credited } from "../bank.spec-support.ts";
import {
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

function appends(fields: ReturnType<typeof credit>, expectedSeq?: number): TransactOperation {
  return { kind: "append", ...fields, expectedSeq };
}

function withdraws(entity: string, amount: number): TransactOperation {
  return { kind: "execute", entity, aggregate: "Account", command: "Withdraw", input: { amount } };
}

function reads(entity: string, expectedSeq?: number, wantsState = false): TransactOperation {
  return { kind: "read", entity, aggregate: "Account", expectedSeq, wantsState };
}

function transfer(from: string, to: string, amount: number): TransactOperation[] {
  return [withdraws(from, amount), appends(credit(to, amount))];
}

async function balances(under: ShardUnderTest, ...entities: string[]): Promise<number[]> {
  const found: number[] = [];
  for (const entity of entities) {
    found.push(((await under.state(entity, "Account")).state as { balance: number }).balance);
  }
  return found;
}

describe("a transaction on one shard", () => {
  it("changes all its entities, in one record", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 100)));
    const done = value(await under.transact(transfer(alice, bob, 30))) as WireTransaction;
    expect(done.duplicate).toBe(false);
    expect(done.results.map(([seq]) => seq)).toEqual([2, 1]);
    expect(await balances(under, alice, bob)).toEqual([70, 30]);
    await under.restart();
    expect(await balances(under, alice, bob)).toEqual([70, 30]);
    expect((await under.events(bob)).map(([seq, , , type]) => [seq, type])).toEqual([[1, "Credited"]]);
  });

  it("P7: refused, leaves not a byte", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10)));
    const bytes = under.logBytes();
    const said = rejected(await under.transact([appends(credit(bob, 5)), withdraws(alice, 11)]));
    expect(said).toMatchObject({
      code: "TRANSACTION_REJECTED",
      facts: { operation: 1, entity: alice, rejection: { code: "COMMAND_REJECTED" } },
    });
    expect(under.logBytes()).toBe(bytes);
    expect(await balances(under, alice, bob)).toEqual([10, 0]);
  });

  it("lets operations on one entity see what those before them did", async () => {
    const under = openShard(bank);
    const done = value(
      await under.transact([appends(credit(alice, 5), 0), reads(alice, 1, true), withdraws(alice, 5), reads(alice, 2)]),
    ) as WireTransaction;
    expect(done.results[1]).toEqual([1, { balance: 5, events: 1 }]);
    expect(done.results[3]).toEqual([2]);
    expect(await balances(under, alice)).toEqual([0]);
  });

  it("is refused when an entity that is only read has moved on", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10)));
    const said = rejected(await under.transact([reads(alice, 0), appends(credit(bob, 1))]));
    expect(said.facts).toMatchObject({ operation: 0, rejection: { code: "SEQUENCE_CONFLICT" } });
  });

  it("P4: repeated, gives the first results, by its call and by its id, also after a restart", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 100)));
    const operations = transfer(alice, bob, 30);
    const first = value(await under.transact(operations, { call: 7, id: "t-1" })) as WireTransaction;
    const again = async () => {
      expect(value(await under.transact(operations, { call: 7, id: "t-1" }))).toEqual({ ...first, duplicate: true });
      expect(value(await under.transact(operations, { session: 9, id: "t-1" }))).toEqual({ ...first, duplicate: true });
    };
    await again();
    await under.restart();
    await again();
    await under.checkpoint();
    await under.restart();
    await again();
    expect(failure(await under.transact(transfer(alice, bob, 31), { session: 9, id: "t-1" })).code).toBe("ID_REUSED");
    expect(await balances(under, alice, bob)).toEqual([70, 30]);
  });

  it("P4: repeated with newer sequences and other reads, is the same transaction", async () => {
    const under = openShard(bank);
    const first = value(await under.transact([reads(bob, 0), appends(credit(alice, 1), 0)], { id: "t" }));
    expect(value(await under.transact([appends(credit(alice, 1), 1)], { id: "t" }))).toEqual({
      results: [(first as WireTransaction).results[1]],
      duplicate: true,
    });
  });

  it("P2: answers when it is durable, and reads of what it wrote wait for that too", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const asked = under.transact([appends(credit(alice, 5)), appends(credit(bob, 5))]);
    const read = under.get(alice, "Account");
    const both = under.transact([reads(alice, undefined, true), reads(bob, undefined, true)]);
    await under.turns();
    expect([asked.reply, read.reply, both.reply]).toEqual([undefined, undefined, undefined]);
    under.disk.releaseSyncs();
    expect((value(await both) as WireTransaction).results.map(([seq]) => seq)).toEqual([1, 1]);
    value(await asked);
  });

  it.each(["log:before-write", "log:on-its-way", "log:after-sync", "shard:before-reply"])(
    "P5: happened whole or not at all after a crash at %s",
    async (point) => {
      for (const survival of ["nothing", "some", "everything"] as const) {
        const under = openShard(bank);
        receipt(await under.append(credit(alice, 100)));
        await under.crashAt(point, () => under.transact(transfer(alice, bob, 30), { id: "t" }), { survival });
        under.start();
        const [a, b] = await balances(under, alice, bob);
        expect([`${a} ${b}`]).toContain(b === 0 ? "100 0" : "70 30");
        value(await under.transact(transfer(alice, bob, 30), { id: "t" }));
        expect(await balances(under, alice, bob)).toEqual([70, 30]);
      }
    },
  );

  it("is refused for entities of Heddle's own, and for operations with ids of their own", async () => {
    const under = openShard(bank);
    for (const operation of [reads("$saga/x"), appends(credit("$saga/x", 1))]) {
      expect(failure(await under.transact([operation])).code).toBe("INVALID_REQUEST");
    }
  });

  it("P6: cannot begin a new life of an erased entity but by asking for it", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    await under.erase(alice);
    expect(failure(await under.transact([appends(credit(alice, 1)), appends(credit(bob, 1))])).code).toBe("ERASED");
    value(await under.transact([appends({ ...credit(alice, 1), newLife: true }), appends(credit(bob, 1))]));
    expect(await balances(under, alice, bob)).toEqual([1, 1]);
  });

  it("keeps its entities awake while memory has room for fewer", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 2 } });
    const entities = Array.from({ length: 40 }, (_, i) => `account/${i}`);
    value(await under.transact(entities.map((entity) => appends(credit(entity, 1)))));
    await under.checkpoint();
    // Asleep, all but two.
    under.shard.tick();
    under.shard.tick();
    expect(under.shard.stats().activeEntities).toBeLessThan(5);
    value(await under.transact(entities.flatMap((entity) => [reads(entity, 1), appends(credit(entity, 1))])));
    for (const entity of entities) expect(await balances(under, entity)).toEqual([2]);
  });
});

describe("a transaction on several shards", () => {
  function four(): { shards: ShardsUnderTest; a: string; b: string; c: string } {
    const shards = new ShardsUnderTest(bank, 4);
    return { shards, a: shards.account(0), b: shards.account(2), c: shards.account(3) };
  }

  it.each([0, 1, 2, 3])("changes all its entities, whichever shard it is sent to: %i", async (at) => {
    const { shards, a, b, c } = four();
    receipt(await shards.of(a).append(credit(a, 100)));
    const operations = [...transfer(a, b, 30), appends(credit(c, 1)), appends(credit(c, 2))];
    const done = await shards.committed(shards.transact(operations, { at }));
    expect(done.results.map(([seq]) => seq)).toEqual([2, 1, 1, 2]);
    await shards.settled();
    expect([await shards.balance(a), await shards.balance(b), await shards.balance(c)]).toEqual([70, 30, 3]);
    for (const [i, under] of shards.shards.entries()) {
      await under.restart();
      expect(under.shard.state, String(i)).toBe("open");
    }
    await shards.settled();
    expect([await shards.balance(a), await shards.balance(b), await shards.balance(c)]).toEqual([70, 30, 3]);
  });

  it("of two shards takes one request to hold and one to settle", async () => {
    const { shards, a, b } = four();
    receipt(await shards.of(a).append(credit(a, 100)));
    await shards.committed(shards.transact(transfer(a, b, 30)));
    await shards.settled();
    expect(shards.sent.map(({ kind }) => kind)).toEqual([requestKind.hold, requestKind.settle]);
  });

  it("P1: many under way write each their own, small ones and large, of one event type and of several", async () => {
    const { shards } = four();
    const events = [credited(9), { type: "Debited", payload: { amount: 4 } }, credited(1)];
    const bytes = [1, 200, 30_000, 70_000, 1_000, 5, 40_000, 20_000, 3];
    const texts = Array.from({ length: 36 }, (_, i) => `${i} ${"x".repeat(bytes[i % bytes.length]!)}`);
    const entities = texts.map((_, i) => [0, 1, 3].map((shard) => shards.account(shard, i)));
    const metadataOf = (text: string, at: number) => ({ text: `${at} ${text}` });
    const asked = texts.map((text, i) =>
      shards.transact(
        entities[i]!.map((entity, at) =>
          appends({ ...credit(entity), metadata: metadataOf(text, at), events: i % 2 === 0 ? events : [credited(6)] }),
        ),
      ),
    );
    for (const one of asked) await shards.committed(one);
    await shards.settled();
    const check = async () => {
      for (const [i, text] of texts.entries()) {
        for (const [at, entity] of entities[i]!.entries()) {
          const found = await shards.of(entity).events(entity);
          expect(found[0]![5]).toEqual(metadataOf(text, at));
          expect(found.map(([, , , type]) => type)).toEqual(
            (i % 2 === 0 ? events : [credited(6)]).map(({ type }) => type),
          );
          expect(await shards.balance(entity)).toBe(6);
        }
      }
    };
    await check();
    for (const under of shards.shards) await under.restart();
    await check();
  });

  it.each([2, 3])("asks only the shard that has not settled once more, and not the others: %i", async (silent) => {
    const { shards, a, b, c } = four();
    receipt(await shards.of(a).append(credit(a, 100)));
    let refusals = 2;
    shards.fate = ({ kind, to }) =>
      kind === requestKind.settle && to === silent && refusals-- > 0 ? "lost" : "delivered";
    await shards.committed(shards.transact([...transfer(a, b, 30), appends(credit(c, 1))]));
    // Less than after what the silent one would itself ask.
    for (let ms = 0; ms < 900; ms += 100) await shards.pass(100);
    const settles = shards.sent.filter(({ kind }) => kind === requestKind.settle).map(({ to }) => to);
    expect(settles).toEqual([2, 3, silent, silent]);
    expect([await shards.balance(a), await shards.balance(b), await shards.balance(c)]).toEqual([70, 30, 1]);
  });

  it("P7: refused by any of its shards, leaves not a byte on any", async () => {
    const { shards, a, b, c } = four();
    receipt(await shards.of(b).append(credit(b, 10)));
    for (const bad of [a, b, c]) {
      const operations = [a, b, c].map((entity) =>
        entity === bad ? withdraws(entity, 11) : appends(credit(entity, 1)),
      );
      const bytes = shards.shards.map((under) => under.logBytes());
      for (const at of [0, 1, 2, 3]) {
        const said = rejected(await shards.transact(operations, { at }));
        expect(said.facts).toMatchObject({ operation: [a, b, c].indexOf(bad), entity: bad });
      }
      await shards.settled();
      expect(shards.shards.map((under) => under.logBytes())).toEqual(bytes);
    }
  });
});
