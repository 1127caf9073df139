// Failing disks: a write or sync that fails (P2, P5) and a disk that runs full (P8). The shard recovers in place.
//
// Method: the simulated disk fails once, or has no room; calls that were answered with a failure are sent again as the
// SDK does. What a failed sync leaves on the platter is varied by a power cut afterwards.
import { HeddleError } from "@heddle/kernel";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, debit } from "./bank.spec-support.ts";
import {
  brief,
  closeAll,
  failure,
  openShard,
  overridden,
  receipt,
  rejected,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const recovered = (under: ShardUnderTest) => under.until(() => under.shard.state === "open");

describe("P2: a sync or write that fails", () => {
  for (const [what, fail] of Object.entries({
    "a failed sync": (under: ShardUnderTest) => under.disk.failNextSync(),
    "a failed write": (under: ShardUnderTest) => under.disk.failNextWrite(),
  })) {
    it(`P2: ${what} acknowledges nothing of its group, nor of the one that fills behind it`, async () => {
      const under = openShard(bank);
      receipt(await under.append(credit(alice, 10)));
      fail(under);
      under.disk.holdSyncs();
      const asked = [
        ...under.turn(() => [
          under.append(credit(alice, 1)),
          under.append(debit(alice, 99)),
          under.get(alice, "Account"),
        ]),
        under.append(credit(alice, 2)),
        under.append(credit(alice, 1), { call: 2, retry: true }),
      ];
      under.disk.releaseSyncs();
      for (const one of asked) {
        expect(failure(await one)).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
      }
      await recovered(under);
      expect(under.states).toEqual(["open", "recovering", "open"]);
    });

    it(`P4: after ${what} the same calls take effect once, whether the group had reached the disk or not`, async () => {
      for (const survival of [undefined, "nothing", "some", "everything"] as const) {
        const under = openShard(bank);
        receipt(await under.append(credit(alice, 10), { call: 1 }));
        fail(under);
        const asked = under.turn(() => [
          under.append(credit(alice, 1), { call: 2 }),
          under.append({ ...credit(bob, 5), id: "bob-5" }, { call: 3 }),
        ]);
        for (const one of asked) failure(await one);
        await recovered(under);
        if (survival !== undefined) {
          await under.crash(survival);
          under.start();
        }
        const again = receipt(await under.append(credit(alice, 1), { call: 2, retry: true }));
        expect(again.seq).toBe(2);
        receipt(await under.append({ ...credit(bob, 5), id: "bob-5" }, { call: 3, retry: true }));
        expect(receipt(await under.append({ ...credit(bob, 5), id: "bob-5" }, { session: 2 })).duplicate).toBe(true);
        expect(await under.state(alice, "Account")).toEqual({ state: { balance: 11, events: 2 }, seq: 2 });
        expect(await under.state(bob, "Account")).toEqual({ state: { balance: 5, events: 1 }, seq: 1 });
        expect(under.logEntries()).toHaveLength(3);
      }
    });
  }

  it("P2: what the failed group had decided is seen by nobody: reads during the recovery wait and tell what is durable", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10)));
    under.disk.failNextWrite();
    expect(failure(await under.append(debit(alice, 10))).code).toBe("SHARD_STOPPED");
    expect(under.shard.state).toBe("recovering");
    const read = under.get(alice, "Account");
    const append = under.append(debit(alice, 10));
    expect(read.reply).toBeUndefined();
    expect(value(await read)).toEqual({ state: { balance: 10, events: 1 }, seq: 1 });
    expect(receipt(await append).seq).toBe(2);
  });

  it("P5: it recovers in place from its last checkpoint, with sessions and ids, while the partition stays open", async () => {
    const under = openShard(bank);
    receipt(await under.append({ ...credit(alice, 10), id: "first" }, { session: 4, call: 1 }));
    await under.checkpoint();
    receipt(await under.append({ ...credit(alice, 1), id: "second" }, { session: 4, call: 2 }));
    under.disk.failNextSync();
    failure(await under.append(credit(bob, 1)));
    await recovered(under);
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 11, events: 2 }, seq: 2 });
    expect(receipt(await under.append({ ...credit(alice, 10), id: "first" }, { session: 5 })).duplicate).toBe(true);
    expect(receipt(await under.append({ ...credit(alice, 1), id: "second" }, { session: 4, call: 2 })).duplicate).toBe(
      true,
    );
    await under.checkpoint();
    await under.restart();
    expect(brief(await under.events(alice))).toHaveLength(2);
  });

  it("P5: a failure while a checkpoint runs lets the checkpoint end before the shard recovers", async () => {
    const under = openShard(bank);
    for (let i = 0; i < 20; i++) receipt(await under.append(credit(`account/user-${i}`, 1)));
    under.shard.requestCheckpoint();
    under.disk.failNextSync();
    failure(await under.append(credit(alice, 1)));
    await recovered(under);
    expect(under.shard.stats().checkpoints).toBe(1);
    for (let i = 0; i < 20; i++) expect(await under.state(`account/user-${i}`, "Account")).toMatchObject({ seq: 1 });
  });

  it("a shard that cannot recover stops, answers everything, and says why", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.disk.failNextSync();
    under.disk.holdSyncs();
    const asked = under.append(credit(alice, 2));
    under.disk.returnNextSync();
    failure(await asked);
    // The recovery's own sync fails too.
    under.disk.failNextSync();
    const waiting = under.get(alice, "Account");
    expect(failure(await waiting)).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
    expect(under.shard.stopReason).toContain("could not recover");
    expect(failure(await under.append(credit(alice, 2))).code).toBe("SHARD_STOPPED");
    await under.shard.close();
    under.start();
    expect(await under.state(alice, "Account")).toMatchObject({ seq: expect.any(Number) });
  });

  it("P2: a failure while it closes is recovered from first: the clean end is true", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.disk.holdSyncs();
    under.disk.failNextSync();
    const asked = under.append(credit(alice, 2));
    const closing = under.shard.close();
    under.disk.releaseSyncs();
    failure(await asked);
    await closing;
    under.start();
    expect(receipt(await under.append(credit(alice, 2), { call: 2, retry: true })).seq).toBe(2);
    expect(brief(await under.events(alice))).toHaveLength(2);
  });
});

