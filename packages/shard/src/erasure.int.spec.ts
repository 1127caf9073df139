// P6: an erased entity is gone from everything that the shard wrote, and stays so; everybody else is as before.
//
// Method: markers are planted in payloads, metadata, states and append ids, and looked for in every byte of the log's files
// and of the partition's folder. The process is cut off at every named place on the way, the disk fails and runs full; what
// is left is held against the log by other means (log-check.spec-support.ts), and against a partition made anew from it.
import { HeddleError } from "@heddle/kernel";
import { sortedAppendIds } from "@heddle/partition/internal";
import type { WireEvent } from "@heddle/protocol/internal";
import { SimulatedDisk, type Survival } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, note } from "./bank.spec-support.ts";
import type { ErasureReceipt } from "./erasures.ts";
import { checkAgainstLog, checkPartition, readLog } from "./log-check.spec-support.ts";
import {
  brief,
  closeAll,
  failure,
  openShard,
  overridden,
  receipt,
  type ShardUnderTest,
  type ShardUnderTestOptions,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const carol = "account/carol";
const markers = ["payload-5e1f0c", "metadata-77ab31", "append-id-90c4d2"];

/** Alice's life, in several segments, groups and checkpoints, between those of others. Returns her last sequence. */
async function live(under: ShardUnderTest): Promise<number> {
  let seq = 0;
  for (let round = 0; round < 4; round++) {
    const asked = under.turn(() => [
      under.append(credit(bob, 1, 2)),
      under.append({ ...note(alice, `payload-5e1f0c ${round}`), id: `append-id-90c4d2 ${round}` }),
      under.append({ ...credit(alice, 10, 20), metadata: { trace: "metadata-77ab31" } }),
      under.append({ ...note(carol, "carol's"), id: `carol ${round}` }),
      under.execute({ entity: alice, aggregate: "Account", command: "Withdraw", input: { amount: 3 } }),
    ]);
    for (const one of asked) receipt(await one);
    seq += 4;
    if (round < 3) await under.checkpoint();
  }
  return seq;
}

const small: ShardUnderTestOptions["limits"] = { segmentBytes: 900 };
const opened = (options: ShardUnderTestOptions = {}) => openShard(bank, { limits: small, ...options });
const noErasures = (under: ShardUnderTest) => under.until(() => under.shard.stats().erasures === 0);

/** All that must hold once alice is erased: nothing is left of her, everything of the others. */
async function checkErased(under: ShardUnderTest): Promise<void> {
  await noErasures(under);
  for (const marker of markers) expect([marker, under.filesWith(marker)]).toEqual([marker, []]);
  expect(under.filesWith("carol's").length).toBeGreaterThan(0);
  await checkAgainstLog(under);
  for (let round = 0; round < 4; round++) {
    expect(
      receipt(await under.append({ ...note(carol, "carol's"), id: `carol ${round}` }, { session: 99 })),
    ).toMatchObject({
      seq: round + 1,
      duplicate: true,
    });
    const again = { ...note(alice, "new"), id: `append-id-90c4d2 ${round}`, newLife: true };
    expect(failure(await under.append(again, { session: 99 })).code).toBe("ERASED");
  }
  under.logEntries();
  await under.checkpoint();
  checkPartition(under.partition, readLog(under));
  expect(under.partition.erasures()).toEqual([]);
}

describe("P6: after delete", () => {
  it("P6: nothing is left of it in any file, every call answers ERASED, its history is the tombstone, others are as before", async () => {
    const under = opened();
    const last = await live(under);
    for (const marker of markers) expect(under.filesWith(marker).length).toBeGreaterThan(0);
    const before = await under.events(bob);
    const erasure = await under.erase(alice);
    expect(erasure).toMatchObject({ shard: 0, seq: last + 1, from: 1, to: last, time: under.clock.nowMs });
    await checkErased(under);
    const erased = { code: "ERASED", facts: { entity: alice, seq: last + 1, time: erasure.time } };
    expect(failure(await under.get(alice, "Account"))).toMatchObject(erased);
    expect(failure(await under.getAt(alice, "Account", { seq: 3 }))).toMatchObject(erased);
    expect(failure(await under.getAt(alice, "Account", { time: under.clock.nowMs }))).toMatchObject(erased);
    expect(failure(await under.append(credit(alice, 1)))).toMatchObject(erased);
    const withdraw = { entity: alice, aggregate: "Account", command: "Withdraw", input: { amount: 3 } };
    expect(failure(await under.execute(withdraw))).toMatchObject(erased);
    expect(failure(await under.restore(alice, { seq: 3 }))).toMatchObject(erased);
    for (const direction of ["forward", "backward"] as const) {
      const history = value(await under.history(alice, { direction })) as WireEvent[];
      expect(history.map(([seq, , aggregate, type, payload]) => [seq, aggregate, type, payload])).toEqual([
        [last + 1, "$heddle", "Erased", { from: 1, to: last }],
      ]);
    }
    expect(await under.events(bob)).toEqual(before);
  });

  it("P6 P4: a retry, a second delete and one that comes meanwhile get the same receipt; there is one tombstone", async () => {
    const under = opened();
    const last = await live(under);
    const asked = [
      under.delete(alice, { session: 5, call: 1 }),
      under.delete(alice, { session: 5, call: 1, retry: true }),
      under.delete(alice, { session: 6 }),
    ];
    await under.turns(3);
    asked.push(under.delete(alice, { session: 7 }));
    const [first, ...others] = await Promise.all(asked.map(async (one) => value(await one)));
    for (const other of others) expect(other).toEqual(first);
    expect(await under.erase(alice, { session: 5, call: 1, retry: true })).toEqual(first);
    await under.restart();
    expect(await under.erase(alice, { session: 5, call: 1, retry: true })).toEqual(first);
    expect(await under.erase(alice)).toEqual(first);
    expect(
      under
        .logEntries()
        .filter(({ entity }) => entity === alice)
        .at(-1)!.firstSeq,
    ).toBe(last + 1);
  });

  it("P7: an id that was never written has nothing to erase, and a call number of something else is refused", async () => {
    const under = opened();
    await live(under);
    expect(failure(await under.delete("account/nobody")).code).toBe("OUT_OF_RANGE");
    receipt(await under.append(credit(alice, 1), { session: 8, call: 1 }));
    expect(failure(await under.delete(alice, { session: 8, call: 1 })).code).toBe("ID_REUSED");
    expect(under.shard.stats().erasures).toBe(0);
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 17 });
  });

  it("P2: what is decided before it in the same turn takes effect, what comes after it is refused once it is durable", async () => {
    const under = opened();
    const last = await live(under);
    under.disk.holdSyncs();
    const [before, deleted, ...after] = under.turn(() => [
      under.append(credit(alice, 1)),
      under.delete(alice),
      under.append(credit(alice, 2)),
      under.get(alice, "Account"),
      under.getAt(alice, "Account", { seq: 1 }),
      under.append({ ...note(alice, "payload-5e1f0c 0"), id: "append-id-90c4d2 0" }, { session: 44 }),
    ]);
    const history = under.history(alice);
    await under.turns(10);
    expect([before, deleted, ...after, history].map((one) => one!.reply)).toEqual(Array(7).fill(undefined));
    under.disk.releaseSyncs();
    expect(receipt(await before!).seq).toBe(last + 1);
    for (const one of after) expect(failure(await one).code).toBe("ERASED");
    expect(value(await deleted!)).toMatchObject({ from: 1, to: last + 1, seq: last + 2 });
    expect(brief(value(await history) as WireEvent[])).toEqual([[last + 2, "Erased", { from: 1, to: last + 1 }]]);
    await checkErased(under);
  });

  it("P2: a delete whose group fails did not happen, and neither did anything that it refused", async () => {
    for (const how of ["sync", "write"] as const) {
      const under = opened();
      const last = await live(under);
      under.disk.holdSyncs();
      const asked = under.turn(() => {
        if (how === "sync") under.disk.failNextSync();
        else under.disk.failNextWrite();
        return [under.delete(alice), under.append(credit(alice, 2)), under.get(alice, "Account")];
      });
      under.disk.releaseSyncs();
      for (const one of asked) expect(failure(await one)).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
      await under.until(() => under.shard.state === "open");
      if (how === "write") expect(await under.state(alice, "Account")).toMatchObject({ seq: last });
      else await noErasures(under);
    }
  });

  it("P6: an early answer comes when the log is clean, and the whole one later", async () => {
    const gate = Promise.withResolvers<void>();
    const under = opened({
      wrapPartition: (partition) =>
        overridden(partition, "scrub", async (nextTurn: () => Promise<void>) => {
          await gate.promise;
          return partition.scrub(nextTurn);
        }),
    });
    await live(under);
    const whole = under.delete(alice);
    const early = value(await under.delete(alice, { provisional: true })) as ErasureReceipt;
    expect(early.complete).toBe(false);
    await under.until(() => under.crashPoints.includes("erasure:forgotten"));
    expect(value(await under.delete(alice, { provisional: true }))).toEqual(early);
    expect(whole.reply).toBeUndefined();
    const files = under.filesWith("payload-5e1f0c");
    expect(files.filter((name) => name.endsWith(".log"))).toEqual([]);
    // Others go on meanwhile, however long it takes.
    receipt(await under.append(credit(bob, 1)));
    gate.resolve();
    expect(value(await whole)).toEqual({ ...early, complete: true });
    await checkErased(under);
  });

  it("P6: an entity that no checkpoint has seen, and one that was passivated, are erased like any other", async () => {
    const under = opened({ limits: { ...small, activeEntitiesMax: 1 } });
    receipt(await under.append(note(alice, markers[0]!)));
    await under.erase(alice);
    expect(under.filesWith(markers[0]!)).toEqual([]);
    receipt(await under.append(note(bob, markers[1]!)));
    await under.checkpoint();
    for (let i = 0; i < 20; i++) await under.get(`account/other-${i}`, "Notes");
    under.shard.tick();
    const erasing = under.erase(bob);
    for (let i = 0; i < 200 && under.shard.stats().erasures > 0; i++) {
      receipt(await under.append(note(`account/other-${i}`, "x")));
      under.shard.tick();
      await under.turns(1);
    }
    await erasing;
    expect(under.filesWith(markers[1]!)).toEqual([]);
    await checkAgainstLog(under);
  });

  it("P6 P8: many at once share their checkpoints and their scrub, and a long life is erased in turns between others", async () => {
    const under = opened({ limits: {} });
    const ids = Array.from({ length: 50 }, (_, i) => `account/erased-${i}`);
    const all = under.turn(() => ids.map((id) => under.append(note(id, `payload-5e1f0c ${id}`))));
    for (const one of all) receipt(await one);
    for (let i = 0; i < 3_000; i += 100) {
      const asked = under.turn(() => Array.from({ length: 100 }, () => under.append(note(alice, "payload-5e1f0c"))));
      for (const one of asked) receipt(await one);
    }
    receipt(await under.append(note(bob, "bob's")));
    const deletes = under.turn(() => [...ids, alice].map((id) => under.delete(id)));
    let served = 0;
    while (under.shard.stats().erasures > 0) {
      receipt(await under.append(credit(bob, 1)));
      served++;
    }
    for (const one of deletes) expect(value(await one)).toMatchObject({ complete: true });
    expect(served).toBeGreaterThan(5);
    expect(under.crashPoints.filter((name) => name === "erasure:scrubbed").length).toBeLessThanOrEqual(2);
    expect(under.filesWith("payload-5e1f0c")).toEqual([]);
    await checkAgainstLog(under);
  });

  it("P6: the keys of the life that ends, and of no other, are destroyed once its entries are overwritten", async () => {
    const erased: [string, number, string[]][] = [];
    const under = opened({
      eraseKeys: (tombstones) => {
        const left = under.filesWith("payload-5e1f0c").filter((name) => name.endsWith(".log"));
        erased.push(...tombstones.map(({ entity, seq }): [string, number, string[]] => [entity, seq, left]));
      },
    });
    const last = await live(under);
    await under.erase(alice);
    receipt(await under.append({ ...note(alice, "second"), newLife: true }));
    await under.erase(alice);
    expect(erased).toEqual([
      [alice, last + 1, []],
      [alice, last + 3, []],
    ]);
  });
});

