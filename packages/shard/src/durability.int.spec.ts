// P2: acknowledged means durable. Nothing that depends on an event leaves the shard before that event's sync returned.
//
// Method: syncs of the simulated disk are held; what may not leave is looked for after turns in which everything else
// could have happened. What the disk does between a write and its sync is the event log's own matter, tested there.
import type { Reply, WireEvent } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, debit } from "./bank.spec-support.ts";
import {
  type Asked,
  brief,
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const withdraw = (entity: string, amount: number) => ({
  entity,
  aggregate: "Account",
  command: "Withdraw",
  input: { amount },
});

describe("P2: acknowledged means durable", () => {
  it("P2: a receipt leaves after the sync of its group returned, not before", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const asked = under.append(credit(alice, 5));
    await under.turns();
    expect(under.disk.syncsWaiting).toBe(1);
    expect(asked.reply).toBeUndefined();
    under.disk.returnNextSync();
    expect(receipt(asked.reply!)).toMatchObject({ seq: 1, duplicate: false });
  });

  it.each<[what: string, ask: (under: ReturnType<typeof openShard>) => Asked, seen: (reply: Reply) => void]>([
    [
      "a read",
      (under) => under.get(alice, "Account"),
      (reply) => expect(value(reply)).toEqual({ state: { balance: 5, events: 1 }, seq: 1 }),
    ],
    [
      "a rule's rejection",
      (under) => under.append(debit(alice, 6)),
      (reply) => expect(rejected(reply).code).toBe("INVARIANT_VIOLATED"),
    ],
    [
      "a command's rejection",
      (under) => under.execute(withdraw(alice, 6)),
      (reply) =>
        expect(rejected(reply)).toMatchObject({ code: "COMMAND_REJECTED", facts: { details: { missing: 1 } } }),
    ],
    [
      "a sequence conflict",
      (under) => under.append({ ...credit(alice, 1), expectedSeq: 0 }),
      (reply) => expect(rejected(reply)).toMatchObject({ code: "SEQUENCE_CONFLICT", facts: { actualSeq: 1 } }),
    ],
    [
      "the answer to a repeated call",
      (under) => under.append(credit(alice, 5), { call: 1, retry: true }),
      (reply) => expect(receipt(reply)).toMatchObject({ seq: 1, duplicate: true }),
    ],
    [
      "the answer to a repeated id",
      (under) => under.append({ ...credit(bob, 9), id: "bob-1" }, { session: 9 }),
      (reply) => expect(receipt(reply)).toMatchObject({ duplicate: true }),
    ],
  ])("P2: %s that saw an undurable event waits for the sync too", async (_what, ask, seen) => {
    for (const phase of ["fills", "is on its way"] as const) {
      const under = openShard(bank);
      under.disk.holdSyncs();
      const send = () => [
        under.append(credit(alice, 5), { call: 1 }),
        under.append({ ...credit(bob, 9), id: "bob-1" }, { call: 2 }),
      ];
      // In one turn both are in the group that fills; in two, the first group is on its way when the question comes.
      let asked: Asked;
      if (phase === "fills") {
        asked = under.turn(() => {
          send();
          return ask(under);
        });
      } else {
        under.turn(send);
        await under.turns(1);
        asked = ask(under);
      }
      await under.turns();
      expect(asked.reply, `while the group ${phase}`).toBeUndefined();
      while (under.disk.returnNextSync()) await under.turns(1);
      seen(asked.reply!);
    }
  });

  it("P2: a history waits for what was decided before it was asked for, and for nothing that comes meanwhile", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.disk.holdSyncs();
    under.append(credit(alice, 2));
    await under.turns();
    const asked = [under.history(alice), under.history(alice, { direction: "backward", limit: 1 })] as const;
    under.append(credit(alice, 3));
    await under.turns();
    expect(asked.map(({ reply }) => reply)).toEqual([undefined, undefined]);
    expect(under.disk.returnNextSync()).toBe(true);
    expect(brief(value(await asked[0]) as WireEvent[])).toEqual([
      [1, "Credited", { amount: 1 }],
      [2, "Credited", { amount: 2 }],
    ]);
    expect(brief(value(await asked[1]) as WireEvent[])).toEqual([[2, "Credited", { amount: 2 }]]);
    expect(under.disk.syncsWaiting).toBe(1);
    under.disk.releaseSyncs();
    expect(await under.events(alice)).toHaveLength(3);
  });

  it("P2: a history that waits for a group that fails is answered, with what the recovery has kept", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.disk.failNextSync();
    under.disk.holdSyncs();
    const lost = under.append(credit(alice, 2));
    await under.turns();
    const asked = under.history(alice);
    under.disk.releaseSyncs();
    expect(failure(await lost).retryable).toBe(true);
    expect(brief(value(await asked) as WireEvent[])).toEqual(brief(await under.events(alice)));
  });

  it("P2: reads of other entities and of what was durable before do not wait for a sync", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.disk.holdSyncs();
    under.append(credit(bob, 1));
    expect(value(await under.get(alice, "Account"))).toMatchObject({ seq: 1 });
    expect(value(await under.get("account/nobody", "Account"))).toEqual({ state: { balance: 0, events: 0 }, seq: 0 });
  });

  it("P2: a lone append waits for exactly one sync", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    const before = under.disk.counters.syncs;
    receipt(await under.append(credit(alice, 1)));
    expect(under.disk.counters.syncs - before).toBe(1);
  });

  it("P2: appends that arrive during a sync share the next one", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    const { syncs } = under.disk.counters;
    const { groups } = under.shard.stats();
    under.disk.holdSyncs();
    const asked = [under.append(credit(alice, 1))];
    for (let i = 0; i < 99; i++) {
      asked.push(under.append(credit(`account/user-${i}`, 1)));
      await under.turns(1);
    }
    under.disk.releaseSyncs();
    for (const reply of await Promise.all(asked)) receipt(reply);
    expect(under.disk.counters.syncs - syncs).toBe(2);
    expect(under.shard.stats()).toMatchObject({ groups: groups + 2, appends: 101, events: 101 });
  });

  it("P2: receipts leave group by group, each group when its own sync returned", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const first = under.append(credit(alice, 1));
    const second = under.append(credit(alice, 2));
    await under.turns();
    under.disk.returnNextSync();
    expect(receipt(first.reply!).seq).toBe(1);
    await under.turns();
    expect(second.reply).toBeUndefined();
    under.disk.returnNextSync();
    expect(receipt(second.reply!).seq).toBe(2);
  });

  it("P2: what was acknowledged is there after a power cut; what was not is there whole or not at all", async () => {
    for (const survival of ["nothing", "some", "everything"] as const) {
      const under = openShard(bank);
      receipt(await under.append(credit(alice, 1, 2, 3)));
      under.disk.holdSyncs();
      under.append(credit(alice, 4, 5, 6));
      await under.turns();
      await under.crash(survival);
      under.start();
      const events = brief(await under.events(alice)).map(([, , payload]) => (payload as { amount: number }).amount);
      expect([
        [1, 2, 3],
        [1, 2, 3, 4, 5, 6],
      ]).toContainEqual(events);
    }
  });

  it("P2: mode os acknowledges without a sync, and differs in nothing else", async () => {
    const under = openShard(bank, { durability: "os" });
    receipt(await under.append(credit(alice, 1)));
    const { syncs } = under.disk.counters;
    under.disk.holdSyncs();
    const asked = under.append(credit(alice, 2));
    const read = under.get(alice, "Account");
    expect([asked.reply, read.reply]).toEqual([undefined, undefined]);
    expect(receipt(await asked)).toMatchObject({ seq: 2 });
    expect(value(await read)).toMatchObject({ seq: 2 });
    expect(under.disk.counters.syncs).toBe(syncs);
    await under.crash("everything");
    under.start();
    expect(brief(await under.events(alice))).toHaveLength(2);
  });

  it("P2: with lingerMs a group waits for company no longer than that, and goes at once when it is full", async () => {
    const under = openShard(bank, { limits: { lingerMs: 1, groupBytesMax: 2_000 } });
    const asked = [under.append(credit(alice, 1)), under.append(credit(alice, 2)), under.append(credit(alice, 3))];
    expect(under.disk.counters.syncs).toBe(0);
    for (const reply of await Promise.all(asked)) receipt(reply);
    expect(under.shard.stats().groups).toBe(1);
    const many = under.turn(() => Array.from({ length: 50 }, () => under.append(credit(alice, 1))));
    expect(under.shard.stats().mailboxDepth).toBeGreaterThan(0);
    for (const reply of await Promise.all(many)) receipt(reply);
  });
});
