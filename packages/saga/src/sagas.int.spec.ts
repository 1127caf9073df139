// Goal: a saga takes effect once, ends as it should, and its record tells. Crashes are in crash.int.spec.ts, times and errors in
// patience.int.spec.ts.
import { defineAggregate, defineContext, defineSaga, event, step } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import { encodeSagaSteps, encodeValue, requestKind, type SagaStepFields, sagaEntity } from "@heddle/protocol/internal";
import { alarmNever } from "@heddle/shard/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Account, alice, bank, bob, carol, credit, freeze, give, Notes, take, thaw } from "./bank.spec-support.ts";
import {
  closeAll,
  openSagas,
  type SagasUnderTest,
  type SagasUnderTestOptions,
} from "./sagas-under-test.spec-support.ts";

afterEach(closeAll);

async function openBank(options?: SagasUnderTestOptions): Promise<SagasUnderTest> {
  const under = openSagas(bank, options);
  for (const entity of [alice, bob, carol]) await under.append(credit(entity, 100)).answer();
  return under;
}

async function balances(under: SagasUnderTest): Promise<number[]> {
  const found: number[] = [];
  for (const entity of [alice, bob, carol]) {
    found.push(((await under.state(entity, "Account")) as { balance: number }).balance);
  }
  return found;
}

/** Ids of sagas that lie on other shards than an entity, in no particular order. */
function elsewhere(under: SagasUnderTest, entity: string): string[] {
  const ids = Array.from({ length: 20 }, (_, i) => `${(i * 7) % 20}`);
  return ids.filter((id) => under.shardOf(sagaEntity(id)) !== under.shardOf(entity));
}

/** Between whatever it is given. */
const anyTransfer = defineSaga("any-transfer", {
  input: z.object({ from: z.string(), to: z.string() }),
  steps: ({ from, to }) => [
    step(
      from,
      { type: "Debited", payload: { amount: 1 } },
      { type: "Credited", payload: { amount: 1 } },
      { aggregate: Account },
    ),
    step(to, { type: "Credited", payload: { amount: 1 } }, null, { aggregate: Account }),
  ],
});

const oneToTheOther = [[take(alice, 30)], [give(bob, 30)]];

describe("saga: ends", () => {
  it("COMMITTED: every step has happened once, under the id of its place", async () => {
    const under = await openBank();
    const result = await under.saga("t1", oneToTheOther).result();
    expect(result).toMatchObject({
      resultType: "COMMITTED",
      duplicate: false,
      steps: [
        { entity: alice, state: "done", receipt: { ok: true, seq: 2, count: 1 } },
        { entity: bob, state: "done", receipt: { ok: true, seq: 2, count: 1 } },
      ],
    });
    expect(await balances(under)).toEqual([70, 130, 100]);
    expect(await under.events(alice)).toEqual([
      ["Credited", null],
      ["Debited", "saga:t1:0:f"],
    ]);
  });

  it("COMPENSATED: what had happened is undone when a later step is refused, and the refusal is told", async () => {
    const under = await openBank();
    await under.append(freeze(bob)).answer();
    const result = await under.saga("t1", oneToTheOther).result();
    expect(result).toMatchObject({
      resultType: "COMPENSATED",
      steps: [
        { entity: alice, state: "compensated", receipt: { seq: 2 }, compensation: { seq: 3 } },
        { entity: bob, state: "refused", problem: { code: "COMMAND_REJECTED", facts: { reason: "FROZEN" } } },
      ],
    });
    expect(await balances(under)).toEqual([100, 100, 100]);
    expect((await under.events(alice)).map(([, id]) => id)).toEqual([null, "saga:t1:0:f", "saga:t1:0:c"]);
  });

  it("COMPENSATED without a compensation, where the first step is refused", async () => {
    const under = await openBank();
    const result = await under.saga("t1", [[take(alice, 1_000)], [give(bob, 1_000)]]).result();
    expect(result.resultType).toBe("COMPENSATED");
    expect(result.steps.map(({ state }) => state)).toEqual(["refused", "waiting"]);
    expect((await under.events(sagaEntity("t1"))).map(([type]) => type)).toEqual(["Started", "Compensated"]);
  });

  it("STUCK: a compensation that is refused again and again is listed, logged, and waits for an operator", async () => {
    const under = await openBank();
    // Bob gets money, and spends it before carol's step is refused.
    const stages = [[give(bob, 30)], [take(carol, 1_000)]];
    under.at("saga:compensation", () => void under.append(freeze(bob)));
    const result = await under.saga("t1", stages).result();
    expect(result).toMatchObject({
      resultType: "STUCK",
      steps: [
        { state: "stuck", problem: { code: "COMMAND_REJECTED" } },
        { state: "refused", problem: { code: "INVARIANT_VIOLATED" } },
      ],
    });
    expect(await under.list({ only: "stuck" })).toEqual([
      expect.objectContaining({ saga: "t1", state: "STUCK", startedAt: expect.any(Number) }),
    ]);
    expect(under.reports.filter(({ level }) => level === "warn")).toEqual([
      expect.objectContaining({ facts: expect.objectContaining({ saga: "t1", step: 1, entity: bob }) }),
    ]);
    const stats = under.runner(under.shardOf(sagaEntity("t1"))).stats();
    expect(stats).toMatchObject({ stuck: 1, becameStuck: 1, running: 0, compensating: 0 });
  });

  it("steps of one stage run side by side, and are all undone when one of them is refused", async () => {
    const under = await openBank();
    await under.append(freeze(carol)).answer();
    const result = await under.saga("t1", [[take(alice, 10)], [give(bob, 5), give(carol, 5)]]).result();
    expect(result.resultType).toBe("COMPENSATED");
    expect(result.steps.map(({ state }) => state)).toEqual(["compensated", "compensated", "refused"]);
    expect(await balances(under)).toEqual([100, 100, 100]);
    expect(
      (await under.saga("t2", [[take(alice, 10), take(bob, 10), give(alice.replace("alice", "dave"), 20)]]).result())
        .resultType,
    ).toBe("COMMITTED");
  });

  it("a last step without a compensation is the point of no return", async () => {
    const under = await openBank();
    const result = await under.saga("t1", [[take(alice, 10)], [{ ...give(bob, 10), back: null }]]).result();
    expect(result.resultType).toBe("COMMITTED");
    const refused = await under.saga("t2", [[take(alice, 10)], [{ ...take(bob, 1_000), back: null }]]).result();
    expect(refused.resultType).toBe("COMPENSATED");
    expect(await balances(under)).toEqual([90, 110, 100]);
  });
});