describe("P6: a new life", () => {
  it("P6 P4: goes on with the next sequence; ids and calls of the old one answer ERASED, before and after a restart", async () => {
    const under = opened();
    const last = await live(under);
    const erasing = under.delete(alice);
    const early = under.append({ ...note(alice, "new"), newLife: true });
    expect(failure(await early)).toMatchObject({ code: "OVERLOADED", retryable: true });
    value(await erasing);
    expect(receipt(await under.append({ ...note(alice, "new"), newLife: true, expectedSeq: last + 1 })).seq).toBe(
      last + 2,
    );
    receipt(await under.append({ ...credit(alice, 5), id: "of the new life" }));
    const check = async () => {
      expect(await under.state(alice, "Notes")).toEqual({ state: { texts: ["new"] }, seq: last + 3 });
      expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 5 } });
      const retried = { ...note(alice, "payload-5e1f0c 1"), id: "append-id-90c4d2 1" };
      expect(failure(await under.append(retried, { session: 50 })).code).toBe("ERASED");
      // The third call of the first round, in alice's old life.
      expect(failure(await under.append(credit(alice, 10, 20), { session: 1, call: 3, retry: true })).code).toBe(
        "ERASED",
      );
      const again = receipt(await under.append({ ...credit(alice, 5), id: "of the new life" }, { session: 50 }));
      expect(again).toMatchObject({ seq: last + 3, duplicate: true });
      expect(failure(await under.getAt(alice, "Account", { seq: 4 })).code).toBe("ERASED");
      expect(failure(await under.getAt(alice, "Account", { time: 1 })).code).toBe("ERASED");
      expect(value(await under.getAt(alice, "Notes", { seq: last + 1 }))).toEqual({
        state: { texts: [] },
        seq: last + 1,
      });
      expect(brief(await under.events(alice)).map(([seq, type]) => [seq, type])).toEqual([
        [last + 1, "Erased"],
        [last + 2, "Noted"],
        [last + 3, "Credited"],
      ]);
      await checkAgainstLog(under);
    };
    await check();
    await under.restart();
    await check();
    await under.crash("everything");
    under.startWithEmptyPartition();
    expect(under.shard.stats().erasures).toBe(0);
    await check();
  });

  it("P6: a retry of the delete before it does not erase it; a new delete does, and is told of its own sequences", async () => {
    const under = opened();
    const last = await live(under);
    const first = await under.erase(alice, { session: 3, call: 1 });
    receipt(await under.append({ ...note(alice, "second life 4be1"), newLife: true }));
    expect(await under.erase(alice, { session: 3, call: 1, retry: true })).toEqual(first);
    expect(await under.state(alice, "Notes")).toMatchObject({ seq: last + 2 });
    const second = await under.erase(alice, { session: 3, call: 2 });
    expect(second).toMatchObject({ from: last + 2, to: last + 2, seq: last + 3 });
    expect(under.filesWith("second life 4be1")).toEqual([]);
    await checkErased(under);
    await under.restart();
    expect(await under.erase(alice)).toEqual(second);
  });

  it("P6 P4: a delete too old for its session's window is refused, it could be meant for an earlier life", async () => {
    const under = opened();
    await live(under);
    receipt(await under.append(credit(bob, 1), { session: 3, call: 20_000 }));
    expect(failure(await under.delete(alice, { session: 3, call: 5 })).code).toBe("ID_EXPIRED");
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 16 });
  });
});

