// P5: a crash at any instruction loses nothing acknowledged and invents nothing; what comes back is what was.
//
// Method: a load of appends, commands and ids over several entities, cut at every named place on the way of a group and
// of a checkpoint, with everything, some, or nothing of what was unsynced surviving. Afterwards every unanswered call
// is sent again, as the SDK does, and all is held against a list kept by the test. Torn and damaged logs are tested in
// event-log, kills of real processes in test/crash, and random orders of all of this in model.int.spec.ts.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import type { AppendFields, Receipt } from "@heddle/protocol/internal";
import type { Survival } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, debit, note } from "./bank.spec-support.ts";
import {
  type Asked,
  brief,
  closeAll,
  failure,
  openShard,
  receipt,
  type ShardUnderTest,
  value,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const bankWithNewFolds = defineContext("bank", {
  aggregates: [
    defineAggregate("Account", {
      version: 2,
      initial: () => ({ balance: 0 }),
      events: {
        Credited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance + e.amount })),
        Debited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance - e.amount })),
      },
    }),
  ],
});

const entities = [alice, bob, "account/carol", "account/dave"];

interface Sent {
  readonly fields: AppendFields;
  readonly call: number;
  asked: Asked;
}

/** Appends that all have to be accepted: credits and notes, every fifth with an id. */
class Load {
  readonly sent: Sent[] = [];
  readonly #under: ShardUnderTest;

  constructor(under: ShardUnderTest) {
    this.#under = under;
  }

  send(count: number): void {
    this.#under.turn(() => {
      for (let i = 0; i < count; i++) {
        const n = this.sent.length + 1;
        const entity = entities[n % entities.length]!;
        const fields = n % 3 === 0 ? note(entity, `text ${n}`, "more") : credit(entity, n, 1);
        const withId = n % 5 === 0 ? { ...fields, id: `id-${n}` } : fields;
        this.sent.push({ fields: withId, call: n, asked: this.#under.append(withId, { call: n }) });
      }
    });
  }

  async answered(): Promise<void> {
    for (const { asked } of this.sent) receipt(await asked);
  }

