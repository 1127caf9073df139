// Goal: a saga that has come to its end waits for the next checkpoint as a packed row, and nobody can tell: it is found, listed,
// read and gone on with as any other, and the partition gets all of it, whatever happens on the way.
// Method: a kind of Heddle's own without alarms, whose entities are over as soon as they are durable, until they have more
// than eight events. Any schedule of writes, questions, checkpoints that end or fail, crashes and restarts; then all is held against
// the log, read by other means. Tested elsewhere: real sagas (packages/saga), and the partition (its contract).
import { defineAggregate, event } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import type { PackedHeads } from "@heddle/partition/internal";
import type { WireListed } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { bank } from "./bank.spec-support.ts";
import { shortHistoryMax } from "./entity.ts";
import { checkEntities, readLog } from "./log-check.spec-support.ts";
import { innerConnectionMin } from "./shard-calls.ts";
import {
  type Asked,
  brief,
  closeAll,
  openShard,
  overridden,
  receipt,
  type ShardUnderTest,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const Saga = defineAggregate("$saga", {
  version: 1,
  initial: () => ({ total: 0 }),
  events: { Moved: event(z.object({ by: z.number() }), ({ total }, { by }) => ({ total: total + by })) },
});
const sagas = ["$saga/a", "$saga/b", "$saga/c"] as const;

/** How the next checkpoint fails: it has written all entities, or none of them. */
let fails: "written" | "lost" | undefined;
/** What was handed to the partition, as it lies there, and as it was then. */
let handed: { readonly value: Uint8Array; readonly bytes: Uint8Array }[] = [];

function open(seed = 1): ShardUnderTest {
  fails = undefined;
  handed = [];
  const under = openShard(bank, {
    disk: new SimulatedDisk({ seed }),
    system: [Saga],
    limits: { segmentBytes: 4_000 },
    wrapPartition: (partition) =>
      overridden(partition, "checkpoint", (covering: number) => {
        const made = partition.checkpoint(covering);
        const writer = overridden(made, "putPackedHead", (heads: PackedHeads, row: number) => {
          const value = heads.valueAt(row);
          handed.push({ value, bytes: value.slice() });
          made.putPackedHead(heads, row);
        });
        const how = fails;
        fails = undefined;
        if (how === undefined) return writer;
        under.failAt("partition:entities-durable", new HeddleError("DISK_FULL", { shard: 0, path: "/partition" }));
        return how === "lost"
          ? overridden(
              overridden(writer, "putEntity", () => {}),
              "putPackedHead",
              () => {},
            )
          : writer;
      }),
  });
  return under;
}

function move(under: ShardUnderTest, entity: string, by: number): Asked {
  const events = [{ type: "Moved", payload: { by } }];
  return under.append({ entity, aggregate: "$saga", events }, { session: innerConnectionMin + 1 });
}

/** Lists, states, histories and chains are as the log says. */
async function check(under: ShardUnderTest): Promise<void> {
  await under.until(() => under.shard.state === "open");
  while ((await under.types()).kind !== "value") await under.until(() => under.shard.state === "open");
  const { lives } = readLog(under);
  const listed = await under.listed({ prefix: "$saga/" });
  const wanted = [...lives].map(([id, { seq, chain }]) => [id, seq, chain]);
  expect(listed.map(([id, seq, , chain]: WireListed) => [id, seq, chain]).sort()).toEqual(wanted.sort());
  for (const [id, { seq, events }] of lives) {
    const total = events.reduce((sum, { payload }) => sum + (payload as { by: number }).by, 0);
    expect(await under.state(id, "$saga")).toEqual({ state: { total }, seq });
    expect(brief(await under.events(id)).map(([, , payload]) => payload)).toEqual(events.map(({ payload }) => payload));
  }
}

const saga = fc.constantFrom(...sagas);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ does: fc.constant("move" as const), saga, times: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("ask" as const), saga }) },
  {
    weight: 4,
    arbitrary: fc.record({ does: fc.constant("checkpoint" as const), turns: fc.integer({ min: 0, max: 12 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("failed checkpoint" as const),
      how: fc.constantFrom("written" as const, "lost" as const),
      turns: fc.nat(20),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("failed sync" as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("check" as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constantFrom("crash" as const, "restart" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function run(under: ShardUnderTest, one: Step): Promise<void> {
  switch (one.does) {
    case "move":
      for (let i = 0; i < one.times; i++) receipt(await move(under, one.saga, i + 1));
      return;
    case "ask":
      await under.get(one.saga, "$saga");
      return;
    case "checkpoint":
      under.shard.requestCheckpoint();
      await under.turns(one.turns);
      return;
    case "failed checkpoint":
      fails = one.how;
      under.shard.requestCheckpoint();
      await under.turns(one.turns);
      return;
    case "failed sync":
      fails = undefined;
      under.states.length = 0;
      under.disk.failNextSync();
      await move(under, sagas[0], 1);
      await under.until(() => under.states.at(-1) === "open");
      return;
    case "check":
      await check(under);
      return;
    case "crash":
      await under.crash("some");
      under.start();
      return;
    case "restart":
      fails = undefined;
      await under.restart();
      return;
  }
}

describe("P1 P4 P5: sagas that ended since the last checkpoint", () => {
  it("are as the log says, in answers and in the partition, under any schedule", async () => {
    let rows = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.array(step, { minLength: 1, maxLength: 25, size: "max" }), async (seed, steps) => {
        const under = open(seed);
        try {
          for (const one of steps) await run(under, one);
          fails = undefined;
          await check(under);
          await under.checkpoint();
          await under.checkpoint();
          const facts = readLog(under);
          checkEntities(under.partition, facts.lives);
          for (const { seq } of facts.lives.values()) if (seq <= shortHistoryMax) rows++;
        } finally {
          await under.end();
        }
      }),
      { numRuns: 150, interruptAfterTimeLimit: 500_000, markInterruptAsFailure: true },
    );
    expect(rows).toBeGreaterThan(0);
  }, 600_000);

  it("P8: take no place among the active entities, before the checkpoint and after it", async () => {
    const under = open();
    const ids = Array.from({ length: 500 }, (_, i) => `$saga/s${i}`);
    const asked = under.turn(() => ids.map((id) => move(under, id, 1)));
    for (const reply of asked) receipt(await reply);
    // They are packed when their chains are done, which is right behind the replies.
    await under.until(() => under.shard.stats().activeEntities === 0);
    for (let i = 0; i < 4; i++) await under.checkpoint();
    expect(under.shard.stats().activeEntities).toBe(0);
    checkEntities(under.partition, readLog(under).lives);
    receipt(await move(under, "$saga/late", 1));
    await check(under);
  });

  it("P5: one that goes on while a checkpoint runs is written as it was, and then as it is", async () => {
    const under = open();
    for (const id of sagas) receipt(await move(under, id, 1));
    under.shard.requestCheckpoint();
    expect(under.shard.stats().isCheckpointing).toBe(true);
    receipt(await move(under, sagas[1], 5));
    await under.until(() => under.shard.stats().checkpoints === 1);
    expect(sagas.map((id) => under.partition.head(id)?.seq)).toEqual([1, 1, 1]);
    expect(await under.state(sagas[1], "$saga")).toEqual({ state: { total: 6 }, seq: 2 });
    await under.checkpoint();
    checkEntities(under.partition, readLog(under).lives);
  });

  it("P5: a checkpoint that fails gives them back, and those that were asked for meanwhile", async () => {
    const under = open();
    for (const id of sagas) receipt(await move(under, id, 1));
    fails = "lost";
    under.shard.requestCheckpoint();
    expect(await under.state(sagas[0], "$saga")).toMatchObject({ seq: 1 });
    await under.until(() => !under.shard.stats().isCheckpointing);
    expect(under.shard.stats().checkpoints).toBe(0);
    receipt(await move(under, sagas[0], 1));
    await check(under);
    await under.checkpoint();
    checkEntities(under.partition, readLog(under).lives);
  });

  it("P5: what a checkpoint that failed has handed to the partition stays as it is: its writer may still be at work", async () => {
    const under = open();
    for (const id of sagas) receipt(await move(under, id, 1));
    fails = "written";
    under.shard.requestCheckpoint();
    await under.until(() => !under.shard.stats().isCheckpointing);
    expect(under.shard.stats().checkpoints).toBe(0);
    const failed = handed.slice();
    expect(failed).toHaveLength(sagas.length);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) receipt(await move(under, `$saga/${round}/${i}`, 1));
      await under.checkpoint();
    }
    for (const { value, bytes } of failed) expect(Buffer.compare(value, bytes)).toBe(0);
    checkEntities(under.partition, readLog(under).lives);
  });
});
