// P4: once. A call that took effect gives its first receipt again, told by its session and number or by the caller's id.
//
// Method: the same call is sent again at every stage that its entry goes through, from the open group to a restart, and
// the log is counted afterwards. How windows keep their numbers is tested in sessions.unit.spec.ts.
import { limits } from "@heddle/kernel";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, debit } from "./bank.spec-support.ts";
import { sessionIdleMsMax } from "./sessions.ts";
import {
  type Caller,
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

/** Each leaves the first call in another place: where its repetition has to be told from a new call. */
const stages: Record<string, (under: ShardUnderTest) => Promise<void>> = {
  "right away": async () => {},
  "after a checkpoint": (under) => under.checkpoint(),
  "after a clean restart": (under) => under.restart(),
  "after a crash without a checkpoint": async (under) => {
    await under.crash();
    under.start();
  },
  "after a checkpoint and a crash": async (under) => {
    await under.checkpoint();
    await under.crash();
    under.start();
  },
  "after a checkpoint that was cut short": async (under) => {
    await under.crashAt("checkpoint:before-commit", () => under.shard.requestCheckpoint());
    under.start();
  },
  "after a checkpoint that was cut short while it committed": async (under) => {
    await under.crashAt("partition:ids-durable", () => under.shard.requestCheckpoint());
    under.start();
  },
  "after a recovery in place": async (under) => {
    under.disk.failNextSync();
    failure(await under.append(credit("account/other", 1), { session: 77 }));
    await under.until(() => under.shard.state === "open");
  },
  "after two restarts and other calls": async (under) => {
    await under.restart();
    for (let i = 0; i < 20; i++) receipt(await under.append(credit(bob, 1)));
    await under.restart();
  },
};

const calls: Record<string, (under: ShardUnderTest, caller: Caller) => ReturnType<ShardUnderTest["append"]>> = {
  "an append": (under, caller) => under.append(credit(alice, 5, 6), caller),
  "a command": (under, caller) =>
    under.execute({ entity: alice, aggregate: "Account", command: "Swap", input: { amount: 5 } }, caller),
  "an append with an id": (under, caller) => under.append({ ...credit(alice, 5, 6), id: "order-7" }, caller),
};

describe("P4: the same call again", () => {
  for (const [stage, reach] of Object.entries(stages)) {
    it.each(Object.keys(calls))(
      `P4: %s that is sent again ${stage} gives its first receipt and writes nothing`,
      async (kind) => {
        const under = openShard(bank);
        const first = receipt(await calls[kind]!(under, { session: 5, call: 3 }));
        expect(first.duplicate).toBe(false);
        await reach(under);
        const logged = under.logEntries();
        for (let i = 0; i < 2; i++) {
          const again = receipt(await calls[kind]!(under, { session: 5, call: 3, retry: true }));
          expect(again).toEqual({ ...first, duplicate: true });
        }
        expect(under.logEntries()).toEqual(logged);
        expect((await under.events(alice)).length).toBe(2);
      },
    );

    it(`P4: an id that comes again ${stage} from another session gives the first receipt and writes nothing`, async () => {
      const under = openShard(bank);
      const append = { ...credit(alice, 5), id: "order-7" };
      const first = receipt(await under.append(append, { session: 5 }));
      await reach(under);
      const logged = under.logEntries();
      expect(receipt(await under.append(append, { session: 6 }))).toEqual({ ...first, duplicate: true });
      expect(receipt(await under.append(append, { session: 5 }))).toEqual({ ...first, duplicate: true });
      expect(under.logEntries()).toEqual(logged);
    });

    it(`P4: other content under a call number or id that was used is refused ${stage}`, async () => {
      const under = openShard(bank);
      receipt(await under.append({ ...credit(alice, 5), id: "order-7" }, { session: 5, call: 3 }));
      await reach(under);
      const logged = under.logEntries();
      const byCall = failure(await under.append(credit(alice, 6), { session: 5, call: 3, retry: true }));
      expect(byCall).toMatchObject({ code: "ID_REUSED", facts: { entity: alice, id: "call 3" } });
      const elsewhere = failure(await under.append(credit(bob, 5), { session: 5, call: 3, retry: true }));
      expect(elsewhere.code).toBe("ID_REUSED");
      const byId = failure(await under.append({ ...credit(alice, 6), id: "order-7" }, { session: 6 }));
      expect(byId).toMatchObject({ code: "ID_REUSED", facts: { entity: alice, id: "order-7" } });
      expect(under.logEntries()).toEqual(logged);
    });
  }

  it.each(Object.keys(calls))(
    "P4: %s that is sent again while it is undurable gives the same receipt, after the sync",
    async (kind) => {
      const under = openShard(bank);
      under.disk.holdSyncs();
      const first = calls[kind]!(under, { session: 5, call: 3 });
      const inFlight = calls[kind]!(under, { session: 5, call: 3, retry: true });
      receiptless(first, inFlight);
      under.append(credit(bob, 1), { session: 6 });
      const whileOthersFill = calls[kind]!(under, { session: 5, call: 3, retry: true });
      await under.turns();
      receiptless(first, inFlight, whileOthersFill);
      under.disk.releaseSyncs();
      const wanted = { ...receipt(await first), duplicate: true };
      expect(receipt(await inFlight)).toEqual(wanted);
      expect(receipt(await whileOthersFill)).toEqual(wanted);
      expect(under.logEntries()).toHaveLength(2);
    },
  );

  it("P4: a call that is repeated within the turn it came in takes effect once", async () => {
    const under = openShard(bank);
    const [first, second] = under.turn(() => [
      under.append(credit(alice, 5), { call: 1 }),
      under.append(credit(alice, 5), { call: 1, retry: true }),
    ]);
    expect([receipt(await first).duplicate, receipt(await second).duplicate]).toEqual([false, true]);
    expect(under.logEntries()).toHaveLength(1);
  });

  it("P4: an id belongs to its entity: the same id on another is another append", async () => {
    const under = openShard(bank);
    expect(receipt(await under.append({ ...credit(alice, 5), id: "x" })).duplicate).toBe(false);
    expect(receipt(await under.append({ ...credit(bob, 5), id: "x" })).duplicate).toBe(false);
  });

  it("P4: a call that was rejected is decided anew when it comes again", async () => {
    const under = openShard(bank);
    rejected(await under.append(debit(alice, 5), { call: 1 }));
    receipt(await under.append(credit(alice, 5), { session: 2 }));
    expect(receipt(await under.append(debit(alice, 5), { call: 1, retry: true }))).toMatchObject({
      seq: 2,
      duplicate: false,
    });
  });

  function receiptless(...asked: { reply: unknown }[]) {
    expect(asked.map(({ reply }) => reply)).toEqual(asked.map(() => undefined));
  }
});

describe("P4: the window of a session", () => {
  const window = limits.sessionCallsMax;

  it("P4: a repetition that never arrived the first time is executed, in whatever order repetitions come", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10), { call: 10 }));
    receipt(await under.append(credit(alice, 1), { call: 12 }));
    expect(receipt(await under.append(credit(alice, 11), { call: 11, retry: true }))).toMatchObject({
      seq: 3,
      duplicate: false,
    });
    expect(receipt(await under.append(credit(alice, 9), { call: 9, retry: true }))).toMatchObject({
      seq: 4,
      duplicate: false,
    });
    for (const stage of ["now", "after a restart"]) {
      if (stage !== "now") await under.restart();
      expect(receipt(await under.append(credit(alice, 9), { call: 9, retry: true }))).toMatchObject({
        seq: 4,
        duplicate: true,
      });
      expect(receipt(await under.append(credit(alice, 10), { call: 10, retry: true }))).toMatchObject({
        seq: 1,
        duplicate: true,
      });
      expect(receipt(await under.append(credit(alice, 11), { call: 11, retry: true }))).toMatchObject({
        seq: 3,
        duplicate: true,
      });
    }
  });

  it("P4: the oldest call that a client may still repeat is known; one before it is refused as too old to tell", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1), { call: 1 }));
    receipt(await under.append(credit(alice, 2), { call: 2 }));
    receipt(await under.append(credit(alice, 3), { call: 1 + window }));
    for (const stage of ["now", "after a restart"]) {
      if (stage !== "now") await under.restart();
      expect(receipt(await under.append(credit(alice, 2), { call: 2, retry: true }))).toMatchObject({
        seq: 2,
        duplicate: true,
      });
      const error = failure(await under.append(credit(alice, 1), { call: 1, retry: true }));
      expect(error.code).toBe("ID_EXPIRED");
    }
    expect(under.logEntries()).toHaveLength(3);
  });

  it("P4: an id outlives the window: it is known when the call's number is too old to tell", async () => {
    const under = openShard(bank);
    const append = { ...credit(alice, 5), id: "order-7" };
    const first = receipt(await under.append(append, { call: 1 }));
    receipt(await under.append(credit(alice, 1), { call: 3 + window }));
    expect(receipt(await under.append(append, { call: 1, retry: true }))).toEqual({ ...first, duplicate: true });
    // And one that is not known took no effect: it may be executed, however old its number is.
    const never = { ...credit(alice, 5), id: "order-8" };
    expect(receipt(await under.append(never, { call: 2, retry: true }))).toMatchObject({ duplicate: false });
    expect(receipt(await under.append(never, { call: 2, retry: true }))).toMatchObject({ duplicate: true });
    await under.restart();
    expect(receipt(await under.append(append, { call: 1, retry: true }))).toEqual({ ...first, duplicate: true });
  });

  it("P4: a session is forgotten only after it was silent for long by a clock that does not jump", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 5), { session: 5, call: 1 }));
    // The wall clock jumps by a year; the monotonic one goes on by a minute.
    under.clock.nowMs += 365 * 24 * 3_600_000;
    under.clock.monotonicMs += 61_000;
    under.shard.tick();
    await under.checkpoint();
    expect(receipt(await under.append(credit(alice, 5), { session: 5, call: 1, retry: true })).duplicate).toBe(true);
    await under.restart();
    under.clock.monotonicMs += 61_000;
    under.shard.tick();
    expect(receipt(await under.append(credit(alice, 5), { session: 5, call: 1, retry: true })).duplicate).toBe(true);

    under.clock.monotonicMs += sessionIdleMsMax + 61_000;
    under.shard.tick();
    expect(under.shard.stats().sessions).toBe(0);
    receipt(await under.append(credit(alice, 1), { session: 6, call: 1 }));
    await under.checkpoint();
    expect([...under.partition.sessions()].map(({ session }) => session)).toEqual([6]);
  });

  it("P4: a refused call leaves no mark in its session: the mended call under the same number takes effect", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1), { call: 1 }));
    expect(failure(await under.append(credit(alice, -1), { call: 2 })).code).toBe("INVALID_PAYLOAD");
    expect(under.shard.stats().sessions).toBe(1);
    expect(failure(await under.append(credit(alice, -1), { session: 9, call: 2 })).code).toBe("INVALID_PAYLOAD");
    expect(under.shard.stats().sessions).toBe(1);
    expect(receipt(await under.append(credit(alice, 1), { call: 2 })).seq).toBe(2);
  });
});