  /** Sends everything again, as a client does that lost its connection; gives the receipts. */
  async repeat(): Promise<Receipt[]> {
    const receipts: Receipt[] = [];
    for (const one of this.sent) {
      const before = one.asked.reply;
      const again = receipt(await this.#under.append(one.fields, { call: one.call, retry: true }));
      // What was acknowledged is there, and was acknowledged truly.
      if (before !== undefined) expect(again).toEqual({ ...receipt(before), duplicate: true });
      receipts.push(again);
    }
    return receipts;
  }

  /** Everything sent is there once, in order, and states are its fold. */
  async check(): Promise<void> {
    for (const entity of entities) {
      const events = this.sent.filter(({ fields }) => fields.entity === entity).flatMap(({ fields }) => fields.events);
      const expected = events.map(({ type, payload }, i) => [i + 1, type, payload]);
      expect(brief(await this.#under.events(entity))).toEqual(expected);
      const backward = value(await this.#under.history(entity, { direction: "backward" }));
      expect(brief(backward as never)).toEqual(expected.toReversed());
      const amounts = events.flatMap(({ payload }) => (payload as { amount?: number }).amount ?? []);
      const texts = events.flatMap(({ payload }) => (payload as { text?: string }).text ?? []);
      const balance = amounts.reduce((sum, amount) => sum + amount, 0);
      expect(await this.#under.state(entity, "Account")).toEqual({
        state: { balance, events: amounts.length },
        seq: events.length,
      });
      expect(await this.#under.state(entity, "Notes")).toEqual({ state: { texts }, seq: events.length });
    }
  }
}

const groupPoints = [
  "log:segment-created",
  "log:before-write",
  "log:on-its-way",
  "log:after-sync",
  "shard:before-reply",
  "shard:after-reply",
];
const checkpointPoints = [
  "checkpoint:begun",
  "checkpoint:before-commit",
  "partition:entities-durable",
  "partition:filter-durable",
  "partition:ids-durable",
  "partition:covered",
  "checkpoint:after-commit",
];
const survivals: Survival[] = ["nothing", "some", "everything"];

describe("P5: a crash at any instruction", () => {
  it.each(groupPoints.flatMap((point) => survivals.map((survival) => [point, survival] as const)))(
    "P5: at %s, with %s of the unsynced data left: nothing acknowledged is lost, nothing is there twice",
    async (point, survival) => {
      const under = openShard(bank, { limits: { segmentBytes: 2_048 } });
      const load = new Load(under);
      load.send(30);
      await load.answered();
      await under.checkpoint();
      load.send(40);
      await load.answered();
      // Long enough for the next group to begin a segment.
      load.send(40);
      await under.turns(1);
      await under.crashAt(point, () => load.send(10), { survival });
      under.start();
      await load.repeat();
      await load.check();
      await under.restart();
      await load.check();
    },
  );

  it.each(checkpointPoints)(
    "P5: at %s, while appends go on: heads, history, ids and states are right afterwards",
    async (point) => {
      for (const nth of [1, 2]) {
        const under = openShard(bank);
        const load = new Load(under);
        load.send(30);
        await load.answered();
        if (nth === 2) await under.checkpoint();
        load.send(20);
        await load.answered();
        await under.crashAt(point, () => {
          under.shard.requestCheckpoint();
          load.send(20);
        });
        under.start();
        // Read before anything is written: what the partition has and the covered position does not is passed over.
        const beforeRepeats = await Promise.all(entities.map((entity) => under.events(entity)));
        await load.repeat();
        await load.check();
        for (const [i, events] of beforeRepeats.entries()) {
          expect((await under.events(entities[i]!)).slice(0, events.length)).toEqual(events);
        }
        await under.checkpoint();
        await under.crash();
        under.start();
        await load.check();
      }
    },
  );

  it("P5: a partition that is newer than the position it covers gives the same states as one that is not", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1, 2)));
    receipt(await under.append({ ...credit(alice, 3), id: "x" }));
    receipt(await under.append(note(bob, "a")));
    await under.crashAt("partition:ids-durable", () => under.shard.requestCheckpoint());
    under.start();
    expect(under.partition.coveredPosition).toBe(0);
    expect(under.partition.head(alice)).toMatchObject({ seq: 3 });
    // All of alice stands in the partition already; the tail brings it again.
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 6, events: 3 }, seq: 3 });
    expect(receipt(await under.append({ ...credit(alice, 3), id: "x" }, { session: 2 }))).toMatchObject({
      seq: 3,
      duplicate: true,
    });
    expect(receipt(await under.append(debit(alice, 6))).seq).toBe(4);
    await under.restart();
    expect(brief(await under.events(alice))).toHaveLength(4);
    expect(await under.state(bob, "Notes")).toEqual({ state: { texts: ["a"] }, seq: 1 });
  });

  it("P5: with the partition gone, everything comes back from the log", async () => {
    const under = openShard(bank);
    const load = new Load(under);
    load.send(60);
    await load.answered();
    await under.restart();
    const other = openShard(bank, { disk: under.disk.copy() });
    const again = new Load(other);
    again.sent.push(...load.sent);
    expect(other.partition.coveredPosition).toBe(0);
    await again.repeat();
    await again.check();
  });

  it("P5: a log that ends before what the partition knows to be durable is refused, not taken for a new one", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    await under.shard.close();
    under.disk.cutFile(`/log/${under.disk.list("/log")[0]}`, 64);
    let thrown: unknown;
    try {
      under.start();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "LOG_DAMAGED" });
  });

  it("P5: a partition that points to another entity's events is refused for that entity, never read as its own", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(bob, 1)));
    await under.checkpoint();
    const earlier = under.disk.copy();
    receipt(await under.append(credit(alice, 5)));
    await under.crashAt("partition:ids-durable", () => under.shard.requestCheckpoint());
    // The log of before the crash is put beside the partition of after it, and others write where alice's event stood.
    for (const file of earlier.list("/log")) under.disk.writeFile(`/log/${file}`, earlier.readFile(`/log/${file}`));
    under.start(bankWithNewFolds);
    receipt(await under.append(credit(bob, 7)));
    expect(failure(await under.append(debit(alice, 1))).code).toBe("PARTITION_DAMAGED");
    expect(failure(await under.get(alice, "Account")).code).toBe("PARTITION_DAMAGED");
    expect(failure(await under.history(alice)).code).toBe("PARTITION_DAMAGED");
    expect(failure(await under.history(alice, { direction: "backward" })).code).toBe("PARTITION_DAMAGED");
    expect(under.shard.state).toBe("open");
    expect(await under.state(bob, "Account")).toEqual({ state: { balance: 8 }, seq: 2 });
  });

  it("P5: in mode os a checkpoint writes nothing before the log is synced, so that it never outlives it", async () => {
    const under = openShard(bank, { durability: "os" });
    receipt(await under.append(credit(alice, 5)));
    under.disk.holdSyncs();
    under.shard.requestCheckpoint();
    await under.until(() => under.disk.syncsWaiting === 1);
    await under.turns(50);
    expect(under.partition.head(alice)).toBeUndefined();
    under.disk.releaseSyncs();
    await under.until(() => under.shard.stats().checkpoints === 1);
    await under.crash("nothing");
    under.start();
    expect(await under.state(alice, "Account")).toMatchObject({ seq: 1 });
  });

  it("P5: in mode os a failed sync stops the shard rather than letting the partition outlive the log", async () => {
    const under = openShard(bank, { durability: "os" });
    receipt(await under.append(credit(alice, 5)));
    under.disk.failNextSync();
    under.shard.requestCheckpoint();
    await under.until(() => under.shard.state === "stopped");
    expect(under.partition.head(alice)).toBeUndefined();
  });
});

