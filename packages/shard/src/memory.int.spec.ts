// Memory and snapshots: entities come and go within a budget, and nobody can tell from the answers.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import type { Partition } from "@heddle/partition/internal";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, Notes, note } from "./bank.spec-support.ts";
import { checkAgainstLog } from "./log-check.spec-support.ts";
import { closeAll, openShard, overridden, receipt, type ShardUnderTest } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const ids = (count: number) => Array.from({ length: count }, (_, i) => `account/user-${i}`);

async function creditAll(under: ShardUnderTest, entities: readonly string[]): Promise<void> {
  for (let i = 0; i < entities.length; i += 500) {
    const asked = under.turn(() => entities.slice(i, i + 500).map((entity) => under.append(credit(entity, 1))));
    for (const one of asked) receipt(await one);
  }
}

describe("the memory budget", () => {
  it("P8: twelve thousand entities in memory for a thousand: states are the same, and a thousand are kept", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 1_000 } });
    const all = ids(12_000);
    const balances = new Map(all.map((id) => [id, 0]));
    for (let round = 0; round < 2; round++) {
      await creditAll(under, all);
      for (const id of all) balances.set(id, balances.get(id)! + 1);
      await under.checkpoint();
      for (let i = 0; i < 5; i++) under.shard.tick();
      expect(under.shard.stats().activeEntities).toBeLessThanOrEqual(1_000);
    }
    const order = fc.sample(fc.constantFrom(...all), { numRuns: 3_000, seed: 11 });
    for (const [i, id] of order.entries()) {
      if (i % 3 === 0) {
        receipt(await under.append(credit(id, 5)));
        balances.set(id, balances.get(id)! + 5);
      }
      expect(await under.state(id, "Account")).toMatchObject({ state: { balance: balances.get(id) } });
      if (i % 500 === 0) await under.checkpoint();
    }
    under.shard.tick();
    await under.checkpoint();
    for (let i = 0; i < 5; i++) under.shard.tick();
    expect(under.shard.stats().activeEntities).toBeLessThanOrEqual(1_000);
  });

  it("P8: counts bytes too: large states are let go before their number is reached, the least recently used first", async () => {
    const under = openShard(bank, { limits: { stateBytesMax: 400_000 } });
    const all = ids(40);
    for (const id of all) receipt(await under.append(note(id, "x".repeat(20_000))));
    await under.checkpoint();
    expect(under.shard.stats().stateBytes).toBeGreaterThan(400_000);
    const hot = all.slice(0, 2);
    under.shard.tick();
    for (const id of hot) await under.state(id, "Notes");
    for (let i = 0; i < 3; i++) {
      under.shard.tick();
      for (const id of hot) await under.state(id, "Notes");
    }
    const { stateBytes, activations } = under.shard.stats();
    expect(stateBytes).toBeLessThanOrEqual(400_000);
    for (const id of hot) await under.state(id, "Notes");
    expect(under.shard.stats().activations).toBe(activations);
    // What comes back by folding its events weighs as much as what comes back from a snapshot.
    await under.crash("everything");
    under.startWithEmptyPartition();
    await under.checkpoint();
    await under.restart();
    for (const id of all) await under.state(id, "Notes");
    for (let i = 0; i < 3; i++) under.shard.tick();
    expect(under.shard.stats().stateBytes).toBeLessThanOrEqual(400_000);
    expect(under.shard.stats().activeEntities).toBeLessThan(20);
  });

  it("a state that is in memory is read without a look into the partition", async () => {
    const under = openShard(bank);
    await creditAll(under, ids(100));
    await under.checkpoint();
    const { partitionReads } = under.shard.stats();
    for (const id of ids(100)) await under.state(id, "Account");
    expect(under.shard.stats().partitionReads).toBe(partitionReads);
  });

  it("P5: one that a checkpoint has written, and that was let go and came back before it fails, keeps its newest events", async () => {
    const gate = Promise.withResolvers<void>();
    const put: string[] = [];
    let fails = false;
    const under = openShard(bank, {
      limits: { activeEntitiesMax: 1 },
      wrapPartition: (partition) =>
        overridden(partition, "checkpoint", (covering: number) => {
          const writer = partition.checkpoint(covering);
          if (!fails) return writer;
          const putEntity: typeof writer.putEntity = (entity, ...rest) => {
            put.push(entity);
            writer.putEntity(entity, ...rest);
          };
          const commit = async () => {
            await gate.promise;
            // The writer of a partition ends with its commit.
            await writer.commit().catch(() => {});
            throw new HeddleError("DISK_FULL", { shard: 0, path: "/partition" });
          };
          return overridden(overridden(writer, "putEntity", putEntity), "commit", commit);
        }),
    });
    receipt(await under.append(credit(alice, ...Array.from({ length: 200 }, () => 1))));
    await creditAll(under, ids(20));
    await under.crash();
    under.start();
    await under.checkpoint();
    await under.restart();
    // A long fold leaves a snapshot at the next checkpoint, which then has nothing else of this entity.
    await under.state(alice, "Account");
    fails = true;
    under.shard.requestCheckpoint();
    await under.until(() => put.includes(alice));
    for (const id of ids(20)) {
      await under.state(id, "Account");
      under.shard.tick();
    }
    receipt(await under.append(credit(alice, 1)));
    fails = false;
    gate.resolve();
    await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
    await under.checkpoint();
    await under.restart();
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 201, events: 201 }, seq: 201 });
    await checkAgainstLog(under);
  });
});

