// Checkpoints: a consistent cut written while appends go on (C1), whole in the end (C2), and harmless when it fails (C3).
//
// Method: the partition is read beside the shard that writes it. Crashes in the middle are in recovery.int.spec.ts.
import { command, defineAggregate, defineContext, event } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import type { Partition } from "@heddle/partition/internal";
import { decodeValue } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, debit, note } from "./bank.spec-support.ts";
import {
  brief,
  closeAll,
  failure,
  openShard,
  overridden,
  receipt,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const users = (count: number) => Array.from({ length: count }, (_, i) => `account/user-${(i * 7919) % count}`);

/** A state as its snapshot says it. */
function snapshotOf(partition: Partition, entity: string, aggregate: string) {
  const found = partition.snapshots(entity).find((snapshot) => snapshot.aggregate === aggregate);
  return found === undefined ? undefined : { seq: found.seq, state: decodeValue(found.state) };
}

async function appendToAll(under: ShardUnderTest, entities: readonly string[]): Promise<void> {
  const asked = under.turn(() => entities.map((entity) => under.append(credit(entity, 1))));
  for (const reply of asked) receipt(await reply);
}

describe("P5: a checkpoint is a consistent cut", () => {
  it("P5: entities that change while it runs are written as they were when it began", async () => {
    const under = openShard(bank);
    const entities = users(1_000);
    await appendToAll(under, entities);
    await appendToAll(under, entities.slice(0, 500));
    const covering = under.shard.stats().logBytes;
    under.shard.requestCheckpoint();
    // Changed before, while, and after their turn to be written comes.
    for (let i = 0; under.shard.stats().checkpoints === 0; i++) {
      const entity = entities[(i * 13) % entities.length]!;
      const asked = under.append(i % 2 === 0 ? credit(entity, 100) : note(entity, "changed"));
      await under.turns(1);
      void asked;
    }
    expect(under.partition.coveredPosition).toBe(covering);
    for (const [i, entity] of entities.entries()) {
      const events = i < 500 ? 2 : 1;
      expect(under.partition.head(entity)).toMatchObject({ seq: events });
      expect([...under.partition.extents(entity, 1, "forward")]).toHaveLength(events);
      expect(snapshotOf(under.partition, entity, "Account")).toEqual({
        seq: events,
        state: { balance: events, events },
      });
      expect(snapshotOf(under.partition, entity, "Notes")).toEqual({ seq: events, state: { texts: [] } });
    }
  });

  it("P4: ids and sessions are written as they were when it began", async () => {
    const under = openShard(bank);
    receipt(await under.append({ ...credit(alice, 1), id: "before" }, { session: 5 }));
    under.shard.requestCheckpoint();
    const during = under.append({ ...credit(alice, 1), id: "during" }, { session: 5 });
    const newcomer = under.append(credit(alice, 1), { session: 6 });
    await under.until(() => under.shard.stats().checkpoints === 1);
    receipt(await during);
    receipt(await newcomer);
    expect([...under.partition.appendIds()].map(({ id }) => id)).toEqual(["before"]);
    const sessions = [...under.partition.sessions()];
    expect(sessions.map(({ session, calls }) => [session, calls.length / 2])).toEqual([[5, 1]]);
    await under.checkpoint();
    expect([...under.partition.appendIds()].map(({ id }) => id)).toEqual(["before", "during"]);
    expect([...under.partition.sessions()].map(({ calls }) => calls.length / 2)).toEqual([2, 1]);
  });

  it("P2: it begins when everything decided is durable, and frames wait until then", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const first = under.append(credit(alice, 1));
    const second = under.append(credit(alice, 2));
    under.shard.requestCheckpoint();
    const third = under.append(credit(alice, 4));
    await under.turns();
    expect(under.shard.stats().mailboxDepth).toBe(1);
    expect(under.crashPoints).not.toContain("checkpoint:begun");
    under.disk.releaseSyncs();
    for (const asked of [first, second, third]) receipt(await asked);
    await under.until(() => under.shard.stats().checkpoints === 1);
    expect(snapshotOf(under.partition, alice, "Account")).toEqual({ seq: 2, state: { balance: 3, events: 2 } });
  });

  it("it writes entities in the order of their keys, however they came", async () => {
    const put: string[] = [];
    const under = openShard(bank, {
      wrapPartition: (partition) =>
        intercepted(partition, (writer) => ({
          ...writer,
          putEntity: (...args: Parameters<typeof writer.putEntity>) => {
            put.push(args[0]);
            writer.putEntity(...args);
          },
        })),
    });
    await appendToAll(under, users(5_000));
    await under.checkpoint();
    expect(put).toHaveLength(5_000);
    expect(put).toEqual(put.toSorted());
  });

  it("an entity that slept has no state to write: its earlier snapshot stays, and the tail completes it", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    await under.checkpoint();
    receipt(await under.append(credit(alice, 2)));
    await under.crash();
    under.start();
    await under.checkpoint();
    expect(under.partition.head(alice)).toMatchObject({ seq: 2 });
    expect(snapshotOf(under.partition, alice, "Account")).toMatchObject({ seq: 1 });
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 3, events: 2 }, seq: 2 });
  });
});

