// Goal: on its own shard a saga goes ahead of the disk, and nobody can tell: nothing that rests on what is not durable reaches
// another log or a caller, and what is lost with a commit group is done again.
// Method: syncs of the saga's own shard are held back or fail; what other shards and callers have seen meanwhile is looked at.
// Power cuts at every point are in crash.int.spec.ts.
import { sagaEntity } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, carol, credit, give, take } from "./bank.spec-support.ts";
import {
  closeAll,
  openSagas,
  type SagasUnderTest,
  type SagasUnderTestOptions,
} from "./sagas-under-test.spec-support.ts";

afterEach(closeAll);

async function openBank(options?: SagasUnderTestOptions) {
  const under = openSagas(bank, options);
  for (const entity of [alice, bob, carol]) await under.append(credit(entity, 100)).answer();
  expect(under.shardCount === 1 || under.shardOf(alice) !== under.shardOf(bob)).toBe(true);
  const id = Array.from({ length: 50 }, (_, i) => `t${i}`).find(
    (some) => under.shardOf(sagaEntity(some)) === under.shardOf(alice),
  )!;
  return { under, id, disk: under.disks[under.shardOf(alice)]! };
}

/** All that can happen while syncs are held. */
async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function typesOf(under: SagasUnderTest, entity: string): Promise<string[]> {
  return (await under.events(entity)).map(([type]) => type as string);
}

describe("a saga on its own shard", () => {
  it("takes one commit group, from its beginning to its end", async () => {
    const { under, id, disk } = await openBank({ shardCount: 1 });
    const { syncs } = disk.counters;
    disk.holdSyncs();
    // Is on its way to the disk: what comes now shares the next group.
    under.append(credit(carol, 1));
    const asked = under.saga(id, [[take(alice, 30)], [give(bob, 20)], [give(carol, 10)]]);
    await turns();
    disk.releaseSyncs();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect(disk.counters.syncs - syncs).toBe(2);
    expect(await typesOf(under, sagaEntity(id))).toEqual(["Started", "Committed"]);
  });

  it("does so over shards, too, when its id has the tag of its entities", async () => {
    const { under } = await openBank();
    const [from, to] = ["account/{u7}/a", "account/{u7}/b"];
    await under.append(credit(from, 100)).answer();
    const disk = under.disks[under.shardOf(from)]!;
    const { syncs } = disk.counters;
    disk.holdSyncs();
    under.append(credit(to, 1));
    const asked = under.saga("{u7}-1", [[take(from, 30)], [give(to, 30)]]);
    await turns();
    disk.releaseSyncs();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect(disk.counters.syncs - syncs).toBe(2);
  });

  it("P2: is answered when its end is durable, and not before", async () => {
    const { under, id, disk } = await openBank({ shardCount: 1 });
    disk.holdSyncs();
    const asked = under.saga(id, [[take(alice, 30)], [give(bob, 30)]]);
    const shown = under.show(id);
    const seen: string[] = [];
    void shown.then(() => seen.push("its record"));
    await turns();
    expect([asked.reply, seen]).toEqual([undefined, []]);
    disk.releaseSyncs();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    await shown;
  });

  it("asks nobody elsewhere before what goes before is durable", async () => {
    const { under, id, disk } = await openBank();
    disk.holdSyncs();
    const asked = under.saga(id, [[take(alice, 30)], [give(bob, 30)]]);
    await turns();
    expect(await typesOf(under, bob)).toEqual(["Credited"]);
    disk.releaseSyncs();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect(await typesOf(under, bob)).toEqual(["Credited", "Credited"]);
  });

  it("P5: sends no step any more that waited for the disk when its time was up", async () => {
    const { under, id, disk } = await openBank();
    // Once the beginning is durable, the step of its own shard waits for another group.
    disk.holdSyncs();
    const asked = under.saga(id, [[take(alice, 30)], [give(bob, 30)]], { stepTimeoutMs: 1 });
    await turns();
    under.fireTimers(10);
    await turns();
    disk.releaseSyncs();
    expect((await asked.result()).resultType).toBe("COMPENSATED");
    expect(await typesOf(under, bob)).toEqual(["Credited"]);
    expect(await typesOf(under, alice)).toEqual(["Credited", "Debited", "Credited"]);
  });

  it("P2: shows of a saga only what is durable, though it knows more", async () => {
    // A group takes no more than one of the saga's entries.
    const { under, id, disk } = await openBank({ shardLimits: { groupBytesMax: 1 } });
    disk.holdSyncs();
    const asked = under.saga(id, [[take(alice, 30)], [give(bob, 30)]]);
    await turns();
    disk.returnNextSync();
    await turns();
    expect(disk.syncsWaiting, "the beginning is durable, the first step is on its way").toBe(1);
    let states: unknown;
    const shown = under.show(id).then(({ steps }) => {
      states = steps.map(({ state }) => state);
    });
    await turns();
    expect(states).toBeUndefined();
    disk.releaseSyncs();
    await shown;
    expect(states).toEqual(["done", "waiting"]);
    expect((await asked.result()).resultType).toBe("COMMITTED");
  });

  it("P5: does a step again that was lost with a group, though a step beside it was answered elsewhere", async () => {
    const { under, id, disk } = await openBank();
    const home = under.shardOf(alice);
    const dora = Array.from({ length: 50 }, (_, i) => `account/dora-${i}`).find(
      (some) => under.shardOf(some) !== home,
    )!;
    under.at("saga:forward", () => {
      under.held = under.shardOf(dora);
      disk.failNextWrite();
    });
    const asked = under.saga(id, [[give(bob, 10)], [give(dora, 20), take(alice, 30)]]);
    await under.until(() => under.reports.some(({ message }) => message === "the shard has recovered in place"));
    expect(asked.reply).toBeUndefined();
    under.release();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect([await typesOf(under, bob), await typesOf(under, dora)]).toEqual([["Credited", "Credited"], ["Credited"]]);
    expect(await typesOf(under, alice)).toEqual(["Credited", "Debited"]);
  });

  it("P4: has happened once when the group that it stands in fails, whatever the disk kept of it", async () => {
    const { under, id, disk } = await openBank({ shardCount: 1 });
    disk.failNextSync();
    const steps = [[take(alice, 30)], [give(bob, 30)]];
    const reply = await under.saga(id, steps).answer();
    if (reply.kind === "error") expect(reply.error.retryable).toBe(true);
    await under.pass(1_000);
    expect((await under.saga(id, steps).result()).resultType).toBe("COMMITTED");
    expect(await typesOf(under, alice)).toEqual(["Credited", "Debited"]);
    expect(await typesOf(under, bob)).toEqual(["Credited", "Credited"]);
    expect(await typesOf(under, sagaEntity(id))).toEqual(["Started", "Committed"]);
  });
});
