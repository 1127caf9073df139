// Goal: where a domain module declares the kinds of its entities, an entity of another kind cannot begin, and nothing else is
// asked about kinds. Method: shards that run a module with a kind, and are opened again with one that has it no more. Sagas and
// reminders: in their packages.
import { type AnyContext, defineContext } from "@heddle/domain";
import type { HeddleError } from "@heddle/kernel";
import type { ImportFields, TransactOperation, WireTransaction } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { Account, alice, credit, credited, Notes, note } from "./bank.spec-support.ts";
import {
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";
import { ShardsUnderTest } from "./shards-under-test.spec-support.ts";

afterEach(closeAll);

const bankOf = (...kinds: string[]): AnyContext => defineContext("bank", { aggregates: [Account, Notes], kinds });
const slip = "acount/alice";
const card = "card/7";

const withdraw = (entity: string, amount: number) => ({
  entity,
  aggregate: "Account",
  command: "Withdraw",
  input: { amount },
});
const appends = (entity: string, amount = 1): TransactOperation => ({ kind: "append", ...credit(entity, amount) });
const unknownKind = (entity: string, ...known: string[]) => ({
  code: "UNKNOWN_KIND",
  retryable: false,
  facts: { entity, kind: entity.slice(0, entity.indexOf("/")), known },
});

function traceOf(under: ShardUnderTest) {
  const { sessions, transactions } = under.shard.stats();
  const { holds, pending, waiters, committed } = transactions;
  return { bytes: under.logBytes(), sessions, holds, pending, waiters, committed };
}

/** A card with an event, on a shard whose module has no cards any more. */
async function withOldCard(options?: { readonly erased: boolean }): Promise<ShardUnderTest> {
  const under = openShard(bankOf("account", "card"));
  receipt(await under.append({ ...credit(card, 10), id: "first" }));
  if (options?.erased === true) await under.erase(card);
  await under.restart(bankOf("account"));
  return under;
}

describe("an entity of a kind that is not declared", () => {
  it.each<[string, (under: ShardUnderTest) => Promise<HeddleError>]>([
    ["an append", async (under) => failure(await under.append(credit(slip, 1)))],
    ["an append with an id", async (under) => failure(await under.append({ ...credit(slip, 1), id: "once" }))],
    [
      "an append that expects none",
      async (under) => failure(await under.append({ ...credit(slip, 1), expectedSeq: 0 })),
    ],
    ["one that expects events", async (under) => failure(await under.append({ ...credit(slip, 1), expectedSeq: 4 }))],
    ["a command", async (under) => failure(await under.execute(withdraw(slip, 1)))],
    ["a transaction", async (under) => failure(await under.transact([appends(alice), appends(slip)]))],
  ])("P7: cannot begin by %s, and leaves no trace", async (_, call) => {
    const under = openShard(bankOf("account", "card"));
    receipt(await under.append(credit(alice, 1)));
    const before = traceOf(under);
    expect(await call(under)).toMatchObject(unknownKind(slip, "account", "card"));
    expect(traceOf(under)).toEqual(before);
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 1 });
    expect(await under.listed()).toHaveLength(1);
  });

  it("is read as any that has no events", async () => {
    const under = openShard(bankOf("account"));
    expect(await under.state(slip, "Account")).toEqual({ seq: 0, state: { balance: 0, events: 0 } });
    expect(await under.events(slip)).toEqual([]);
    const read = { kind: "read", entity: slip, aggregate: "Account", expectedSeq: 0, wantsState: true } as const;
    const done = value(await under.transact([read, appends(alice)])) as WireTransaction;
    expect(done.results[0]).toEqual([0, { balance: 0, events: 0 }]);
  });

  it("is told by what stands before the first slash, whatever follows", async () => {
    const under = openShard(bankOf("account"));
    for (const entity of ["account/a/b", "account/{tag}/card", "account/card/7"]) {
      receipt(await under.append(credit(entity, 1)));
    }
    for (const entity of ["accounts/a", "accoun/t", "card/account/a", "card/{account}/a"]) {
      expect(failure(await under.append(credit(entity, 1))), entity).toMatchObject(unknownKind(entity, "account"));
    }
  });

  it("begins like any other where no kinds are declared", async () => {
    const under = openShard(defineContext("bank", { aggregates: [Account, Notes] }));
    receipt(await under.append(credit(slip, 1)));
    value(await under.transact([appends(card)]));
  });
});