describe("when checkpoints begin", () => {
  it("by bytes of log", async () => {
    const under = openShard(bank, { limits: { checkpointBytes: 4_000 } });
    while (under.shard.stats().checkpoints < 2) receipt(await under.append(credit(alice, 1)));
    expect(under.shard.stats().logBytes).toBeGreaterThan(2 * 4_000);
    expect(under.partition.coveredPosition).toBeGreaterThan(2 * 4_000);
  });

  it("by time, if anything changed", async () => {
    const under = openShard(bank, { limits: { checkpointIntervalMs: 10_000 } });
    receipt(await under.append(credit(alice, 1)));
    under.advance(9_999);
    under.shard.tick();
    await under.turns();
    expect(under.crashPoints).not.toContain("checkpoint:begun");
    under.advance(1);
    under.shard.tick();
    await under.until(() => under.shard.stats().checkpoints === 1);
    under.advance(60_000);
    under.shard.tick();
    await under.turns();
    expect(under.shard.stats().checkpoints).toBe(1);
  });
});

describe("P5: a checkpoint that fails", () => {
  const full = () => new HeddleError("DISK_FULL", { shard: 0, path: "/partition" });
  const places = ["partition:entities-durable", "partition:filter-durable", "partition:ids-durable"];

  it.each(places.flatMap((place) => ["reached the disk", "were dropped"].map((fate) => [fate, place] as const)))(
    "P5: loses nothing when its puts %s and it fails at %s: appends and reads go on, the next one writes it all",
    async (fate, place) => {
      let drops = fate === "were dropped";
      const nothing = {
        putEntity: () => {},
        putPackedHead: () => {},
        takeAppendIds: () => {},
        putSession: () => {},
        dropSession: () => {},
      };
      const under = openShard(bank, {
        limits: { checkpointIntervalMs: 10_000 },
        wrapPartition: (partition) => intercepted(partition, (writer) => (drops ? { ...writer, ...nothing } : writer)),
      });
      const entities = users(600);
      await appendToAll(under, entities);
      receipt(await under.append({ ...credit(alice, 1), id: "early" }, { session: 5 }));
      under.failAt(place, full());
      under.shard.requestCheckpoint();
      const asked = under.turn(() => entities.slice(0, 300).map((entity) => under.append(debit(entity, 1))));
      for (const reply of asked) receipt(await reply);
      await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
      expect(under.partition.coveredPosition).toBe(0);
      expect(under.shard.state).toBe("open");
      expect(under.states).toEqual(["open"]);

      receipt(await under.append(credit(entities[0]!, 5)));
      const expected = (i: number) => [1, ...(i < 300 ? [-1] : []), ...(i === 0 ? [5] : [])];
      const check = async () => {
        for (const i of [0, 1, 299, 300, 599]) {
          const amounts = expected(i);
          const balance = amounts.reduce((sum, amount) => sum + amount, 0);
          const { state } = await under.state(entities[i]!, "Account");
          expect(state).toEqual({ balance, events: amounts.length });
          const events = await under.events(entities[i]!);
          expect(events.map(([seq]) => seq)).toEqual(amounts.map((_, at) => at + 1));
          const backward = value(await under.history(entities[i]!, { direction: "backward" })) as never;
          expect(brief(backward)).toEqual(brief(events).toReversed());
        }
        const again = receipt(await under.append({ ...credit(alice, 1), id: "early" }, { session: 9 }));
        expect(again.duplicate).toBe(true);
      };
      await check();
      drops = false;
      under.advance(10_000);
      under.shard.tick();
      await under.until(() => under.shard.stats().checkpoints === 1);
      expect(under.partition.coveredPosition).toBe(under.shard.stats().logBytes);
      await check();
      await under.restart();
      expect(under.reports.at(-1)!.facts).toMatchObject({ replayedRecords: 0 });
      await check();
      const sessions = [...under.partition.sessions()].map(({ session }) => session);
      expect(sessions).toEqual([1, 5]);
    },
  );

  it("P5: loses nothing when the process dies after it failed", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.failAt("partition:entities-durable", full());
    under.shard.requestCheckpoint();
    await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
    receipt(await under.append(credit(alice, 2)));
    await under.crash();
    under.start();
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 3, events: 2 }, seq: 2 });
    await under.checkpoint();
    await under.restart();
    expect(brief(await under.events(alice))).toHaveLength(2);
  });

  it("P8: is tried again by time, not with every group; when the log is too far ahead, appends are refused and reads go on", async () => {
    const under = openShard(bank, { limits: { checkpointBytes: 2_000, checkpointIntervalMs: 10_000 } });
    const attempts = () => under.crashPoints.filter((name) => name === "checkpoint:begun").length;
    under.failAt("partition:entities-durable", full());
    let early = 0;
    for (; attempts() === 0; early++) receipt(await under.append(credit(bob, 1)));
    await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
    let refused: HeddleError | undefined;
    let accepted = 0;
    for (; accepted < 1_000 && refused === undefined; accepted++) {
      const reply = await under.append(credit(alice, 1));
      if (reply.kind === "error") refused = reply.error;
      await under.turns(2);
    }
    accepted--;
    expect(accepted).toBeGreaterThan(10);
    expect(attempts()).toBe(1);
    expect(refused).toMatchObject({ code: "DISK_FULL", retryable: true });
    expect(under.shard.stats().logBytes).toBeLessThan(5 * 2_000);
    expect(await under.state(alice, "Account")).toEqual({
      state: { balance: accepted, events: accepted },
      seq: accepted,
    });
    // What took effect is still known as such.
    expect(receipt(await under.append(credit(bob, 1), { call: 1, retry: true })).duplicate).toBe(true);
    expect(early).toBeGreaterThan(5);
    under.advance(10_000);
    under.shard.tick();
    await under.until(() => under.shard.stats().checkpoints === 1);
    expect(receipt(await under.append(credit(alice, 1))).seq).toBe(accepted + 1);
  });
});

