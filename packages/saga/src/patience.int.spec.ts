// Goal: a saga ends in time, whatever hangs, fails for a while, or says nothing: committed, compensated, or stuck and listed.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { requestKind, sagaEntity, writeProbeBody } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Account, alice, bank, bob, carol, credit, freeze, give, take } from "./bank.spec-support.ts";
import { closeAll, openSagas, type SagasUnderTest } from "./sagas-under-test.spec-support.ts";

afterEach(closeAll);

const oneToTheOther = [[take(alice, 30)], [give(bob, 30)]];

async function openBank(options?: Parameters<typeof openSagas>[1]): Promise<SagasUnderTest> {
  const under = openSagas(bank, options);
  for (const entity of [alice, bob, carol]) await under.append(credit(entity, 100)).answer();
  return under;
}

/** An id of a saga that lies beside alice, and not beside bob. */
function besideAlice(under: SagasUnderTest): string {
  expect(under.shardOf(alice), "the accounts of this test lie on two shards").not.toBe(under.shardOf(bob));
  return Array.from({ length: 50 }, (_, i) => `t${i}`).find(
    (id) => under.shardOf(sagaEntity(id)) === under.shardOf(alice),
  )!;
}

async function balanceOf(under: SagasUnderTest, entity: string): Promise<number> {
  return ((await under.state(entity, "Account")) as { balance: number }).balance;
}

describe("patience: a step that hangs", () => {
  it("has the saga go back when its time is up, as soon as it is known what became of it", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, oneToTheOther, { stepTimeoutMs: 500 });
    await under.pass(1_000);
    expect(asked.reply, "nobody knows yet").toBeUndefined();
    expect(await under.show(id)).toMatchObject({
      state: "COMPENSATING",
      steps: [{ state: "done" }, { state: "waiting" }],
    });
    expect(await balanceOf(under, alice), "nothing is undone blindly").toBe(70);
    under.release();
    const result = await asked.result();
    // Bob's step had been sent, and took effect: all is done, and nothing is left to go back for.
    expect(result.resultType).toBe("COMMITTED");
    expect(await balanceOf(under, bob)).toBe(130);
  });

  it("is compensated when it turns out to have happened, and steps behind it have not", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, [[give(bob, 10)], [take(alice, 10)]], { stepTimeoutMs: 500 });
    await under.pass(1_000);
    under.release();
    expect(await asked.result()).toMatchObject({
      resultType: "COMPENSATED",
      steps: [{ state: "compensated" }, { state: "waiting" }],
    });
    expect([await balanceOf(under, alice), await balanceOf(under, bob)]).toEqual([100, 100]);
  });

  it("leaves the saga stuck with an unknown step when nobody can say what became of it, and a retry learns it", async () => {
    const under = await openBank({ limits: { outcomeGraceMs: 2_000 } });
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, oneToTheOther, { timeoutMs: 3_000, stepTimeoutMs: 500 });
    await under.pass(4_000);
    expect(asked.reply).toBeUndefined();
    await under.pass(2_000);
    expect(await asked.result()).toMatchObject({
      resultType: "STUCK",
      steps: [{ state: "done" }, { state: "unknown", problem: { code: "TIMEOUT" } }],
    });
    expect(await balanceOf(under, alice), "nothing is undone blindly").toBe(70);
    under.release();
    expect((await under.operate(id).result()).resultType).toBe("COMMITTED");
  });

  it("a compensation that hangs leaves the saga stuck, and a retry finds that it was done", async () => {
    const under = await openBank({ limits: { compensationPatienceMs: 5_000 } });
    const id = besideAlice(under);
    await under.append(freeze(carol)).answer();
    under.at("saga:compensation", () => {
      under.held = under.shardOf(bob);
    });
    const asked = under.saga(id, [[take(bob, 5)], [give(carol, 5)]]);
    await under.pass(20_000);
    expect(await asked.result()).toMatchObject({
      resultType: "STUCK",
      steps: [{ state: "stuck", problem: { code: "TIMEOUT" } }, { state: "refused" }],
    });
    under.release();
    await under.pass(100);
    expect(await balanceOf(under, bob), "it took effect after all").toBe(100);
    expect((await under.operate(id).result()).resultType).toBe("COMPENSATED");
    expect((await under.events(bob)).filter(([, step]) => step?.endsWith(":c"))).toHaveLength(1);
  });

  it("a saga as a whole has a time to commit, whatever its steps may take", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, [[give(bob, 10)], [take(alice, 10)]], { timeoutMs: 700, stepTimeoutMs: 60_000 });
    await under.pass(800);
    expect((await under.show(id)).state).toBe("COMPENSATING");
    under.release();
    expect((await asked.result()).resultType).toBe("COMPENSATED");
  });
});