describe("P5: opening", () => {
  it("P5: after a clean stop nothing is replayed", async () => {
    const under = openShard(bank);
    const load = new Load(under);
    load.send(30);
    await load.answered();
    await under.restart();
    const opened = under.reports.filter(({ message }) => message === "shard is open").at(-1);
    expect(opened!.facts).toMatchObject({ replayedRecords: 0, cutBytes: 0 });
    expect(under.partition.cleanEnd).toBe(opened!.facts["logEnd"]);
    await load.check();
  });

  it("P5: after a crash only what follows the last checkpoint is replayed", async () => {
    const under = openShard(bank);
    const load = new Load(under);
    load.send(30);
    await load.answered();
    await under.checkpoint();
    load.send(3);
    await load.answered();
    await under.crash();
    under.start();
    expect(under.partition.cleanEnd).toBeUndefined();
    expect(under.reports.at(-1)!.facts).toMatchObject({ replayedRecords: 1 });
    await load.check();
  });

  it("P5: a replay of calls that the partition knows already does not walk over each session's window for each of them", async () => {
    const under = openShard(bank);
    const { length } = Array.from({ length: 30_000 });
    for (let at = 0; at < length; at += 5_000) {
      const asked = under.turn(() =>
        Array.from({ length: 5_000 }, (_, i) => under.append(credit(entities[i % 4]!, 1))),
      );
      for (const reply of asked) receipt(await reply);
    }
    await under.crashAt("partition:ids-durable", () => under.shard.requestCheckpoint());
    under.start();
    expect(under.partition.coveredPosition).toBe(0);
    const session = [...under.partition.sessions()][0]!;
    expect(session.calls.length / 2).toBe(8_192);
    await under.checkpoint();
    // The window holds what it held, neither more nor in another order.
    expect([...under.partition.sessions()][0]!.calls).toEqual(session.calls);
  });
});

describe("close", () => {
  it("P2: close answers what was decided when it is durable, refuses what comes later, and records the end", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const decided = under.append(credit(alice, 1));
    const filling = under.append(credit(alice, 2));
    const closing = under.shard.close();
    const late = under.append(credit(alice, 3));
    const read = under.get(alice, "Account");
    expect(failure(late.reply!)).toMatchObject({ code: "SHARD_STOPPED", retryable: true });
    expect(failure(read.reply!).code).toBe("SHARD_STOPPED");
    await under.turns();
    expect(decided.reply).toBeUndefined();
    under.disk.releaseSyncs();
    await closing;
    expect(receipt(decided.reply!).seq).toBe(1);
    expect(receipt(filling.reply!).seq).toBe(2);
    expect(under.states.at(-1)).toBe("closed");
    under.start();
    expect(under.reports.at(-1)!.facts).toMatchObject({ replayedRecords: 0 });
    expect(brief(await under.events(alice))).toHaveLength(2);
  });

  it("closing again waits for the same end, and frames after it are refused", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    await Promise.all([under.shard.close(), under.shard.close()]);
    expect(failure(await under.get(alice, "Account")).code).toBe("SHARD_STOPPED");
  });

  it("P5: closing while a checkpoint runs lets it end, and covers what came after it too", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    under.shard.requestCheckpoint();
    receipt(await under.append(credit(alice, 2)));
    await under.shard.close();
    expect(under.shard.stats().checkpoints).toBe(2);
    under.start();
    expect(under.reports.at(-1)!.facts).toMatchObject({ replayedRecords: 0 });
  });

  it("P5: a thread that is abandoned writes nothing more: neither its open group nor its running checkpoint", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    const logged = under.logEntries();
    under.shard.requestCheckpoint();
    under.turn(() => {
      under.append(credit(alice, 2));
      void under.shard.abandon();
    });
    await under.turns(20);
    expect(under.logEntries()).toEqual(logged);
    await under.crash("everything");
    under.start();
    expect(under.partition.coveredPosition).toBe(0);
    expect(brief(await under.events(alice))).toHaveLength(1);
  });
});