describe("P5 P6: an erasure that is cut off", () => {
  const places: [name: string, nth: number][] = [
    ...["log:before-write", "log:on-its-way", "log:after-sync", "shard:before-reply", "shard:after-reply"].map(
      (name) => [name, 1] as [string, number],
    ),
    ...["begun", "counted", "readers-told", "overwritten", "forgotten", "scrubbed", "dropped"].map(
      (name) => [`erasure:${name}`, 1] as [string, number],
    ),
    ...["journal-written", "journal-durable", "half-overwritten", "overwritten", "synced", "journal-emptied"].map(
      (name) => [`erase:${name}`, 1] as [string, number],
    ),
    ...[1, 2, 3].flatMap((nth) =>
      [
        "checkpoint:begun",
        "checkpoint:before-commit",
        "checkpoint:after-commit",
        "partition:entities-durable",
        "partition:filter-durable",
        "partition:ids-durable",
        "partition:covered",
      ].map((name) => [name, nth] as [string, number]),
    ),
    ...["extents-forgotten", "ids-forgotten", "scrub-committed", "scrubbed"].map(
      (name) => [`partition:${name}`, 1] as [string, number],
    ),
  ];
  const survivals: readonly Survival[] = ["nothing", "some", "everything"];

  it.each(places)("P5 P6: at %s (%i): goes on by itself and ends as if nothing had been", async (name, nth) => {
    for (const survival of survivals) {
      const under = opened({ disk: new SimulatedDisk({ seed: nth }) });
      const last = await live(under);
      const caller = { session: 7, call: 1 };
      await under.crashAt(name, () => void under.delete(alice, caller), { nth, survival });
      under.start();
      if (under.shard.stats().erasures > 0) await noErasures(under);
      const erasure = await under.erase(alice, { ...caller, retry: true });
      expect(erasure).toMatchObject({ seq: last + 1, from: 1, to: last });
      await checkErased(under);
      const ids = sortedAppendIds(under.partition);
      // A partition made anew from the log says the same, and begins no erasure that was done with.
      await under.crash("everything");
      under.startWithEmptyPartition();
      expect(under.shard.stats().erasures).toBe(0);
      await checkErased(under);
      expect(sortedAppendIds(under.partition)).toEqual(ids);
      expect(await under.erase(alice, { ...caller, retry: true })).toEqual(erasure);
    }
  });

  it.each(
    places.filter(
      ([name]) => name.startsWith("erasure:") || name.startsWith("erase:") || name.startsWith("partition:"),
    ),
  )("P5 P6: of a second life, at %s (%i): the receipt is of the second life", async (name, nth) => {
    const keys: [string, number][] = [];
    const under = opened({
      eraseKeys: (tombstones) => {
        for (const { entity, seq } of tombstones) keys.push([entity, seq]);
      },
    });
    const last = await live(under);
    await under.erase(alice);
    await under.checkpoint();
    receipt(await under.append({ ...note(alice, "second 4be1"), newLife: true }));
    keys.length = 0;
    await under.crashAt(name, () => void under.delete(alice), { nth });
    under.start();
    const erasure = await under.erase(alice, { session: 9 });
    expect(erasure).toMatchObject({ seq: last + 3, from: last + 2, to: last + 2 });
    expect(under.filesWith("second 4be1")).toEqual([]);
    await checkErased(under);
    for (const key of keys) expect(key).toEqual([alice, last + 3]);
  });

  it("P5 P6: a crash after a crash, at each stage, loses nothing", async () => {
    const under = opened();
    await live(under);
    const stages = ["erasure:begun", "erasure:counted", "erase:half-overwritten", "erasure:overwritten"];
    stages.push(
      "partition:extents-forgotten",
      "partition:ids-forgotten",
      "erasure:forgotten",
      "partition:scrub-committed",
    );
    for (const [i, name] of stages.entries()) {
      if (i === 0) await under.crashAt(name, () => void under.delete(alice));
      else await under.crashAt(name, () => under.start());
    }
    under.start();
    await checkErased(under);
  });

  it("P5 P6: a partition that is lost in the middle is made anew, and the erasure goes on", async () => {
    for (const name of ["erasure:counted", "erase:half-overwritten", "erasure:overwritten", "erasure:forgotten"]) {
      const under = opened();
      await live(under);
      await under.crashAt(name, () => void under.delete(alice), { survival: "everything" });
      under.startWithEmptyPartition();
      await checkErased(under);
    }
  });

  it("P5 P6: a new life whose first checkpoint is cut off does not keep the shard from opening", async () => {
    for (const name of ["partition:entities-durable", "partition:ids-durable"]) {
      const under = opened();
      const last = await live(under);
      // The record of the erasure is still there when the new life begins.
      await under.crashAt("erasure:scrubbed", () => void under.delete(alice));
      under.start();
      under.failAt("partition:ids-durable", full());
      await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
      await under.crash();
      under.start();
      await under.until(() => under.crashPoints.filter((point) => point === "erasure:scrubbed").length > 1);
      const begun = under.append({ ...note(alice, "new"), newLife: true });
      await under.crashAt(name, () => under.shard.requestCheckpoint(), { survival: "everything" });
      void begun;
      under.start();
      await noErasures(under);
      expect(under.shard.state).toBe("open");
      await under.erase(alice, { session: 9 });
      expect(brief(await under.events(alice)).length).toBe(1);
      expect(last).toBeGreaterThan(0);
      await checkAgainstLog(under);
    }
  });

  it("P5 P6: a clean stop in the middle of each stage answers who waits, and the next start goes on", async () => {
    const stages = [
      "erasure:begun",
      "erasure:counted",
      "erase:half-overwritten",
      "erasure:forgotten",
      "partition:scrub-committed",
    ];
    for (const stage of stages) {
      const under = opened();
      await live(under);
      const asked = under.delete(alice);
      await under.until(() => under.crashPoints.includes(stage));
      const closing = under.shard.close();
      const reply = await asked;
      if (reply.kind === "error") expect(reply.error.code).toBe("SHARD_STOPPED");
      await closing;
      under.start();
      await checkErased(under);
    }
  });
});

