// Time travel: the states of an entity as they were, and bringing them back.
//
// Method: histories with snapshots and restorings at random places are held against a fold of their prefix that the test
// makes from the log (log-check.spec-support.ts).
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { SimulatedDisk, type Survival } from "@heddle/testkit";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Account, alice, bank, bob, credit, debit, Notes, note } from "./bank.spec-support.ts";
import { checkAgainstLog, foldBank, readLog } from "./log-check.spec-support.ts";
import {
  brief,
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const at = async (under: ShardUnderTest, aggregate: string, moment: { seq: number } | { time: number }) =>
  value(await under.getAt(alice, aggregate, moment as never)) as { state: unknown; seq: number };

describe("a state as it was", () => {
  const steps = fc.array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          does: fc.constant("append" as const),
          what: fc.nat(2),
          count: fc.integer({ min: 1, max: 4 }),
        }),
      },
      { weight: 2, arbitrary: fc.record({ does: fc.constant("checkpoint" as const) }) },
      { weight: 1, arbitrary: fc.record({ does: fc.constant("restart" as const) }) },
      { weight: 1, arbitrary: fc.record({ does: fc.constant("crash" as const) }) },
      { weight: 2, arbitrary: fc.record({ does: fc.constant("restore" as const), back: fc.nat(20) }) },
      { weight: 3, arbitrary: fc.record({ does: fc.constant("time" as const), ms: fc.nat(50) }) },
    ),
    // Long ones: left to itself the library draws so many short ones that sixty have hardly ten restorings now and then.
    { minLength: 1, maxLength: 25, size: "max" },
  );

  it("equals a fold of the history up to there, by sequence and by time, wherever snapshots and restorings are", async () => {
    let restorings = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        const under = openShard(bank, { limits: { segmentBytes: 1_000 } });
        let seq = 0;
        for (const step of plan) {
          if (step.does === "append") {
            const counts = Array.from({ length: step.count }, (_, i) => i + 1);
            const texts = counts.map((n) => `text ${n}`);
            const fields = [credit(alice, ...counts), debit(alice, ...counts), note(alice, ...texts)][step.what]!;
            const reply = await under.append(fields);
            if (reply.kind === "receipt") ({ seq } = reply.receipt);
          } else if (step.does === "checkpoint") await under.checkpoint();
          else if (step.does === "restart") await under.restart();
          else if (step.does === "crash") {
            await under.crash();
            under.start();
          } else if (step.does === "time") under.advance(step.ms);
          else if (seq > 0) {
            ({ seq } = receipt(await under.restore(alice, { seq: step.back % (seq + 1) })));
            restorings++;
          }
        }
        const events = readLog(under).lives.get(alice)?.events ?? [];
        const moments = [{ seq: 0 }, ...events.map((one) => ({ seq: one.seq }))];
        for (const moment of moments) {
          const { balance, events: count, texts } = foldBank(events, moment.seq);
          expect(await at(under, "Account", moment)).toEqual({ state: { balance, events: count }, seq: moment.seq });
          expect(await at(under, "Notes", moment)).toEqual({ state: { texts }, seq: moment.seq });
        }
        for (const time of new Set(events.flatMap((one) => [one.time - 1, one.time]))) {
          const last = events.findLast((one) => one.time <= time)?.seq ?? 0;
          expect(await at(under, "Account", { time })).toEqual(await at(under, "Account", { seq: last }));
        }
        await under.end();
      }),
      { numRuns: 60 },
    );
    expect(restorings).toBeGreaterThan(10);
  });

  it("P7: what has not come, or never was, is out of range; an entity that was never written is as before its first event", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1, 2)));
    for (const moment of [{ seq: 3 }, { time: under.clock.nowMs + 1 }] as const) {
      expect(failure(await under.getAt(alice, "Account", moment)).code).toBe("OUT_OF_RANGE");
      expect(failure(await under.restore(alice, moment)).code).toBe("OUT_OF_RANGE");
      expect(failure(await under.getAt(bob, "Account", moment)).code).toBe("OUT_OF_RANGE");
    }
    expect(failure(await under.restore(bob, { seq: 0 })).code).toBe("OUT_OF_RANGE");
    expect(value(await under.getAt(bob, "Account", { seq: 0 }))).toEqual({ state: { balance: 0, events: 0 }, seq: 0 });
    expect(value(await under.getAt(bob, "Account", { time: 5 }))).toMatchObject({ seq: 0 });
    expect(failure(await under.getAt(alice, "Nothing", { seq: 1 })).code).toBe("UNKNOWN_AGGREGATE");
    expect(under.logEntries()).toHaveLength(1);
  });

  it("P2: events that are not durable yet are waited for, and told when they are", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.disk.holdSyncs();
    const second = under.append(credit(alice, 2));
    const asked = [
      under.getAt(alice, "Account", { seq: 2 }),
      under.getAt(alice, "Account", { time: under.clock.nowMs }),
      under.getAt(alice, "Account", { seq: 3 }),
    ] as const;
    await under.turns();
    expect(asked.map(({ reply }) => reply)).toEqual([undefined, undefined, undefined]);
    under.disk.releaseSyncs();
    receipt(await second);
    for (const one of asked.slice(0, 2)) expect(value(await one!)).toMatchObject({ seq: 2, state: { balance: 3 } });
    expect(failure(await asked[2]).code).toBe("OUT_OF_RANGE");
  });

  it("P8: a long history is folded over several turns, while others are served and a checkpoint or a recovery comes between", async () => {
    const under = openShard(bank, { limits: { groupBytesMax: 1 << 16 } });
    for (let i = 0; i < 30; i++) receipt(await under.append(credit(alice, ...Array.from({ length: 1_000 }, () => 1))));
    await under.crash();
    under.start();
    const asked = under.getAt(alice, "Account", { seq: 29_999 });
    receipt(await under.append(credit(bob, 1)));
    expect(asked.reply).toBeUndefined();
    under.shard.requestCheckpoint();
    under.disk.failNextSync();
    expect(failure(await under.append(credit(bob, 1))).retryable).toBe(true);
    expect(value(await asked)).toEqual({ state: { balance: 29_999, events: 29_999 }, seq: 29_999 });
  });

  it("P6: one whose entity is erased while it is folded is not answered with what is gone", async () => {
    const under = openShard(bank);
    const ones = credit(alice, ...Array.from({ length: 1_000 }, () => 1));
    for (let i = 0; i < 30; i++) receipt(await under.append({ ...ones, metadata: "x".repeat(20_000) }));
    await under.crash();
    under.start();
    const asked = under.getAt(alice, "Account", { seq: 29_999 });
    const restored = under.restore(alice, { seq: 29_999 });
    const erased = under.delete(alice);
    expect(failure(await asked).code).toBe("ERASED");
    expect(failure(await restored).code).toBe("ERASED");
    expect(value(await erased)).toMatchObject({ to: 30_000 });
  });
});