describe("patience: a shard that is not there", () => {
  it("a step is asked again, with pauses, until its shard is back", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.loseThread(under.shardOf(bob));
    const asked = under.saga(id, oneToTheOther);
    await under.pass(3_000);
    expect(asked.reply).toBeUndefined();
    const { stepRetries } = under.runner(under.shardOf(alice)).stats();
    expect(stepRetries).toBeGreaterThan(3);
    expect(stepRetries, "the pauses grow").toBeLessThan(30);
    expect(
      (await under.events(sagaEntity(id))).map(([type]) => type),
      "what is known meanwhile is kept",
    ).toEqual(["Started", "StepsSettled"]);
    await under.startAgain();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect(await balanceOf(under, bob)).toBe(130);
  });

  it("a thread that is lost under a step has it asked about by id, and not written twice", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    let sent = false;
    under.at("saga:forward", () => {
      // Alice's step is answered: bob's is on its way in the next moment.
      sent = true;
    });
    const asked = under.saga(id, oneToTheOther);
    await under.until(() => sent);
    under.held = undefined;
    under.loseThread(under.shardOf(bob));
    await under.pass(5);
    await under.startAgain();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect((await under.events(bob)).filter(([, step]) => step !== null)).toHaveLength(1);
  });

  it("gives up going forward in time, and goes back over what it knows", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.loseThread(under.shardOf(bob));
    const asked = under.saga(id, oneToTheOther, { timeoutMs: 2_000 });
    await under.pass(4_000);
    await under.startAgain();
    expect(await asked.result()).toMatchObject({
      resultType: "COMPENSATED",
      steps: [{ state: "compensated" }, { state: "waiting" }],
    });
    expect(await balanceOf(under, alice)).toBe(100);
  });

  it("whoever waits when the own shard closes is told to ask again, and the saga goes on afterwards", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, oneToTheOther);
    await under.pass(10);
    const restarted = under.restart();
    expect((await asked.error()).code).toBe("SHARD_STOPPED");
    await restarted;
    under.release();
    await under.until(() => under.runner(under.shardOf(alice)).stats().committed === 1);
    expect((await under.saga(id, oneToTheOther).result()).duplicate).toBe(true);
  });

  it("a disk that is full holds a saga up, and loses nothing of it", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    const disk = under.disks[under.shardOf(alice)]!;
    under.at("saga:forward", () => disk.setFreeBytes(0), 2);
    const asked = under.saga(id, oneToTheOther);
    await under.pass(1_000);
    expect(asked.reply).toBeUndefined();
    disk.setFreeBytes(1 << 30);
    await under.pass(1_000);
    under.tick();
    expect((await asked.result()).resultType).toBe("COMMITTED");
    expect([await balanceOf(under, alice), await balanceOf(under, bob)]).toEqual([70, 130]);
  });

  it("a beginning that cannot be written is refused, and leaves nothing", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    const disk = under.disks[under.shardOf(alice)]!;
    disk.setFreeBytes(0);
    expect((await under.saga(id, oneToTheOther).error()).code).toBe("DISK_FULL");
    disk.setFreeBytes(1 << 30);
    await under.pass(2_000);
    under.tick();
    await under.pass(100);
    expect(await under.list()).toEqual([]);
    expect((await under.saga(id, oneToTheOther).result()).duplicate).toBe(false);
  });

  it("a sync that fails under the record of the end has the saga read again, and ended once", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.at("saga:before-end", () => under.disks[under.shardOf(alice)]!.failNextSync());
    const result = await under.saga(id, oneToTheOther).result();
    expect(result.resultType).toBe("COMMITTED");
    expect((await under.events(sagaEntity(id))).map(([type]) => type)).toEqual(["Started", "Committed"]);
    expect([await balanceOf(under, alice), await balanceOf(under, bob)]).toEqual([70, 130]);
  });
});

describe("patience: clocks", () => {
  it.each([
    ["ahead", 10 * 86_400_000],
    ["back", -10 * 86_400_000],
  ])("a wall clock that jumps %s neither ends a saga early nor keeps it alive", async (_, skewMs) => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, [[give(bob, 10)], [take(alice, 10)]], { timeoutMs: 5_000, stepTimeoutMs: 60_000 });
    await under.pass(1_000);
    under.wallSkewMs = skewMs;
    await under.pass(3_000);
    expect((await under.show(id)).state).toBe("RUNNING");
    await under.pass(1_500);
    expect((await under.show(id)).state).toBe("COMPENSATING");
    under.release();
    expect((await asked.result()).resultType).toBe("COMPENSATED");
  });

  it("after a restart no more time is left than there was in all, whatever the wall clock says", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    under.saga(id, [[give(bob, 10)], [take(alice, 10)]], { timeoutMs: 5_000, stepTimeoutMs: 60_000 });
    await under.pass(100);
    under.loseThread(under.shardOf(alice));
    under.wallSkewMs = -10 * 86_400_000;
    await under.startAgain();
    await under.pass(4_000);
    expect((await under.show(id)).state).toBe("RUNNING");
    await under.pass(2_000);
    expect((await under.show(id)).state).toBe("COMPENSATING");
  });

  it("the time that a node was down counts", async () => {
    const under = await openBank();
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    under.saga(id, [[give(bob, 10)], [take(alice, 10)]], { timeoutMs: 5_000 });
    await under.pass(100);
    under.powerCut("everything");
    under.held = undefined;
    under.wallSkewMs = 60_000;
    await under.startAgain();
    await under.until(() => under.runner(under.shardOf(alice)).stats().compensated === 1);
    expect(await balanceOf(under, bob)).toBe(100);
  });
});