const full = () => new HeddleError("DISK_FULL", { shard: 0, path: "/partition" });

describe("P6 P8: an erasure on a disk that fails", () => {
  it.each(["erasure:begun", "erasure:counted", "erasure:overwritten", "erasure:forgotten"])(
    "P5 P6: the log fails at %s: who waits is told, the shard recovers, and the erasure goes on by itself",
    async (stage) => {
      const under = opened();
      await live(under);
      const deleted = under.delete(alice);
      await under.until(() => under.crashPoints.includes(stage));
      under.disk.failNextSync();
      const other = under.append(credit(bob, 1));
      expect(failure(await other)).toMatchObject({ retryable: true });
      const reply = await deleted;
      expect(reply.kind === "value" || reply.kind === "error").toBe(true);
      await under.until(() => under.shard.state === "open");
      await checkErased(under);
    },
  );

  it.each([
    "partition:entities-durable",
    "partition:filter-durable",
    "partition:ids-forgotten",
    "partition:ids-durable",
    "partition:scrub-committed",
  ])(
    "P6 P8: the partition's disk is full at %s: who waits is told, it is tried again later, nothing is lost",
    async (place) => {
      const under = opened();
      await live(under);
      const deleted = under.delete(alice);
      await under.turns(1);
      under.failAt(place, full());
      expect(failure(await deleted)).toMatchObject({ code: "DISK_FULL", retryable: true });
      expect(under.shard.state).toBe("open");
      receipt(await under.append(credit(bob, 1)));
      expect(failure(await under.get(alice, "Account")).code).toBe("ERASED");
      under.advance(3_000);
      under.shard.tick();
      await checkErased(under);
    },
  );

  it("P6 P8: the log's disk is full for the erasure's journal: the log goes on, and it is tried again", async () => {
    const under = opened();
    await live(under);
    const deleted = under.delete(alice);
    await under.until(() => under.crashPoints.includes("erasure:begun"));
    under.disk.setFreeBytes(0);
    expect(failure(await deleted)).toMatchObject({ code: "DISK_FULL", retryable: true });
    expect(under.shard.state).toBe("open");
    await under.turns(2);
    under.disk.setFreeBytes(1 << 30);
    under.shard.tick();
    await checkErased(under);
  });

  it("P8: on a shard without room a delete is refused at once, also for an erasure under way", async () => {
    const under = opened();
    await live(under);
    under.disk.setFreeBytes(0);
    expect(failure(await under.delete(alice)).code).toBe("DISK_FULL");
    await under.until(() => under.shard.state === "full");
    expect(failure(await under.delete(alice)).code).toBe("DISK_FULL");
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 16 });
  });
});