describe("saga: once", () => {
  it("the same id again gives the same result, and nothing happens twice", async () => {
    const under = await openBank();
    const first = await under.saga("t1", oneToTheOther).result();
    const again = await under.saga("t1", oneToTheOther).result();
    expect(again).toEqual({ ...first, duplicate: true });
    expect(await balances(under)).toEqual([70, 130, 100]);
  });

  it("the same id at the same time is one saga with one result for everybody", async () => {
    const under = await openBank();
    const asked = Array.from({ length: 5 }, () => under.saga("t1", oneToTheOther));
    const results = await Promise.all(asked.map((one) => one.result()));
    expect(results.map(({ duplicate }) => duplicate)).toEqual([false, true, true, true, true]);
    expect(new Set(results.map(({ steps }) => JSON.stringify(steps))).size).toBe(1);
    expect(await balances(under)).toEqual([70, 130, 100]);
  });

  it("the same id with other steps is refused, under way, ended and after a restart", async () => {
    const under = await openBank();
    const running = under.saga("t1", oneToTheOther);
    const other = [[take(alice, 31)], [give(bob, 31)]];
    expect((await under.saga("t1", other).error()).code).toBe("ID_REUSED");
    await running.result();
    expect((await under.saga("t1", other).error()).code).toBe("ID_REUSED");
    await under.restart();
    expect((await under.saga("t1", other).error()).code).toBe("ID_REUSED");
    expect((await under.saga("t1", oneToTheOther).result()).duplicate).toBe(true);
  });

  it("whoever comes with other steps first takes nothing from those who come with the right ones", async () => {
    const under = await openBank();
    await under.saga("t1", oneToTheOther).result();
    const wrong = under.saga("t1", [[take(alice, 31)], [give(bob, 31)]]);
    const right = under.saga("t1", oneToTheOther);
    expect((await wrong.error()).code).toBe("ID_REUSED");
    expect(await right.result()).toMatchObject({ resultType: "COMMITTED", duplicate: true });
  });

  it("whoever comes with other steps while a saga is read again does not hinder it", async () => {
    const under = await openBank();
    under.at("saga:started", () => under.powerCut("everything"));
    under.saga("t1", oneToTheOther);
    await under.until(() => under.isDown);
    await under.startAgain();
    const wrong = under.saga("t1", [[take(alice, 31)], [give(bob, 31)]]);
    expect((await wrong.error()).code).toBe("ID_REUSED");
    await under.until(() => under.runner(under.shardOf(sagaEntity("t1"))).stats().committed === 1);
    expect(await balances(under)).toEqual([70, 130, 100]);
  });

  it("other time-outs are not other steps", async () => {
    const under = await openBank();
    await under.saga("t1", oneToTheOther, { timeoutMs: 1_000 }).result();
    expect((await under.saga("t1", oneToTheOther, { timeoutMs: 2_000, stepTimeoutMs: 5 }).result()).duplicate).toBe(
      true,
    );
  });

  it("a saga that has been passivated is answered years later, from its snapshot", async () => {
    const under = await openBank({ shardLimits: { activeEntitiesMax: 3 } });
    const first = await under.saga("t1", oneToTheOther).result();
    for (let i = 0; i < 40; i++) await under.append(credit(`account/${i}`, 1)).answer();
    await under.checkpoint();
    await under.restart();
    under.wallSkewMs += 5 * 365 * 86_400_000;
    expect(await under.saga("t1", oneToTheOther).result()).toEqual({ ...first, duplicate: true });
    const record = await under.show("t1");
    expect(record.steps.map(({ forward }) => forward)).toEqual([
      { aggregate: "Account", events: [{ type: "Debited", payload: { amount: 30 } }] },
      { aggregate: "Account", command: "Deposit", input: { amount: 30 } },
    ]);
  });

  it("a saga is answered as it was also by a domain that could not begin it any more", async () => {
    const under = await openBank();
    const input = { from: "alice", to: "bob", amount: 20 };
    const named = { named: { name: "transfer", input } };
    const first = await under.begin("n1", named).result();
    const second = await under.saga("t1", oneToTheOther).result();
    await under.append(freeze(bob)).answer();
    const third = await under.saga("t2", oneToTheOther).result();
    expect([first, second, third].map(({ resultType }) => resultType)).toEqual([
      "COMMITTED",
      "COMMITTED",
      "COMPENSATED",
    ]);
    const cents = z.object({ cents: z.number() });
    const Other = defineAggregate("Account", {
      version: 2,
      initial: () => 0,
      events: {
        Debited: event(cents, (s) => s),
        Credited: event(cents, (s) => s),
        Frozen: event(z.object({}), (s) => s),
      },
    });
    await under.restart(defineContext("bank", { aggregates: [Other, Notes] }));
    expect(await under.begin("n1", named).result()).toEqual({ ...first, duplicate: true });
    expect(await under.saga("t1", oneToTheOther).result()).toEqual({ ...second, duplicate: true });
    expect(await under.saga("t2", oneToTheOther).result()).toEqual({ ...third, duplicate: true });
    const other = under.begin("n1", { named: { name: "transfer", input: { ...input, amount: 21 } } });
    expect((await other.error()).code).toBe("ID_REUSED");
    expect((await under.begin("n2", named).error()).code).toBe("UNKNOWN_SAGA");
    expect((await under.saga("t3", oneToTheOther).error()).code).toBe("INVALID_PAYLOAD");
    expect(await under.list()).toHaveLength(3);
  });

  it("the state of a saga that has ended holds no bodies", async () => {
    const under = await openBank();
    await under.saga("t1", oneToTheOther).result();
    const state = (await under.inner(0, requestKind.get, sagaEntity("t1"), (reserve) => {
      const { bytes, at } = reserve(64);
      const id = new TextEncoder().encode(sagaEntity("t1"));
      bytes[at] = id.length;
      bytes[at + 1] = 0;
      bytes.set(id, at + 2);
      bytes[at + 2 + id.length] = 5;
      bytes.set(new TextEncoder().encode("$saga"), at + 3 + id.length);
      return 8 + id.length;
    })) as { value: { state: { steps: Uint8Array; state: string } } };
    expect([state.value.state.state, state.value.state.steps.length]).toEqual(["COMMITTED", 0]);
  });
});

