// Goal: whatever is lost, and whenever, a saga takes effect once or not at all (P4, P5).
//
// Method: a run without faults says which crash points there are and how often each is passed; then the power fails, or a thread
// is lost, at each of them. Afterwards every saga has ended, the same id gives the same result, and the entities' histories are
// held against it by what stands in them, not by what a saga says of itself.
import { type Survival, seededRandom } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, carol, credit, freeze, give, take, thaw } from "./bank.spec-support.ts";
import { type Asked, closeAll, openSagas, type SagasUnderTest } from "./sagas-under-test.spec-support.ts";

afterEach(closeAll);

const accounts = [alice, bob, carol];
const survivals: readonly Survival[] = ["nothing", "some", "everything"];

/** Alice pays bob and carol, who get it side by side; a frozen carol refuses, and then alice and bob are undone. */
const stages = [[take(alice, 30)], [give(bob, 10), give(carol, 20)]];

async function openBank(): Promise<SagasUnderTest> {
  const under = openSagas(bank);
  for (const entity of accounts) await under.append(credit(entity, 100)).answer();
  return under;
}

async function balances(under: SagasUnderTest): Promise<number[]> {
  const found: number[] = [];
  for (const entity of accounts) {
    found.push(((await under.state(entity, "Account")) as { balance: number }).balance);
  }
  return found;
}

/** Every step's id stands once where the result says done, and a compensation's only behind its step's. */
async function checkHistories(under: SagasUnderTest, saga: string): Promise<void> {
  const record = await under.show(saga);
  for (const [i, step] of record.steps.entries()) {
    const ids = (await under.events(step.entity)).map(([, id]) => id).filter((id) => id?.startsWith(`saga:${saga}:`));
    const forward = `saga:${saga}:${i}:f`;
    const back = `saga:${saga}:${i}:c`;
    const wanted = step.state === "done" ? [forward] : step.state === "compensated" ? [forward, back] : [];
    expect(ids, `${step.entity}, which is ${step.state}`).toEqual(wanted);
  }
}

/** Asks again until there is a result: as an SDK does whose connection broke. */
async function settle(under: SagasUnderTest, ask: () => Asked) {
  for (let tries = 0; tries < 10; tries++) {
    const asked = ask();
    await under.until(() => asked.reply !== undefined || under.isDown);
    if (under.isDown) await under.startAgain();
    if (asked.reply?.kind === "value") return asked.result();
  }
  throw new Error("no result after ten tries");
}

/** Crash points of the sagas that a fault-free run passes, and how often. */
async function pointsOf(run: (under: SagasUnderTest) => Promise<unknown>): Promise<[name: string, times: number][]> {
  const under = await openBank();
  await run(under);
  const counts = new Map<string, number>();
  for (const name of under.crashPoints) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts];
}

describe.each([
  ["that commits", false, "COMMITTED", [70, 110, 120]],
  ["that is compensated", true, "COMPENSATED", [100, 100, 100]],
] as const)("crash: a saga %s", (_, isFrozen, end, wanted) => {
  const run = async (under: SagasUnderTest) => {
    if (isFrozen) await under.append(freeze(carol)).answer();
    return under.saga("t1", stages).result();
  };

  it("passes a crash point at every boundary", async () => {
    const points = (await pointsOf(run)).map(([name]) => name);
    const undoing = ["saga:before-compensation", "saga:compensation", "saga:back"];
    expect(points.sort()).toEqual(
      [
        "saga:before-started",
        "saga:started",
        "saga:forward",
        "saga:before-end",
        "saga:ended",
        "saga:before-reply",
        "saga:after-reply",
        ...(isFrozen ? undoing : []),
      ].sort(),
    );
  });

  it.each(survivals)("ends as it should when the power fails at any crash point, and %s survives", async (survival) => {
    for (const [name, times] of await pointsOf(run)) {
      for (let nth = 1; nth <= times; nth++) {
        const under = await openBank();
        if (isFrozen) await under.append(freeze(carol)).answer();
        under.at(name, () => under.powerCut(survival), nth);
        const asked = under.saga("t1", stages);
        await under.until(() => (asked.reply !== undefined && !under.isArmed ? true : under.isDown));
        await under.startAgain();
        // Those that began end without anybody asking for them.
        await under.pass(5_000);
        expect(await under.list({ only: "unfinished" }), `${name} ${nth}`).toEqual([]);
        const result = await settle(under, () => under.saga("t1", stages));
        expect(result.resultType, `${name} ${nth}`).toBe(end);
        expect(await balances(under), `${name} ${nth}`).toEqual(wanted);
        await checkHistories(under, "t1");
        await closeAll();
      }
    }
  });

  it.each([0, 1, 2])("ends as it should when the thread of shard %i is lost at any crash point", async (lost) => {
    for (const [name, times] of await pointsOf(run)) {
      for (let nth = 1; nth <= times; nth++) {
        const under = await openBank();
        if (isFrozen) await under.append(freeze(carol)).answer();
        under.at(name, () => under.loseThread(lost), nth);
        const asked = under.saga("t1", stages);
        await under.until(() => asked.reply !== undefined || under.isDown);
        await under.pass(3);
        await under.startAgain();
        await under.pass(5_000);
        expect(await under.list({ only: "unfinished" }), `${name} ${nth}`).toEqual([]);
        const result = await settle(under, () => under.saga("t1", stages));
        // A compensated saga may find carol's refusal only; a committed one may have been sent back by nobody.
        expect(result.resultType, `${name} ${nth}`).toBe(end);
        expect(await balances(under), `${name} ${nth}`).toEqual(wanted);
        await checkHistories(under, "t1");
        await closeAll();
      }
    }
  });
});