describe("restoring", () => {
  async function lived(under: ShardUnderTest): Promise<void> {
    receipt(await under.append({ ...credit(alice, 10, 20), id: "ten and twenty", metadata: { by: "x" } }));
    receipt(await under.append(note(alice, "kept")));
    receipt(await under.append(credit(bob, 7)));
    receipt(await under.append(debit(alice, 25)));
    receipt(await under.append(note(alice, "regretted")));
    await under.checkpoint();
  }

  it("P1 P4: brings all states back by new events, touches no other entity, and a retry gets the first receipt, also after a restart", async () => {
    const under = openShard(bank);
    await lived(under);
    const before = { account: await at(under, "Account", { seq: 3 }), notes: await at(under, "Notes", { seq: 3 }) };
    const caller = { session: 9, call: 1, id: "going back" };
    const first = receipt(await under.restore(alice, { seq: 3 }, caller));
    expect(first).toMatchObject({ firstSeq: 6, count: 4, duplicate: false });
    const check = async () => {
      expect(await under.state(alice, "Account")).toEqual({ state: before.account.state, seq: 9 });
      expect(await under.state(alice, "Notes")).toEqual({ state: before.notes.state, seq: 9 });
      expect(await under.state(bob, "Account")).toMatchObject({ state: { balance: 7 }, seq: 1 });
      expect(brief(await under.events(alice, { from: 6 }))).toEqual([
        [6, "Restored", { seq: 3, copied: 3 }],
        [7, "Credited", { amount: 10 }],
        [8, "Credited", { amount: 20 }],
        [9, "Noted", { text: "kept" }],
      ]);
      const [, , , , , metadata, id] = (await under.events(alice, { from: 7 }))[0]!;
      expect([metadata, id]).toEqual([{ by: "x" }, null]);
      const again = receipt(await under.restore(alice, { seq: 3 }, { ...caller, retry: true }));
      expect(again).toEqual({ ...first, duplicate: true });
      expect(receipt(await under.restore(alice, { seq: 3 }, { session: 33, id: "going back" }))).toEqual(again);
      expect(failure(await under.restore(alice, { seq: 2 }, { session: 34, id: "going back" })).code).toBe("ID_REUSED");
      const appended = receipt(
        await under.append({ ...credit(alice, 10, 20), id: "ten and twenty", metadata: { by: "x" } }, { session: 35 }),
      );
      expect(appended).toMatchObject({ firstSeq: 1, duplicate: true });
      expect(await at(under, "Account", { seq: 5 })).toMatchObject({ state: { balance: 5 } });
      await checkAgainstLog(under);
    };
    await check();
    await under.restart();
    await check();
    await under.crash("everything");
    under.startWithEmptyPartition();
    await check();
    // Nobody's call were the copies.
    await under.checkpoint();
    expect([...under.partition.sessions()].map(({ session }) => session)).not.toContain(0);
  });

  it("P3: a state that today's rules forbid does not come back, nor does one the caller did not expect to be changed", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 500)));
    receipt(await under.append(debit(alice, 499)));
    const stricter = defineAggregate("Account", {
      version: 1,
      initial: () => ({ balance: 0, events: 0 }),
      events: {
        Credited: event(z.object({ amount: z.number() }), (s, e) => ({
          balance: s.balance + e.amount,
          events: s.events + 1,
        })),
        Debited: event(z.object({ amount: z.number() }), (s, e) => ({
          balance: s.balance - e.amount,
          events: s.events + 1,
        })),
      },
      invariants: { "at most a hundred": (s) => s.balance <= 100 },
    });
    await under.restart(defineContext("bank", { aggregates: [stricter, Notes] }));
    const refused = rejected(await under.restore(alice, { seq: 1 }));
    expect(refused).toMatchObject({ code: "INVARIANT_VIOLATED", facts: { rule: "at most a hundred" } });
    expect(rejected(await under.restore(alice, { seq: 0 }, { expectedSeq: 1 })).code).toBe("SEQUENCE_CONFLICT");
    expect(under.logEntries()).toHaveLength(2);
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 1, events: 2 }, seq: 2 });
    receipt(await under.restore(alice, { seq: 0 }, { expectedSeq: 2 }));
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 0, events: 0 }, seq: 3 });
  });

  it.each(["log:before-write", "log:on-its-way", "log:after-sync", "shard:before-reply", "shard:after-reply"])(
    "P5: cut off at %s it happened whole or not at all, and the same call again ends the same",
    async (place) => {
      for (const survival of ["nothing", "some", "everything"] as Survival[]) {
        const under = openShard(bank, { disk: new SimulatedDisk({ seed: 5 }) });
        await lived(under);
        const caller = { session: 9, call: 1 };
        const act = () =>
          void under.turn(() => [under.append(credit(bob, 1)), under.restore(alice, { seq: 3 }, caller)]);
        await under.crashAt(place, act, { survival });
        under.start();
        const { seq } = await under.state(alice, "Account");
        expect([5, 9]).toContain(seq);
        const again = receipt(await under.restore(alice, { seq: 3 }, { ...caller, retry: true }));
        expect(again).toMatchObject({ firstSeq: 6, count: 4, duplicate: seq === 9 });
        expect(await under.state(alice, "Account")).toEqual({ state: { balance: 30, events: 2 }, seq: 9 });
        await checkAgainstLog(under);
      }
    },
  );

  it("P2: a restoring whose group fails did not happen", async () => {
    const under = openShard(bank);
    await lived(under);
    under.disk.failNextWrite();
    expect(failure(await under.restore(alice, { seq: 3 }))).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
    await under.until(() => under.shard.state === "open");
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 5, state: { balance: 5 } });
    await checkAgainstLog(under);
  });

  it("P8: a long history is read over several turns while others are served, however many frames wait", async () => {
    const under = openShard(bank, { limits: { groupBytesMax: 20_000 } });
    for (let i = 0; i < 200; i++) receipt(await under.append(note(alice, "x".repeat(10_000))));
    const asked = under.restore(alice, { seq: 190 });
    let served = 0;
    while (asked.reply === undefined && served < 5_000) {
      under.turn(() => Array.from({ length: 20 }, () => under.append(note(bob, "y".repeat(2_000)))));
      await under.turns(1);
      served++;
    }
    expect(served).toBeGreaterThan(2);
    expect(receipt(await asked)).toMatchObject({ firstSeq: 201, count: 191 });
    expect(((await under.state(alice, "Notes")).state as { texts: string[] }).texts).toHaveLength(190);
  });

  it("P8: more than one write can take is refused, with what to do instead", async () => {
    const under = openShard(bank);
    for (let i = 0; i < 7; i++) receipt(await under.append(note(alice, "x".repeat(10 << 20))));
    const refused = failure(await under.restore(alice, { seq: 7 }));
    expect(refused).toMatchObject({ code: "INVALID_REQUEST", message: expect.stringContaining("fork") });
    expect(receipt(await under.restore(alice, { seq: 1 })).count).toBe(2);
  });

  it("an entity of a fold that changed comes back as the new fold makes it", async () => {
    const under = openShard(bank);
    await lived(under);
    const doubled = defineAggregate("Notes", {
      version: 2,
      initial: (): { texts: readonly string[] } => ({ texts: [] }),
      events: { Noted: event(z.object({ text: z.string() }), (s, e) => ({ texts: [...s.texts, e.text, e.text] })) },
    });
    await under.restart(defineContext("bank", { aggregates: [Account, doubled] }));
    expect(await under.state(alice, "Notes")).toMatchObject({
      state: { texts: ["kept", "kept", "regretted", "regretted"] },
    });
    receipt(await under.restore(alice, { seq: 3 }));
    expect(await under.state(alice, "Notes")).toMatchObject({ state: { texts: ["kept", "kept"] } });
    expect(await at(under, "Notes", { seq: 3 })).toMatchObject({ state: { texts: ["kept", "kept"] } });
  });
});
