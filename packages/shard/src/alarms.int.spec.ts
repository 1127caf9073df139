// Goal: every entity that wants to be woken is, when its time has come, whatever happened in between; and the index on disk
// says of each what its state says.
// Method: a kind of its own whose state is an alarm, over the simulated disk. How an alarm finds its time among many stands in
// timed-alarms.unit.spec.ts, the table in partition's specs.
import { type AnyAggregate, defineAggregate, event } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import type { Partition } from "@heddle/partition/internal";
import type { Survival } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { type AlarmSource, alarmNever } from "./alarm-source.ts";
import { alice, bank, credit, note } from "./bank.spec-support.ts";
import { innerConnectionMin } from "./shard-calls.ts";
import {
  type Asked,
  closeAll,
  failure,
  openShard,
  overridden,
  receipt,
  type ShardUnderTest,
  type ShardUnderTestOptions,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const alarm = (name: string): AnyAggregate =>
  defineAggregate(name, {
    version: 1,
    initial: () => ({ due: -1 }),
    events: { Moved: event(z.object({ due: z.number() }), (_, { due }) => ({ due })) },
  });

interface Rung {
  readonly entity: string;
  readonly due: number;
  readonly at: number;
}

function openWithAlarms(options: ShardUnderTestOptions = {}, room?: () => number) {
  const rung: Rung[] = [];
  const opened: { readonly entity: string; readonly due: number }[] = [];
  const alarmOf = (state: unknown) => ((state as { due: number }).due < 0 ? undefined : (state as { due: number }).due);
  const under = openShard(bank, {
    ...options,
    system: [alarm("$reminders"), alarm("$saga")],
    beside: ({ clock }) => ({
      alarms: new Map<string, AlarmSource>([
        [
          "$reminders",
          {
            aggregate: "$reminders",
            alarmOf,
            timed: true,
            onAlarm: (entity, due, state) => {
              expect(state).toEqual({ due });
              rung.push({ entity, due, at: clock.now() });
            },
            ...(room === undefined ? {} : { room }),
          },
        ],
        ["$saga", { aggregate: "$saga", alarmOf, timed: false, onOpen: (entity, due) => opened.push({ entity, due }) }],
      ]),
    }),
  });
  return { under, rung, opened };
}

describe("Heddle's own entities", () => {
  it("are listed to those who ask for them by prefix, from memory and from the partition, and to nobody else", async () => {
    const { under } = openWithAlarms();
    receipt(await under.append(credit(alice, 1)));
    for (const entity of [`$reminders/${alice}`, "$saga/a", "$saga/b"]) receipt(await move(under, entity, alarmNever));
    for (const where of ["memory", "partition"]) {
      const listed = async (prefix: string) => (await under.listed({ prefix, limit: 1 })).map(([id]) => id);
      expect(await listed(""), where).toEqual([alice]);
      expect(await listed("$saga/"), where).toEqual(["$saga/a", "$saga/b"]);
      expect(await listed("$"), where).toEqual([`$reminders/${alice}`, "$saga/a", "$saga/b"]);
      await under.checkpoint();
    }
  });
});

/** Sets an entity's alarm; -1 for none. */
function move(under: ShardUnderTest, entity: string, due: number): Asked {
  const aggregate = entity.slice(0, entity.indexOf("/"));
  return under.append(
    { entity, aggregate, events: [{ type: "Moved", payload: { due } }] },
    { session: innerConnectionMin + 1 },
  );
}

const start = 1_700_000_000_000;
const ofAlice = `$reminders/${alice}`;

async function born(under: ShardUnderTest, ...entities: string[]): Promise<void> {
  for (const entity of entities) receipt(await under.append(credit(entity, 1)));
}

/** Lets time pass as the ticks of a node see it. */
async function pass(under: ShardUnderTest, ms: number): Promise<void> {
  under.advance(ms);
  under.shard.tick();
  await under.turns(20);
}

describe("alarms: ringing", () => {
  it("rings when the time has come and not before, once", async () => {
    const { under, rung } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1_000));
    await pass(under, 999);
    expect(rung).toEqual([]);
    await pass(under, 1);
    expect(rung).toEqual([{ entity: ofAlice, due: start + 1_000, at: start + 1_000 }]);
    await pass(under, 10_000);
    expect(rung).toHaveLength(1);
  });

  it("rings at the new time when the alarm has moved, and not at all when it is gone", async () => {
    const { under, rung } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1_000));
    await under.checkpoint();
    receipt(await move(under, ofAlice, start + 5_000));
    await pass(under, 2_000);
    expect(rung).toEqual([]);
    await pass(under, 3_000);
    expect(rung.map(({ due }) => due)).toEqual([start + 5_000]);
    receipt(await move(under, ofAlice, start + 6_000));
    receipt(await move(under, ofAlice, -1));
    await pass(under, 60_000);
    expect(rung).toHaveLength(1);
  });

  it("an alarm that is never to ring is listed and never rings", async () => {
    const { under, rung } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, alarmNever));
    await under.checkpoint();
    await pass(under, 1e12);
    expect(rung).toEqual([]);
    expect(under.shard.alarms.list("$reminders", { limit: 10 })).toEqual([{ entity: ofAlice, due: alarmNever }]);
  });

  it("a wall clock that was set back makes nobody early", async () => {
    const { under, rung } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1_000));
    await under.checkpoint();
    under.clock.nowMs -= 3_600_000;
    await pass(under, 5_000);
    expect(rung).toEqual([]);
    await pass(under, 3_600_000);
    expect(rung).toHaveLength(1);
  });

  it("rings no more than there is room for, and goes on when there is room again", async () => {
    let room = 3;
    const { under, rung } = openWithAlarms({}, () => room);
    const entities = Array.from({ length: 10 }, (_, i) => `account/${i}`);
    await born(under, ...entities);
    for (const [i, entity] of entities.entries()) receipt(await move(under, `$reminders/${entity}`, start + 10 + i));
    room = 0;
    await pass(under, 1_000);
    expect(rung).toEqual([]);
    room = 4;
    under.shard.alarms.ring("$reminders");
    room = 4;
    await under.turns(1);
    room = 0;
    await under.turns(20);
    expect(rung.length).toBeGreaterThanOrEqual(4);
    expect(rung.length).toBeLessThan(10);
    room = 100;
    under.shard.alarms.ring("$reminders");
    await under.turns(20);
    expect(rung.map(({ entity }) => entity).sort()).toEqual(entities.map((entity) => `$reminders/${entity}`));
  });
});