describe("crash: the operator's part", () => {
  it.each([
    ["saga:retried", undefined],
    ["saga:back", undefined],
    ["saga:resolved", "COMPENSATED"],
  ] as const)("a crash at %s leaves a saga that ends, or is stuck and listed", async (name, as) => {
    for (const survival of survivals) {
      const under = await openBank();
      under.at("saga:compensation", () => void under.append(freeze(bob)));
      await under.saga("t1", [[give(bob, 30)], [take(carol, 1_000)]]).result();
      await under.append(thaw(bob)).answer();
      under.at(name, () => under.powerCut(survival));
      under.operate("t1", { as });
      await under.until(() => under.isDown);
      await under.startAgain();
      await under.pass(5_000);
      const stuck = await under.list({ only: "stuck" });
      if (stuck.length > 0) await settle(under, () => under.operate("t1", { as, reason: "again" }));
      expect((await under.show("t1")).state).toBe("COMPENSATED");
      expect(await balances(under)).toEqual(as === undefined ? [100, 100, 100] : [100, 130, 100]);
      await closeAll();
    }
  });
});

describe("crash: many", () => {
  it("2,000 random sagas under power cuts, lost threads and checkpoints: all end, money is kept, nothing happens twice", async () => {
    const random = seededRandom(4);
    const below = (bound: number) => random.safeInteger() % bound;
    const under = openSagas(bank);
    const many = Array.from({ length: 30 }, (_, i) => `account/${i}`);
    for (const entity of many) await under.append(credit(entity, 100)).answer();
    // Every fifth account says no to commands, back and forth.
    for (const entity of many.filter((_, i) => i % 5 === 0)) await under.append(freeze(entity)).answer();
    const steps = new Map<string, Parameters<SagasUnderTest["saga"]>[1]>();
    const open = new Set<string>();
    let next = 0;
    let faults = 0;
    while (next < 2_000 || open.size > 0) {
      if (under.isDown) await under.startAgain();
      const asked = new Map<string, Asked>();
      while (open.size < 60 && next < 2_000) {
        const id = `s${next++}`;
        const [from, to, third] = pick(many, 3, below);
        const amount = 1 + below(80);
        const kinds = [
          [[take(from!, amount)], [give(to!, amount)]],
          [[take(from!, amount), give(to!, amount)]],
          [[take(from!, 2 * amount)], [give(to!, amount), give(third!, amount)]],
          [[take(from!, amount)], [{ ...give(to!, amount), back: null }]],
        ];
        steps.set(id, kinds[below(kinds.length)]!);
        open.add(id);
      }
      for (const id of open) if (!under.isDown) asked.set(id, under.saga(id, steps.get(id)!));
      if (faults < 40 && below(3) > 0) {
        faults++;
        const points = ["saga:forward", "saga:back", "saga:started", "saga:ended", "saga:compensation", "saga:probed"];
        const act =
          below(3) === 0 ? () => under.powerCut(survivals[below(3)]!) : () => under.loseThread(below(under.shardCount));
        under.at(points[below(points.length)]!, act, 1 + below(30));
      }
      if (below(4) === 0 && !under.isDown) await under.checkpoint();
      await under.until(() => under.isDown || [...asked.values()].every(({ reply }) => reply !== undefined));
      for (const [id, { reply }] of asked) if (reply?.kind === "value") open.delete(id);
    }
    expect(faults).toBeGreaterThan(20);
    if (under.isDown) await under.startAgain();
    const ends = { COMMITTED: 0, COMPENSATED: 0, STUCK: 0 };
    for (const id of steps.keys()) {
      const { resultType } = await under.saga(id, steps.get(id)!).result();
      ends[resultType]++;
    }
    expect(ends.COMMITTED).toBeGreaterThan(300);
    expect(ends.COMPENSATED).toBeGreaterThan(300);
    let sum = 0;
    const ids = new Set<string>();
    for (const entity of many) {
      sum += ((await under.state(entity, "Account")) as { balance: number }).balance;
      for (const [, id] of await under.events(entity)) {
        if (id === null) continue;
        expect(ids.has(id), id).toBe(false);
        ids.add(id);
      }
    }
    // Every id that a saga says was written was written, and no other; what is not given back is all that can be missing.
    let missing = 0;
    const stuck: string[] = [];
    for (const saga of steps.keys()) {
      const record = await under.show(saga);
      if (record.state === "STUCK") {
        stuck.push(saga);
        expect(record.steps.some(({ state }) => state === "stuck" || state === "unknown")).toBe(true);
      }
      for (const [i, { state, forward }] of record.steps.entries()) {
        const written = [`saga:${saga}:${i}:f`, `saga:${saga}:${i}:c`].map((id) => ids.delete(id));
        // Of one whose shard was away for too long nobody knows, and the record says so.
        const isDone = state === "done" || state === "stuck" || (state === "unknown" && written[0] === true);
        expect(written, `${saga} ${i} ${state}`).toEqual([isDone || state === "compensated", state === "compensated"]);
        if (record.state !== "STUCK" || !isDone) continue;
        const [only] = forward.events ?? [{ type: forward.command!, payload: forward.input }];
        const { amount } = only!.payload as { amount: number };
        missing += only!.type === "Debited" ? amount : -amount;
      }
    }
    expect([...ids]).toEqual([]);
    expect(stuck).toHaveLength(ends.STUCK);
    expect((await under.list({ only: "stuck", limit: 10_000 })).map(({ saga }) => saga).sort()).toEqual(stuck.sort());
    expect(sum + missing).toBe(100 * many.length);
  }, 600_000);
});

function pick<T>(from: readonly T[], count: number, below: (bound: number) => number): T[] {
  const rest = from.slice();
  return Array.from({ length: count }, () => rest.splice(below(rest.length), 1)[0]!);
}