describe("P8: a full disk", () => {
  it("P8: refuses appends with DISK_FULL, serves reads of what is durable, and goes on when there is room", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10), { call: 1 }));
    receipt(await under.append({ ...credit(bob, 3), id: "bob-3" }, { call: 2 }));
    under.disk.setFreeBytes(100);
    const [first, second] = under.turn(() => [
      under.append(debit(alice, 10), { call: 3 }),
      under.append(debit(alice, 10), { call: 4 }),
    ]);
    expect(failure(await first)).toMatchObject({
      code: "DISK_FULL",
      retryable: true,
      facts: { shard: 0, path: "/log" },
    });
    // The second was a rejection that had seen the first: it cannot be told either.
    expect(failure(await second).code).toBe("DISK_FULL");
    await under.until(() => under.shard.state === "full");
    const log = under.logEntries();

    expect(failure(await under.append(credit(alice, 1))).code).toBe("DISK_FULL");
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 10, events: 1 }, seq: 1 });
    expect(brief(await under.events(alice))).toHaveLength(1);
    expect(receipt(await under.append(credit(alice, 10), { call: 1, retry: true })).duplicate).toBe(true);
    expect(receipt(await under.append({ ...credit(bob, 3), id: "bob-3" }, { session: 3 })).duplicate).toBe(true);
    expect(under.logEntries()).toEqual(log);

    // Looked for once a second; not taken for room before there is a good deal of it.
    under.advance(1_000);
    under.shard.tick();
    expect(under.shard.state).toBe("full");
    under.disk.setFreeBytes(1 << 30);
    under.shard.tick();
    expect(under.shard.state).toBe("full");
    under.advance(1_000);
    under.shard.tick();
    expect(under.shard.state).toBe("open");
    expect(receipt(await under.append(debit(alice, 10), { call: 3, retry: true }))).toMatchObject({
      seq: 2,
      duplicate: false,
    });
    expect(rejected(await under.append(debit(alice, 10), { call: 4, retry: true })).code).toBe("INVARIANT_VIOLATED");
    await under.restart();
    expect(brief(await under.events(alice))).toHaveLength(2);
  });

  it.each(["nothing", "some", "everything"] as const)(
    "P8: runs full at any byte of a group, and with %s unsynced surviving loses nothing that it acknowledged",
    async (survival) => {
      for (const room of [0, 1, 23, 24, 60, 64, 65, 100, 200, 400, 1_000]) {
        const under = openShard(bank, { limits: { segmentBytes: 1_024 } });
        const acknowledged: number[] = [];
        for (let call = 1; call <= 10; call++)
          acknowledged.push(receipt(await under.append(credit(alice, call), { call })).seq);
        under.disk.setFreeBytes(room);
        let call = 11;
        for (; under.shard.state === "open" && call < 40; call++) {
          const reply = await under.append(credit(alice, call), { call });
          if (reply.kind !== "receipt") break;
          acknowledged.push(receipt(reply).seq);
        }
        await under.until(() => under.shard.state === "full");
        await under.crash(survival);
        under.disk.setFreeBytes(1 << 30);
        under.start();
        expect(receipt(await under.append(credit(alice, call), { call, retry: true })).seq).toBe(
          acknowledged.length + 1,
        );
        const amounts = brief(await under.events(alice)).map(([, , payload]) => (payload as { amount: number }).amount);
        expect(amounts).toEqual([...acknowledged.map((_, i) => i + 1), call]);
      }
    },
  );

  it("P8: closes cleanly while it is full, and opens again", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10)));
    under.disk.setFreeBytes(0);
    failure(await under.append(credit(alice, 10)));
    await under.until(() => under.shard.state === "full");
    await under.restart();
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 1 });
    under.disk.setFreeBytes(1 << 30);
    expect(receipt(await under.append(credit(alice, 10))).seq).toBe(2);
  });
});