describe("alarms: after a start", () => {
  const survivals: Survival[] = ["nothing", "everything"];

  it.each(survivals)(
    "P5: crash with %s, before and after a checkpoint: each acknowledged alarm rings",
    async (survival) => {
      const { under, rung } = openWithAlarms();
      await born(under, alice, "account/b", "account/c");
      receipt(await move(under, ofAlice, start + 1_000));
      receipt(await move(under, "$reminders/account/b", start + 1_000));
      await under.checkpoint();
      receipt(await move(under, "$reminders/account/b", start + 3_000));
      receipt(await move(under, "$reminders/account/c", start + 1_000));
      await under.crash(survival);
      under.start();
      await pass(under, 1_500);
      expect(rung.map(({ entity }) => entity).sort()).toEqual(["$reminders/account/alice", "$reminders/account/c"]);
      await pass(under, 1_500);
      expect(rung.at(-1)).toMatchObject({ entity: "$reminders/account/b", due: start + 3_000 });
    },
  );

  it("what has come while the shard was closed rings when it is open", async () => {
    const { under, rung } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1_000));
    await under.shard.close();
    under.advance(86_400_000);
    under.start();
    await under.turns(20);
    expect(rung).toEqual([{ entity: ofAlice, due: start + 1_000, at: start + 86_400_000 }]);
  });

  it("names every entity of a kind that is not timed with its alarm, those in the index and those in the log's tail, and no others", async () => {
    const { under, opened } = openWithAlarms();
    receipt(await move(under, "$saga/a", 5));
    receipt(await move(under, "$saga/b", alarmNever));
    receipt(await move(under, "$saga/ended", 5));
    receipt(await move(under, "$saga/late-end", 5));
    receipt(await move(under, "$saga/ended", -1));
    await under.checkpoint();
    receipt(await move(under, "$saga/late-end", -1));
    receipt(await move(under, "$saga/c", 7));
    expect(opened).toEqual([]);
    await under.crash("everything");
    under.start();
    expect(opened, "not before it is open").toEqual([]);
    await under.turns(20);
    expect(opened.sort((a, b) => (a.entity < b.entity ? -1 : 1))).toEqual([
      { entity: "$saga/a", due: 5 },
      { entity: "$saga/b", due: alarmNever },
      { entity: "$saga/c", due: 7 },
    ]);
  });

  it("a thousand entities with a memory for ten ring, each once", async () => {
    const { under, rung } = openWithAlarms({ limits: { activeEntitiesMax: 10 } });
    const entities = Array.from({ length: 1_000 }, (_, i) => `account/${i}`);
    await under.turn(() => Promise.all(entities.map((entity) => under.append(credit(entity, 1)))));
    await under.turn(() =>
      Promise.all(entities.map((entity, i) => move(under, `$reminders/${entity}`, start + 1_000 + 10 * i))),
    );
    await under.restart();
    for (let i = 0; i < 20; i++) await pass(under, 700);
    expect(rung).toHaveLength(1_000);
    expect(new Set(rung.map(({ entity }) => entity)).size).toBe(1_000);
    for (const { due, at } of rung) expect(at).toBeGreaterThanOrEqual(due);
  });
});