describe("patience: entities that are erased, and code that changes", () => {
  it("a probe about an append of an erased life says so, and one about an append that never was says nothing", async () => {
    const under = await openBank();
    await under.saga("t1", oneToTheOther).result();
    await under.erase(alice);
    const probe = (id: string) =>
      under.inner(0, requestKind.probe, alice, (reserve) => writeProbeBody({ entity: alice, id }, reserve));
    expect(await probe("saga:t1:0:f")).toMatchObject({ kind: "error", error: { code: "ERASED" } });
    expect(await probe("saga:t1:0:c")).toMatchObject({ kind: "value", value: null });
  });

  it("one that is under way when the kind of a step to come is declared no more goes back, once", async () => {
    const of = (...kinds: string[]) => defineContext("bank", { aggregates: [Account], kinds });
    const under = openSagas(of("account", "card"));
    const cards = Array.from({ length: 50 }, (_, i) => `card/${i}`);
    const card = cards.find((entity) => under.shardOf(entity) === under.shardOf(bob))!;
    for (const entity of [alice, bob]) await under.append(credit(entity, 100)).answer();
    const ids = Array.from({ length: 100 }, (_, i) => `t${i}`);
    const [one, two, later] = ids.filter((id) => under.shardOf(sagaEntity(id)) === under.shardOf(alice));
    under.held = under.shardOf(bob);
    const asked = [
      under.saga(one!, [[take(alice, 30)], [give(card, 30)]]),
      under.saga(two!, [[take(alice, 5)], [give(bob, 5)]]),
    ];
    await under.pass(10);
    const restarted = under.restart(of("account"));
    for (const call of asked) await call.error();
    await restarted;
    under.held = undefined;
    const ended = () => under.runner(under.shardOf(alice)).stats();
    await under.until(() => ended().committed + ended().compensated === 2);
    expect(await under.show(one!)).toMatchObject({
      state: "COMPENSATED",
      steps: [{ state: "compensated" }, { state: "refused", problem: { code: "UNKNOWN_KIND" } }],
    });
    expect((await under.show(two!)).state).toBe("COMMITTED");
    // P4: whoever asks again is told the same, however long ago the kind was declared.
    const again = under.saga(one!, [[take(alice, 30)], [give(card, 30)]]);
    expect(await again.result()).toMatchObject({ resultType: "COMPENSATED", duplicate: true });
    expect((await under.saga(one!, [[take(alice, 31)], [give(card, 31)]]).error()).code).toBe("ID_REUSED");
    expect(await Promise.all([alice, bob, card].map((entity) => balanceOf(under, entity)))).toEqual([95, 105, 0]);
    // Of a new one the door asks the declaration alone.
    expect((await under.saga(later!, [[give(card, 1)]]).error()).code).toBe("UNKNOWN_KIND");
  });

  it("a saga that is under way when the domain module changes is brought to the newest shape", async () => {
    const Old = defineAggregate("Wallet", {
      version: 1,
      initial: () => 0,
      events: {
        Paid: event(z.object({ cents: z.number() }), (s, e) => s + e.cents),
        Returned: event(z.object({ cents: z.number() }), (s, e) => s - e.cents),
      },
    });
    const upcast = { version: 2, upcast: { 1: ({ cents }: { cents: number }) => ({ euros: cents / 100 }) } } as const;
    const New = defineAggregate("Wallet", {
      version: 2,
      initial: () => 0,
      events: {
        Paid: event(z.object({ euros: z.number() }), (s, e) => s + e.euros, upcast),
        Returned: event(z.object({ euros: z.number() }), (s, e) => s - e.euros, upcast),
      },
    });
    const under = openSagas(defineContext("bank", { aggregates: [Old] }));
    const pay = (entity: string, cents: number) => ({
      entity,
      forward: { type: "Paid", payload: { cents } },
      back: { type: "Returned", payload: { cents } },
    });
    const id = besideAlice(under);
    under.held = under.shardOf(bob);
    const asked = under.saga(id, [[pay(alice, 500)], [pay(bob, 700)]]);
    await under.pass(10);
    const restarted = under.restart(defineContext("bank", { aggregates: [New] }));
    await asked.error();
    await restarted;
    under.held = undefined;
    await under.until(() => under.runner(under.shardOf(alice)).stats().committed === 1);
    expect([await under.state(alice, "Wallet"), await under.state(bob, "Wallet")]).toEqual([5, 7]);
    const older = pay("wallet/older", 900);
    const result = await under.saga("older", [[{ ...older, schemaVsn: 1 }]]).result();
    expect([result.resultType, await under.state("wallet/older", "Wallet")]).toEqual(["COMMITTED", 9]);
  });
});