describe("a disk that cannot be read at one place", () => {
  it("P7: refuses the calls that need that place, and goes on with others", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 10)));
    receipt(await under.append(credit(bob, 10)));
    await under.crash("everything");
    const [file] = under.disk.list("/log");
    // Behind the header of alice's entry: its own checksum finds it, the record's is not looked at by a single read.
    under.start();
    under.disk.flipBit(`/log/${file}`, 64 + 24 + 60, 3);
    expect(failure(await under.get(alice, "Account")).code).toBe("LOG_DAMAGED");
    expect(failure(await under.append(credit(alice, 1))).code).toBe("LOG_DAMAGED");
    expect(failure(await under.history(alice)).code).toBe("LOG_DAMAGED");
    expect(await under.state(bob, "Account")).toMatchObject({ seq: 1 });
    expect(receipt(await under.append(credit(bob, 1))).seq).toBe(2);
    expect(under.shard.state).toBe("open");
  });
});

describe("a fault of the shard's own", () => {
  it("P5: stops it: nothing decided becomes durable, no checkpoint is written from its memory, everything is answered", async () => {
    let isFaulty = false;
    const under = openShard(bank, {
      wrapPartition: (partition) =>
        overridden(partition, "head", (entity: string) => {
          if (isFaulty) throw new TypeError("a fault");
          return partition.head(entity);
        }),
    });
    const users = under.turn(() => Array.from({ length: 600 }, (_, i) => under.append(credit(`account/user-${i}`, 1))));
    for (const reply of users) receipt(await reply);
    const log = under.logEntries();
    under.shard.requestCheckpoint();
    under.disk.holdSyncs();
    const asked = [under.append(credit(bob, 1)), under.append(credit(alice, 1))];
    isFaulty = true;
    const faulty = under.append(credit("account/new", 1));
    const after = [under.append(credit(bob, 1)), under.get(bob, "Account"), under.history(bob)];
    for (const one of [...asked, faulty, ...after]) {
      expect(failure(await one)).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
    }
    expect(under.shard.stopReason).toContain("a fault");
    isFaulty = false;
    under.disk.releaseSyncs();
    await under.shard.close();
    expect(under.states.at(-1)).toBe("stopped");
    // The group that was on its way when the fault came arrives; the one that filled does not.
    expect(under.logEntries()).toHaveLength(log.length + 1);
    await under.crash("nothing");
    under.start();
    expect(under.partition.coveredPosition).toBe(0);
    expect(under.partition.cleanEnd).toBeUndefined();
    expect(await under.state("account/user-5", "Account")).toMatchObject({ seq: 1 });
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 0 });
  });

  it("P8: stops it with frames in its mailbox: they are answered too", async () => {
    let isFaulty = false;
    const under = openShard(bank, {
      limits: { groupBytesMax: 1 },
      wrapPartition: (partition) =>
        overridden(partition, "head", (entity: string) => {
          if (isFaulty) throw new TypeError("a fault");
          return partition.head(entity);
        }),
    });
    under.disk.holdSyncs();
    const asked = ["a", "b", "c", "d", "e"].map((name) => under.append(credit(`account/${name}`, 1)));
    expect(under.shard.stats().mailboxDepth).toBe(3);
    isFaulty = true;
    under.disk.releaseSyncs();
    const replies = await Promise.all(asked);
    expect(replies.map(({ kind }) => kind)).toEqual(["receipt", "error", "error", "error", "error"]);
    expect(under.shard.state).toBe("stopped");
    expect(failure(await under.get(alice, "Account")).code).toBe("SHARD_STOPPED");
  });
});

describe("what cannot be read or recorded", () => {
  it("P7: a disk that gives back nothing at one place concerns those who ask for it", async () => {
    let isUnreadable = false;
    const under = openShard(bank, { isUnreadable: () => isUnreadable });
    receipt(await under.append(credit(alice, 10), { call: 1 }));
    await under.crash("everything");
    under.start();
    isUnreadable = true;
    expect(failure(await under.get(alice, "Account")).code).toBe("LOG_DAMAGED");
    expect(failure(await under.append(credit(alice, 10), { call: 1, retry: true })).code).toBe("LOG_DAMAGED");
    expect(receipt(await under.append(credit(bob, 10))).seq).toBe(1);
    isUnreadable = false;
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 1 });
  });

  it("P5: a clean stop that cannot be recorded is reported, and the next start replays", async () => {
    const under = openShard(bank, {
      wrapPartition: (partition) =>
        overridden(partition, "close", async (options?: { cleanEnd?: number }) => {
          await partition.close();
          if (options?.cleanEnd !== undefined) throw new HeddleError("DISK_FULL", { shard: 0, path: "/partition" });
        }),
    });
    receipt(await under.append(credit(alice, 10)));
    await under.shard.close();
    expect(under.reports.at(-1)).toMatchObject({ level: "warn", message: "the clean stop could not be recorded" });
    under.start();
    expect(under.partition.cleanEnd).toBeUndefined();
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 1 });
  });
});