describe("alarms: the index", () => {
  it("stands beside a snapshot of the one aggregate that the entity has, from which it is woken without its history", async () => {
    const { under } = openWithAlarms();
    await born(under, alice);
    for (let i = 1; i <= 3; i++) receipt(await move(under, ofAlice, start + i));
    await under.checkpoint();
    const found = under.partition.snapshots(ofAlice);
    expect(found.map(({ aggregate, seq }) => [aggregate, seq])).toEqual([["$reminders", 3]]);
    expect(under.partition.snapshot(ofAlice, "$reminders")).toEqual(found[0]);
    expect(under.partition.snapshot(ofAlice, "$saga")).toBeUndefined();
    await under.restart();
    const { reads } = under.partition.counters;
    expect(under.shard.alarms.stateOf("$reminders", ofAlice)).toEqual({ due: start + 3 });
    expect(under.partition.counters.reads - reads, "its head and its snapshot").toBe(2);
  });

  it("has what the states say after a checkpoint that failed, and after one that followed", async () => {
    const { under } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1));
    await under.checkpoint();
    receipt(await move(under, ofAlice, start + 2));
    under.failAt("partition:entities-durable", new HeddleError("DISK_FULL", { shard: 0, path: "/" }));
    under.shard.requestCheckpoint();
    await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
    expect(under.partition.head(ofAlice)!.alarm, "the head was written, and not covered").toBe(start + 2);
    receipt(await move(under, ofAlice, start + 3));
    await under.checkpoint();
    expect(under.partition.alarms({ kind: "$reminders", limit: 10 })).toEqual([{ entity: ofAlice, due: start + 3 }]);
    expect(under.partition.head(ofAlice)!.alarm).toBe(start + 3);
  });

  it("has no row of before a checkpoint of which nothing came to the disk", async () => {
    let isFull = false;
    const wrapPartition = (partition: Partition) =>
      overridden(partition, "checkpoint", (covering: number) => {
        const writer = partition.checkpoint(covering);
        if (!isFull) return writer;
        const full = new HeddleError("DISK_FULL", { shard: 0, path: "/" });
        const nothing = overridden(writer, "putEntity", () => {});
        return overridden(nothing, "commit", () => writer.commit().then(() => Promise.reject(full)));
      });
    const { under } = openWithAlarms({ wrapPartition });
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1));
    await under.checkpoint();
    receipt(await move(under, ofAlice, start + 2));
    isFull = true;
    under.shard.requestCheckpoint();
    await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
    isFull = false;
    receipt(await move(under, ofAlice, start + 3));
    await under.checkpoint();
    expect(under.partition.alarms({ kind: "$reminders", limit: 10 })).toEqual([{ entity: ofAlice, due: start + 3 }]);
  });

  it("has the alarms of the log's tail when the shard is closed before anybody looked at them", async () => {
    const { under } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1));
    receipt(await move(under, "$saga/a", 5));
    await under.checkpoint();
    receipt(await move(under, ofAlice, start + 2));
    receipt(await move(under, "$saga/b", 6));
    await under.crash("everything");
    under.start();
    await under.shard.close();
    under.start();
    expect(under.partition.alarms({ kind: "$reminders", limit: 10 })).toEqual([{ entity: ofAlice, due: start + 2 }]);
    expect(under.partition.alarms({ kind: "$saga", limit: 10 }).map(({ entity }) => entity)).toEqual([
      "$saga/a",
      "$saga/b",
    ]);
  });

  it("lists by time, what memory knows better instead of what the index has, page by page", async () => {
    const { under } = openWithAlarms();
    for (let i = 0; i < 30; i++) receipt(await move(under, `$saga/${i}`, 100 - i));
    await under.checkpoint();
    for (let i = 0; i < 30; i += 3) receipt(await move(under, `$saga/${i}`, i % 2 === 0 ? 200 + i : -1));
    receipt(await move(under, "$saga/new", 85));
    const wanted = Array.from({ length: 30 }, (_, i) => ({ entity: `$saga/${i}`, due: 100 - i }))
      .map((one, i) => (i % 3 === 0 ? { ...one, due: i % 2 === 0 ? 200 + i : -1 } : one))
      .concat({ entity: "$saga/new", due: 85 })
      .filter(({ due }) => due >= 0)
      .sort((a, b) => a.due - b.due || (a.entity < b.entity ? -1 : 1));
    const listed = [];
    for (;;) {
      const page = under.shard.alarms.list("$saga", { after: listed.at(-1), limit: 4 });
      if (page.length === 0) break;
      listed.push(...page);
    }
    expect(listed).toEqual(wanted);
    expect(under.shard.alarms.list("$saga", { from: 80, to: 90, limit: 100 })).toEqual(
      wanted.filter(({ due }) => due >= 80 && due < 90),
    );
  });

  it("counts the entities that have an alarm, over changes, checkpoints and starts", async () => {
    const { under } = openWithAlarms();
    await born(under, alice, "account/b", "account/c");
    receipt(await move(under, ofAlice, start + 1e6));
    receipt(await move(under, "$reminders/account/b", start + 1e6));
    await under.checkpoint();
    receipt(await move(under, ofAlice, start + 2e6));
    receipt(await move(under, "$reminders/account/b", -1));
    receipt(await move(under, "$reminders/account/c", start + 1e6));
    expect(under.shard.alarms.count("$reminders")).toBe(2);
    await under.crash("everything");
    under.start();
    await under.turns(20);
    expect(under.shard.alarms.count("$reminders")).toBe(2);
  });
});