describe("saga: by name", () => {
  const input = { from: "alice", to: "bob", amount: 20 };

  it("runs the steps that the domain module makes of the input", async () => {
    const under = await openBank();
    const result = await under.begin("n1", { named: { name: "transfer", input } }).result();
    expect(result).toMatchObject({ resultType: "COMMITTED", steps: [{ entity: alice }, { entity: bob }] });
    expect((await under.begin("n1", { named: { name: "transfer", input } }).result()).duplicate).toBe(true);
    expect(await under.show("n1")).toMatchObject({ name: "transfer", state: "COMMITTED" });
    const other = under.begin("n1", { named: { name: "transfer", input: { ...input, amount: 21 } } });
    expect((await other.error()).code).toBe("ID_REUSED");
  });

  it.each([
    ["an unknown name", { name: "transmit", input }, "UNKNOWN_SAGA"],
    ["an input that its schema refuses", { name: "transfer", input: { ...input, amount: -1 } }, "INVALID_PAYLOAD"],
    [
      "an input of which no saga can be made",
      { name: "transfer", input: { ...input, to: "alice" } },
      "INVALID_REQUEST",
    ],
  ])("refuses %s, and nothing is written", async (_, named, code) => {
    const under = await openBank();
    expect((await under.begin("n1", { named }).error()).code).toBe(code);
    expect(await under.list()).toEqual([]);
  });
});