describe("P8: a checkpoint that is slower than the log", () => {
  it("P8: holds frames back when the log is four checkpoints ahead, and lets them go on in order when it ends", async () => {
    const gate = Promise.withResolvers<void>();
    const under = openShard(bank, {
      limits: { checkpointBytes: 2_000 },
      wrapPartition: (partition) => intercepted(partition, (writer) => ({ ...writer, drained: () => gate.promise })),
    });
    const asked = [];
    for (let i = 0; i < 400; i++) {
      asked.push(under.append(credit(alice, i + 1)));
      await under.turns(1);
    }
    await under.turns(20);
    const { logBytes, mailboxDepth, waitingReplies } = under.shard.stats();
    expect(logBytes).toBeLessThan(5 * 2_000);
    expect(mailboxDepth).toBeGreaterThan(200);
    expect(waitingReplies).toBe(0);
    gate.resolve();
    const receipts = [];
    for (const reply of asked) receipts.push(receipt(await reply).seq);
    expect(receipts).toEqual(Array.from({ length: 400 }, (_, i) => i + 1));
    expect(brief(await under.events(alice)).map(([, , payload]) => payload)).toEqual(
      Array.from({ length: 400 }, (_, i) => ({ amount: i + 1 })),
    );
    await under.restart();
    expect(await under.state(bob, "Account")).toMatchObject({ seq: 0 });
  });
});