describe("Heddle's own aggregates", () => {
  it("cost no entity a look into its history: it wakes from its snapshot", async () => {
    let isUnreadable = false;
    const { under } = openWithAlarms({ isUnreadable: () => isUnreadable });
    await born(under, alice);
    for (const type of ["Account", "Notes"]) {
      const events = type === "Account" ? credit(alice, 1) : note(alice, "a");
      for (let i = 0; i < 5; i++) receipt(await under.append(events));
    }
    for (let due = 1; due < 5; due++) receipt(await move(under, ofAlice, start + 1e6 + due));
    await under.restart();
    isUnreadable = true;
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 6 } });
    expect(under.shard.alarms.stateOf("$reminders", ofAlice)).toEqual({ due: start + 1e6 + 4 });
  });
});

describe("one of Heddle's own entities that has come to its end", () => {
  it("wants no look into the log for lists, checkpoints and starts, and reads as it was when somebody asks", async () => {
    let isUnreadable = false;
    const { under } = openWithAlarms({ isUnreadable: () => isUnreadable });
    for (const entity of ["$saga/a", "$saga/b"]) {
      receipt(await move(under, entity, alarmNever));
      receipt(await move(under, entity, -1));
    }
    receipt(await move(under, "$saga/c", start + 1));
    isUnreadable = true;
    const listed = () => under.shard.alarms.list("$saga", { limit: 10 });
    expect(listed()).toEqual([{ entity: "$saga/c", due: start + 1 }]);
    await under.checkpoint();
    expect(listed()).toEqual([{ entity: "$saga/c", due: start + 1 }]);
    isUnreadable = false;
    expect(await under.state("$saga/a", "$saga")).toMatchObject({ state: { due: -1 }, seq: 2 });
    await under.restart();
    expect(await under.state("$saga/b", "$saga")).toMatchObject({ state: { due: -1 }, seq: 2 });
  });

  it("keeps its state while there is something that is not durable, and comes to life again", async () => {
    const { under } = openWithAlarms();
    receipt(await move(under, "$saga/a", alarmNever));
    // Each while the one before is on its way to the disk: it rests upon a state that cannot be read from there yet.
    const asked = [move(under, "$saga/a", -1)];
    await under.turns(1);
    for (const due of [-1, -1, start + 5]) {
      asked.push(move(under, "$saga/a", due));
      await asked[asked.length - 2];
    }
    for (const one of asked) receipt(await one);
    expect(under.shard.alarms.list("$saga", { limit: 10 })).toEqual([{ entity: "$saga/a", due: start + 5 }]);
    receipt(await move(under, "$saga/a", -1));
    await under.checkpoint();
    receipt(await move(under, "$saga/a", start + 9));
    await under.crash("everything");
    under.start();
    await under.turns(20);
    expect(under.shard.alarms.list("$saga", { limit: 10 })).toEqual([{ entity: "$saga/a", due: start + 9 }]);
    expect(await under.state("$saga/a", "$saga")).toMatchObject({ state: { due: start + 9 }, seq: 7 });
  });
});