describe("an entity whose kind was taken from the list", () => {
  it("is read, written, restored, taken into transactions and erased as before", async () => {
    const under = await withOldCard();
    expect(await under.state(card, "Account")).toMatchObject({ seq: 1, state: { balance: 10 } });
    expect(await under.events(card)).toHaveLength(1);
    expect(receipt(await under.append({ ...credit(card, 10), id: "first" })).duplicate).toBe(true);
    expect(receipt(await under.append(note(card, "still here"))).seq).toBe(2);
    expect(receipt(await under.execute(withdraw(card, 3))).seq).toBe(3);
    expect(rejected(await under.execute(withdraw(card, 30))).code).toBe("COMMAND_REJECTED");
    value(await under.transact([appends(card), appends(alice)]));
    receipt(await under.restore(card, { seq: 1 }));
    expect(await under.state(card, "Account")).toMatchObject({ state: { balance: 10 } });
    expect((await under.erase(card)).complete).toBe(true);
  });

  it("is folded anew from the log alone, and after the power failed", async () => {
    const under = await withOldCard();
    await under.crash("everything");
    under.startWithEmptyPartition();
    expect(await under.state(card, "Account")).toMatchObject({ seq: 1, state: { balance: 10 } });
    expect(receipt(await under.append(credit(card, 1))).seq).toBe(2);
  });

  it("cannot begin a new life when it was erased", async () => {
    const under = await withOldCard({ erased: true });
    expect(failure(await under.append(credit(card, 1))).code).toBe("ERASED");
    const newLife = { ...credit(card, 1), newLife: true };
    expect(failure(await under.append(newLife))).toMatchObject(unknownKind(card, "account"));
    const operation: TransactOperation = { kind: "append", ...newLife };
    expect(failure(await under.transact([appends(alice), operation]))).toMatchObject(unknownKind(card, "account"));
    await under.restart(bankOf("account", "card"));
    receipt(await under.append(newLife));
  });

  it("is imported as it was written elsewhere, at its beginning and behind it", async () => {
    const under = openShard(bankOf("account"));
    const time = 1_000;
    const fields = (expectedSeq: number): Omit<ImportFields, "trusted"> => ({
      entity: card,
      aggregate: "Account",
      events: [credited(5)],
      time,
      expectedSeq,
    });
    receipt(await under.import(fields(0)));
    receipt(await under.import(fields(1)));
    expect(await under.state(card, "Account")).toMatchObject({ seq: 2, state: { balance: 10 } });
  });
});

describe("a transaction over two shards", () => {
  const both = (kinds: AnyContext) => {
    const shards = new ShardsUnderTest(kinds, 2);
    const other = Array.from({ length: 50 }, (_, i) => `acount/${i}`);
    const slips = [0, 1].map((shard) => other.find((entity) => shards.of(entity) === shards.shards[shard])!);
    return { shards, accounts: [shards.account(0), shards.account(1)], slips };
  };

  it.each([0, 1])("P7: is refused whole when it would begin an entity of an unknown kind on shard %i", async (at) => {
    const { shards, accounts, slips } = both(bankOf("account"));
    const good = accounts[1 - at]!;
    const bad = slips[at]!;
    const before = shards.shards.map(traceOf);
    for (const operations of [
      [appends(good), appends(bad)],
      [appends(bad), appends(good)],
    ]) {
      const refused = failure(await shards.transact(operations));
      expect(refused).toMatchObject(unknownKind(bad, "account"));
      const operation = operations.findIndex((one) => one.kind === "append" && one.entity === bad);
      expect(refused.facts, "which of the operations it is").toMatchObject({ operation });
    }
    await shards.settled();
    expect(shards.shards.map(traceOf)).toEqual(before);
    expect(await shards.balance(good)).toBe(0);
    await shards.committed(shards.transact([appends(accounts[0]!), appends(accounts[1]!)]));
    expect(await shards.balance(good)).toBe(1);
  });
});