describe("snapshots", () => {
  const counting = (version: number, folds: { count: number }) =>
    defineContext("bank", {
      aggregates: [
        defineAggregate("Account", {
          version,
          initial: () => ({ balance: 0, events: 0 }),
          events: {
            Credited: event(z.object({ amount: z.number() }), (s, e) => {
              folds.count++;
              return { balance: s.balance + version * e.amount, events: s.events + 1 };
            }),
          },
        }),
        Notes,
      ],
    });

  it("of another fold version are passed over when the entity is used next, and not before; others are used", async () => {
    const folds = { count: 0 };
    const under = openShard(counting(1, folds));
    for (const id of [alice, bob]) receipt(await under.append(credit(id, 10, 20)));
    await under.restart();
    folds.count = 0;
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 30 } });
    expect(folds.count).toBe(0);
    await under.restart(counting(2, folds));
    expect(folds.count).toBe(0);
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 60 } });
    expect(folds.count).toBe(2);
    receipt(await under.append(credit(alice, 1)));
    await under.restart();
    folds.count = 0;
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 62 } });
    expect(folds.count).toBe(0);
    expect(under.partition.snapshots(bob)[0]).toMatchObject({ foldVersion: 1 });
  });

  it("P5: one that is damaged is not used: the log has everything", async () => {
    let isDamaged = false;
    const under = openShard(bank, {
      wrapPartition: (partition: Partition) =>
        overridden(partition, "snapshots", (entity: string) => {
          const found = partition.snapshots(entity);
          return isDamaged
            ? found.map((one) => ({ ...one, state: one.state.subarray(0, one.state.length - 1) }))
            : found;
        }),
    });
    receipt(await under.append(credit(alice, 1, 2)));
    receipt(await under.append(note(alice, "a")));
    await under.restart();
    isDamaged = true;
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 3 }, seq: 3 });
    expect(await under.state(alice, "Notes")).toMatchObject({ state: { texts: ["a"] } });
  });

  it("an entity that was only read, after a long fold, leaves one at the next checkpoint", async () => {
    const folds = { count: 0 };
    const under = openShard(counting(1, folds));
    receipt(await under.append(credit(alice, ...Array.from({ length: 500 }, () => 1))));
    await under.crash();
    under.start();
    await under.checkpoint();
    await under.restart();
    folds.count = 0;
    await under.state(alice, "Account");
    expect(folds.count).toBe(500);
    await under.checkpoint();
    await under.restart();
    folds.count = 0;
    expect(await under.state(alice, "Account")).toMatchObject({ state: { balance: 500 }, seq: 500 });
    expect(folds.count).toBe(0);
  });
});