describe("saga: bad input", () => {
  const ofStep = (fields: Partial<SagaStepFields>) => [[{ ...take(alice, 1), ...fields }]];

  it.each<[string, readonly (readonly SagaStepFields[])[], string]>([
    ["an unknown aggregate", ofStep({ aggregate: "Acount" }), "UNKNOWN_AGGREGATE"],
    ["an aggregate of Heddle's own", ofStep({ aggregate: "$saga" }), "UNKNOWN_AGGREGATE"],
    ["an unknown event", ofStep({ forward: { type: "Debit", payload: {} } }), "UNKNOWN_EVENT_TYPE"],
    ["an unknown command", ofStep({ forward: { command: "Pay", input: {} } }), "UNKNOWN_COMMAND"],
    ["an unknown event as the compensation", ofStep({ back: { type: "Undo", payload: {} } }), "UNKNOWN_EVENT_TYPE"],
    ["a compensation that its schema refuses", ofStep({ back: { type: "Credited", payload: {} } }), "INVALID_PAYLOAD"],
    ["a command back that its schema refuses", ofStep({ back: { command: "Deposit", input: {} } }), "INVALID_PAYLOAD"],
    ["a schema version to come", ofStep({ schemaVsn: 2 }), "INVALID_REQUEST"],
  ])("%s refuses the saga before it begins", async (_, stages, code) => {
    const under = await openBank();
    expect((await under.saga("t1", stages).error()).code).toBe(code);
    expect(await under.list()).toEqual([]);
    expect(await balances(under)).toEqual([100, 100, 100]);
  });

  it("a step on an entity of an unknown kind refuses the saga before it begins, whatever its place and whoever named it", async () => {
    const under = openSagas(defineContext("bank", { aggregates: [Account], sagas: [anyTransfer], kinds: ["account"] }));
    await under.append(credit(alice, 100)).answer();
    const slip = "acount/bob";
    const unknown = { code: "UNKNOWN_KIND", facts: { entity: slip, kind: "acount", known: ["account"] } };
    const ends = [take(alice, 30), give(slip, 30)];
    for (const [id, stages] of [
      ["last", [[ends[0]!], [ends[1]!]]],
      ["first", [[ends[1]!], [ends[0]!]]],
      ["beside", [ends]],
    ] as const) {
      expect(await under.saga(id, stages).error(), id).toMatchObject(unknown);
    }
    const named = { name: "any-transfer", input: { from: alice, to: slip } };
    expect(await under.begin("named", { named }).error()).toMatchObject(unknown);
    expect(await under.list()).toEqual([]);
    expect(await under.events(alice)).toHaveLength(1);
    expect((await under.saga("right", oneToTheOther).result()).resultType).toBe("COMMITTED");
  });

  it("a payload that its schema refuses is a step that is refused", async () => {
    const under = await openBank();
    const result = await under
      .saga("t1", [[take(alice, 5)], ofStep({ entity: bob, forward: { type: "Credited", payload: {} } })[0]!])
      .result();
    expect(result).toMatchObject({ resultType: "COMPENSATED", steps: [{}, { problem: { code: "INVALID_PAYLOAD" } }] });
  });

  it("steps with ids of another saga, or on two entities, are no steps", async () => {
    const under = await openBank();
    const steps = encodeSagaSteps("other", oneToTheOther);
    expect((await under.begin("t1", { steps }).error()).code).toBe("BAD_FRAME");
    const cut = encodeSagaSteps("t1", oneToTheOther).subarray(0, 40);
    expect((await under.begin("t1", { steps: cut }).error()).code).toBe("BAD_FRAME");
    const twisted = encodeSagaSteps("t1", oneToTheOther);
    twisted.set(new TextEncoder().encode("carol"), twisted.lastIndexOf(98 /* b of the compensation's bob */));
    expect((await under.begin("t1", { steps: twisted }).error()).code).toMatch(/BAD_FRAME|ID/);
  });

  it("only Heddle writes to the entity of a saga, and reads of it are no secret", async () => {
    const under = await openBank();
    const write = { entity: sagaEntity("t1"), aggregate: "$saga", events: [{ type: "Stuck", payload: {} }] };
    expect((await under.append(write).error()).code).toBe("INVALID_REQUEST");
  });

  it("is refused as OVERLOADED beyond the bound, and goes through afterwards", async () => {
    const under = await openBank({ shardCount: 1, limits: { activeSagasMax: 1 } });
    const first = under.saga("t1", oneToTheOther);
    expect((await under.saga("t2", oneToTheOther).error()).code).toBe("OVERLOADED");
    await first.result();
    expect((await under.saga("t2", oneToTheOther).result()).resultType).toBe("COMMITTED");
  });

  it("counts the bytes of sagas under way, and forgets those of sagas that have ended", async () => {
    const bytes = encodeSagaSteps("t00", oneToTheOther).length;
    // On one shard a whole saga shares a group, unless that takes no more than its beginning.
    const shardLimits = { groupBytesMax: 1 };
    const under = await openBank({ shardCount: 1, limits: { activeBytesMax: 2 * bytes }, shardLimits });
    for (let i = 10; i < 40; i += 2) {
      const both = [under.saga(`t${i}`, oneToTheOther), under.saga(`t${i + 1}`, oneToTheOther)];
      expect((await under.saga("more", oneToTheOther).error()).code).toBe("OVERLOADED");
      for (const one of both) await one.result();
    }
    under.at("saga:started", () => under.powerCut("nothing"));
    under.saga("t40", [[give(carol, 1)]]);
    await under.until(() => under.isDown);
    await under.startAgain();
    await under.until(() => under.runner(0).stats().committed === 1);
    const both = [under.saga("t41", [[give(bob, 1)], [give(carol, 1)]]), under.saga("t42", [[give(bob, 1)]])];
    for (const one of both) expect((await one.result()).resultType).toBe("COMMITTED");
  });
});