describe("alarms: erasing (P6)", () => {
  it("an entity's erasure erases its reminders with it, their alarm and every byte, before it is answered", async () => {
    const { under, rung } = openWithAlarms();
    await born(under, alice);
    const marked = {
      entity: ofAlice,
      aggregate: "$reminders",
      events: [{ type: "Moved", payload: { due: start + 1_000 } }],
      metadata: { note: "MARKER-OF-A-REMINDER" },
    };
    receipt(await under.append(marked, { session: innerConnectionMin + 1 }));
    await under.checkpoint();
    expect(under.filesWith("MARKER-OF-A-REMINDER")).not.toEqual([]);
    await under.erase(alice);
    expect(under.filesWith("MARKER-OF-A-REMINDER")).toEqual([]);
    expect(under.partition.alarms({ kind: "$reminders", limit: 10 })).toEqual([]);
    await under.until(() => under.shard.stats().erasures === 0);
    await pass(under, 5_000);
    expect(rung).toEqual([]);
    await under.restart();
    await pass(under, 5_000);
    expect(rung).toEqual([]);
  });

  it.each(["erasure:begun", "erasure:counted", "erasure:overwritten", "erasure:forgotten", "erasure:scrubbed"])(
    "crash at %s: the next start erases both to the end",
    async (point) => {
      const { under } = openWithAlarms();
      await born(under, alice);
      receipt(await move(under, ofAlice, start + 1_000));
      await under.checkpoint();
      await under.crashAt(point, () => void under.delete(alice), { survival: "everything" });
      under.start();
      await under.erase(alice);
      expect(under.partition.alarms({ kind: "$reminders", limit: 10 })).toEqual([]);
      expect(under.partition.head(ofAlice)).toMatchObject({ seq: 2, baseSeq: 2 });
      await under.until(() => under.partition.erasures().length === 0);
    },
  );

  it("reminders are refused for an entity without events, and for an erased one", async () => {
    const { under } = openWithAlarms();
    expect(failure(await move(under, ofAlice, 1)).code).toBe("INVALID_REQUEST");
    await born(under, alice);
    await under.erase(alice);
    expect(failure(await move(under, ofAlice, 1)).code).toBe("ERASED");
  });

  it("nobody but Heddle deletes or restores Heddle's own entities", async () => {
    const { under } = openWithAlarms();
    await born(under, alice);
    receipt(await move(under, ofAlice, start + 1_000));
    expect(failure(await under.delete(ofAlice)).code).toBe("INVALID_REQUEST");
    expect(failure(await under.restore(ofAlice, { seq: 1 })).code).toBe("INVALID_REQUEST");
  });
});
