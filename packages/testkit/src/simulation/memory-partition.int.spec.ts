// Goal: the partition of the simulator is what LMDB's is: the same contract, the same answers to the same puts; and a crash
// takes exactly what was not applied.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  type CheckpointWriter,
  dumpPartition,
  type EntityHead,
  openPartition,
  type Partition,
} from "@heddle/partition/internal";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { partitionContract } from "../../../../test/contract/partition-contract.ts";
import { MemoryPartitionStore, openMemoryPartition } from "./memory-partition.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-memory-partition-"));
process.on("exit", () => fs.rmSync(root, { recursive: true, force: true }));
let folders = 0;
const opened: Partition[] = [];
afterEach(async () => {
  for (const partition of opened.splice(0)) await partition.close();
});

const later = (task: () => void) => void setImmediate(task);

describe("memory partition", () => {
  describe("keeps the contract", () => {
    partitionContract(() => {
      const store = new MemoryPartitionStore();
      return { open: () => openMemoryPartition({ store, shard: 0, later }) };
    });
  });

  it("holds what LMDB holds after the same checkpoints", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(checkpoints, { minLength: 1, maxLength: 8 }), async (all) => {
        const real = openPartition({ folder: path.join(root, String(folders++)), shard: 0 });
        const simulated = openMemoryPartition({ store: new MemoryPartitionStore(), shard: 0, later });
        opened.push(real, simulated);
        await Promise.all([write(real, all), write(simulated, all)]);
        expect(dumpOf(simulated)).toEqual(dumpOf(real));
        for (const kind of ["account", "timer"]) {
          expect(simulated.alarms({ kind, limit: 100 })).toEqual(real.alarms({ kind, limit: 100 }));
        }
        await real.close();
      }),
      { numRuns: 40 },
    );
  });

  it("P5 keeps at a crash what was applied, in order, and never a position without what it covers", async () => {
    const entities = Array.from({ length: 5 }, (_, i) => `account/${i}`);
    let sawPart = false;
    for (let turns = 0; turns < 12; turns++) {
      const store = new MemoryPartitionStore();
      const tasks: (() => void)[] = [];
      const partition = openMemoryPartition({ store, shard: 0, later: (task) => tasks.push(task) });
      const writer = partition.checkpoint(500);
      for (const entity of entities) writer.putEntity(entity, head(1), Float64Array.of(1, 1, 100, 7), []);
      writer.putAppendId(entities[0]!, "id", 100);
      void writer.commit();
      for (let i = 0; i < turns; i++) {
        tasks.shift()?.();
        await new Promise((resolve) => setImmediate(resolve));
      }
      partition.kill();
      for (const task of tasks) task();
      const after = openMemoryPartition({ store, shard: 0, later });
      const there = entities.filter((entity) => after.head(entity) !== undefined).length;
      const hasId = after.appendIdPosition(entities[0]!, "id") !== undefined;
      if (after.coveredPosition === 500) expect([there, hasId]).toEqual([5, true]);
      else sawPart ||= there > 0;
      if (hasId) expect(there).toBe(5);
    }
    expect(sawPart).toBe(true);
  });

  it("P5 takes nothing from a process that is dead", async () => {
    const store = new MemoryPartitionStore();
    const tasks: (() => void)[] = [];
    const partition = openMemoryPartition({ store, shard: 0, later: (task) => tasks.push(task) });
    const writer = partition.checkpoint(500);
    partition.kill();
    writer.putEntity("account/late", head(1), Float64Array.of(1, 1, 100, 7), []);
    for (const task of tasks) task();
    expect(openMemoryPartition({ store, shard: 0, later }).head("account/late")).toBeUndefined();
  });
});

/** LMDB gives states as buffers, which are other objects with the same bytes. */
function dumpOf(partition: Partition): unknown[] {
  return [...dumpPartition(partition)].map((entry) =>
    entry.table === "snapshot" ? { ...entry, state: [...entry.state] } : entry,
  );
}

function head(seq: number, more: Partial<EntityHead> = {}): EntityHead {
  return { seq, position: seq * 100, time: seq, chain: "", baseSeq: 0, ...more };
}

interface Growth {
  readonly entity: string;
  readonly events: number;
  readonly id: string;
  readonly erases: boolean;
  readonly alarm: number | undefined;
}

const growths: fc.Arbitrary<Growth> = fc.record({
  entity: fc.constantFrom("account/a", "account/b", "timer/é", "timer/z"),
  events: fc.integer({ min: 1, max: 4 }),
  id: fc.constantFrom("one", "two", "three"),
  erases: fc.boolean(),
  alarm: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
});
const checkpoints = fc.record({
  growths: fc.uniqueArray(growths, { selector: ({ entity }) => entity, maxLength: 4 }),
  session: fc.integer({ min: 1, max: 3 }),
  drops: fc.boolean(),
  count: fc.integer({ min: 0, max: 3 }),
});
type Checkpoint = typeof checkpoints extends fc.Arbitrary<infer T> ? T : never;

async function write(partition: Partition, all: readonly Checkpoint[]): Promise<void> {
  const heads = new Map<string, EntityHead>();
  for (const [i, checkpoint] of all.entries()) {
    const writer = partition.checkpoint((i + 1) * 10_000);
    for (const growth of checkpoint.growths) grow(writer, heads, growth);
    if (checkpoint.drops) writer.dropSession(checkpoint.session);
    else writer.putSession(checkpoint.session, i, Float64Array.of(i + 1, i * 100));
    writer.putTypeCount("Account", "Credited", 1, checkpoint.count);
    if (checkpoint.drops) writer.dropErasure("account/a");
    else writer.putErasure("account/a", i + 1, "log");
    await writer.commit();
  }
}

function grow(writer: CheckpointWriter, heads: Map<string, EntityHead>, growth: Growth): void {
  const { entity, events, id, alarm } = growth;
  const before = heads.get(entity);
  const from = (before?.seq ?? 0) + 1;
  const seq = from + events - 1;
  const erases = growth.erases && before !== undefined;
  const baseSeq = erases ? from : (before?.baseSeq ?? 0);
  if (erases) writer.forgetHistory(entity, { belowSeq: from, belowPosition: from * 100 });
  const quads: number[] = [];
  for (let at = from; at <= seq; at++) quads.push(at, 1, at * 100, at);
  const snapshot = { aggregate: "Account", foldVersion: 1, seq, state: Uint8Array.of(seq) };
  const after = head(seq, { baseSeq, alarm });
  writer.putEntity(entity, after, Float64Array.from(quads), [snapshot], before?.alarm);
  writer.putAppendId(entity, `${id} ${seq}`, seq * 100);
  heads.set(entity, after);
}