describe("saga: the operator", () => {
  async function stuckBank() {
    const under = await openBank();
    under.at("saga:compensation", () => void under.append(freeze(bob)));
    await under.saga("t1", [[give(bob, 30)], [take(carol, 1_000)]]).result();
    return under;
  }

  it("a retry goes on where the saga was", async () => {
    const under = await stuckBank();
    await under.append(thaw(bob)).answer();
    const result = await under.operate("t1").result();
    expect(result).toMatchObject({
      resultType: "COMPENSATED",
      steps: [{ state: "compensated" }, { state: "refused" }],
    });
    expect(await balances(under)).toEqual([100, 100, 100]);
    expect(await under.show("t1")).toMatchObject({
      state: "COMPENSATED",
      interventions: [{ action: "retry", reason: "mended", by: "ann", time: expect.any(Number) }],
    });
    expect(await under.list({ only: "stuck" })).toEqual([]);
    expect(under.runner(under.shardOf(sagaEntity("t1"))).stats().stuck).toBe(0);
  });

  it("a retry that does not help leaves it stuck, with the same patience as before", async () => {
    const under = await stuckBank();
    expect((await under.operate("t1").result()).resultType).toBe("STUCK");
    expect(await under.list({ only: "stuck" })).toHaveLength(1);
    await under.append(thaw(bob)).answer();
    expect((await under.operate("t1", { reason: "now" }).result()).resultType).toBe("COMPENSATED");
  });

  it("a resolution is the end, and writes to no entity", async () => {
    const under = await stuckBank();
    const result = await under.operate("t1", { as: "COMPENSATED", reason: "paid back by hand" }).result();
    expect(result).toMatchObject({ resultType: "COMPENSATED", steps: [{ state: "stuck" }, { state: "refused" }] });
    expect(await balances(under)).toEqual([100, 130, 100]);
    expect(await under.list({ only: "unfinished" })).toEqual([]);
    const again = await under.saga("t1", [[give(bob, 30)], [take(carol, 1_000)]]).result();
    expect([again.resultType, again.duplicate]).toEqual(["COMPENSATED", true]);
  });

  it("the same operation again, whose answer was lost, gives the same answer", async () => {
    const under = await stuckBank();
    const first = await under.operate("t1", { as: "COMMITTED" }).result();
    expect(await under.operate("t1", { as: "COMMITTED" }).result()).toEqual({ ...first, duplicate: true });
    expect((await under.operate("t1", { as: "COMPENSATED" }).error()).code).toBe("SAGA_NOT_STUCK");
  });

  it("only a stuck saga is operated on, and only one that is there", async () => {
    const under = await openBank();
    expect((await under.operate("t0").error()).code).toBe("NO_SUCH_SAGA");
    const running = under.saga("t1", oneToTheOther);
    expect((await under.operate("t1").error()).code).toBe("SAGA_NOT_STUCK");
    await running.result();
    expect((await under.operate("t1").error()).code).toBe("SAGA_NOT_STUCK");
    await expect(under.show("t0")).rejects.toThrow("no saga was begun");
  });

  it("what the shard names as stuck when it opens is counted so at once, before anything is read", async () => {
    const under = await openBank();
    under.runner(0).alarmSource.onOpen!(sagaEntity("t1"), alarmNever);
    expect(under.runner(0).stats()).toMatchObject({ stuck: 1, running: 0, compensating: 0 });
  });

  it("stuck sagas are still stuck after a restart, and can be mended then", async () => {
    const under = await stuckBank();
    await under.checkpoint();
    await under.restart();
    const warnings = () =>
      under.reports.filter(({ message }) => message === "a saga is stuck and waits for an operator");
    await under.until(() => warnings().length === 2);
    expect(warnings()[1]).toEqual(warnings()[0]);
    expect(warnings()[1]!.facts).toMatchObject({
      saga: "t1",
      step: 1,
      entity: bob,
      state: "stuck",
      code: "COMMAND_REJECTED",
    });
    await under.pass(60_000);
    const stats = under.runner(under.shardOf(sagaEntity("t1"))).stats();
    expect(stats).toMatchObject({ stuck: 1, running: 0, oldestRunningMs: 0 });
    expect(stats.oldestStuckMs).toBeGreaterThanOrEqual(60_000);
    expect(await under.list({ only: "stuck" })).toHaveLength(1);
    await under.append(thaw(bob)).answer();
    expect((await under.operate("t1").result()).resultType).toBe("COMPENSATED");
  });
});