describe("P8: a partition that takes its time", () => {
  it("P8: is waited for in between: what waits to be put does not fill memory", async () => {
    let put = 0;
    let gate = Promise.withResolvers<void>();
    const under = openShard(bank, {
      wrapPartition: (partition) =>
        intercepted(partition, (writer) => ({
          ...writer,
          drained: () => gate.promise,
          putEntity: (...args: Parameters<typeof writer.putEntity>) => {
            put++;
            writer.putEntity(...args);
          },
        })),
    });
    await appendToAll(under, users(2_000));
    under.shard.requestCheckpoint();
    for (let last = 0; put < 2_000; last = put) {
      const { resolve } = gate;
      gate = Promise.withResolvers();
      resolve();
      await under.turns(20);
      expect(put - last).toBeLessThanOrEqual(250);
    }
    gate.resolve();
    await under.until(() => under.shard.stats().checkpoints === 1);
  });
});

describe("snapshots", () => {
  it("a state that cannot be encoded has no snapshot; the others of its entity have theirs", async () => {
    const Odd = defineAggregate("Odd", {
      version: 1,
      initial: (): { huge: bigint } => ({ huge: 0n }),
      events: { Grown: event(z.object({}), (s) => ({ huge: s.huge + 2n ** 70n })) },
      commands: { Grow: command(z.object({}), () => ({ type: "Grown", payload: {} })) },
    });
    const Fine = defineAggregate("Fine", {
      version: 1,
      initial: () => ({ n: 0 }),
      events: { Counted: event(z.object({}), (s) => ({ n: s.n + 1 })) },
    });
    const under = openShard(defineContext("odd", { aggregates: [Odd, Fine] }));
    const entity = "thing/x";
    receipt(await under.execute({ entity, aggregate: "Odd", command: "Grow", input: {} }));
    receipt(await under.append({ entity, aggregate: "Fine", events: [{ type: "Counted", payload: {} }] }));
    await under.restart();
    expect(under.partition.snapshots(entity).map(({ aggregate }) => aggregate)).toEqual(["Fine"]);
    expect(await under.state(entity, "Fine")).toEqual({ state: { n: 1 }, seq: 2 });
    // It cannot be sent either, and says so.
    expect(failure(await under.get(entity, "Odd")).code).toBe("DOMAIN_FAILED");
    receipt(await under.execute({ entity, aggregate: "Odd", command: "Grow", input: {} }));
  });
});

/** A partition whose checkpoints are written through something. */
function intercepted(
  partition: Partition,
  wrap: (writer: ReturnType<Partition["checkpoint"]>) => ReturnType<Partition["checkpoint"]>,
): Partition {
  return overridden(partition, "checkpoint", (covering: number) => wrap(bound(partition.checkpoint(covering))));
}

function bound(writer: ReturnType<Partition["checkpoint"]>): ReturnType<Partition["checkpoint"]> {
  return {
    putEntity: (...args) => writer.putEntity(...args),
    putPackedHead: (...args) => writer.putPackedHead(...args),
    takeAppendIds: (ids) => writer.takeAppendIds(ids),
    putAppendId: (...args) => writer.putAppendId(...args),
    putSession: (...args) => writer.putSession(...args),
    dropSession: (session) => writer.dropSession(session),
    forgetHistory: (...args) => writer.forgetHistory(...args),
    putTypeCount: (...args) => writer.putTypeCount(...args),
    putErasure: (...args) => writer.putErasure(...args),
    dropErasure: (entity) => writer.dropErasure(entity),
    putOpenTransactions: (open) => writer.putOpenTransactions(open),
    drained: () => writer.drained(),
    commit: () => writer.commit(),
  };
}