describe("saga: lists and records", () => {
  it("lists page by page over all shards, by id, and unfinished ones by age with the stuck behind them", async () => {
    const under = await openBank();
    for (let i = 0; i < 7; i++) {
      await under.saga(`t${i}`, [[take(alice, 1)], [give(bob, 1)]]).result();
      await under.pass(10);
    }
    const first = await under.list({ limit: 4 });
    const second = await under.list({ limit: 4, cursor: first.cursor });
    expect([...first, ...second].map(({ saga }) => saga)).toEqual(["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    expect(second.cursor).toBeUndefined();
    under.held = under.shardOf(bob);
    const [older, younger] = elsewhere(under, bob);
    const late = [under.saga(older!, oneToTheOther)];
    await under.pass(100);
    late.push(under.saga(younger!, oneToTheOther));
    await under.pass(100);
    const unfinished = await under.list({ only: "unfinished" });
    expect(unfinished.map(({ saga }) => saga)).toEqual([older, younger]);
    under.release();
    for (const one of late) await one.result();
    expect(await under.list({ only: "unfinished" })).toEqual([]);
  });

  it("a running saga shows what its steps have answered so far", async () => {
    const under = await openBank();
    under.held = under.shardOf(bob);
    const [id] = elsewhere(under, bob);
    const running = under.saga(id!, oneToTheOther);
    await under.pass(50);
    const record = await under.show(id!);
    expect(record).toMatchObject({ state: "RUNNING", steps: [{ state: "done" }, { state: "waiting" }] });
    under.release();
    await running.result();
  });

  it("a saga that has ended can be erased, and its id begins nothing again", async () => {
    const under = await openBank();
    await under.saga("t1", oneToTheOther).result();
    const erased = await under.erase(sagaEntity("t1"));
    expect(erased.kind, JSON.stringify(erased)).toBe("value");
    expect((await under.saga("t1", oneToTheOther).error()).code).toBe("ERASED");
    expect(await under.list()).toEqual([]);
  });
});

it("probes are for the node's own threads", async () => {
  const under = await openBank();
  const refused = under.ask(requestKind.probe, 0, (reserve) => {
    const { bytes, at } = reserve(8);
    bytes.set(encodeValue("x"), at);
    return 8;
  });
  expect(await refused.error()).toBeInstanceOf(HeddleError);
});
