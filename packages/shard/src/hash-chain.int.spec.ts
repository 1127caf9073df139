// The hash chain: over every entry of an entity, in memory as soon as it is durable, in the partition with the next
// checkpoint. Random schedules, crashes and erasures are in life-model.int.spec.ts.
//
// Method: the log is read and hashed again by other means (log-check.spec-support.ts).
import { HeddleError } from "@heddle/kernel";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, note } from "./bank.spec-support.ts";
import { checkAgainstLog, checkPartition, readLog } from "./log-check.spec-support.ts";
import { closeAll, openShard, receipt, type ShardUnderTest } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

/** Appends that fill groups while others are on their way, several of one entity in each. */
async function busy(under: ShardUnderTest, rounds: number): Promise<void> {
  const asked = [];
  for (let i = 0; i < rounds; i++) {
    asked.push(
      ...under.turn(() => [
        under.append(credit(alice, i + 1)),
        under.append({ ...note(bob, `${i}`), metadata: { i } }),
        under.append(credit(alice, 1, 2)),
      ]),
    );
    if (i % 3 === 0) await under.turns(1);
  }
  for (const one of asked) receipt(await one);
}

describe("the hash chain", () => {
  it("goes on with every group, also while the next one is on its way, before any checkpoint", async () => {
    const under = openShard(bank);
    await busy(under, 50);
    await checkAgainstLog(under);
    expect(under.partition.coveredPosition).toBe(0);
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
    await busy(under, 5);
    await under.restart();
    checkPartition(under.partition, readLog(under));
    await busy(under, 5);
    await checkAgainstLog(under);
  });

  it("takes entries of every length, short ones after long ones, too", async () => {
    const under = openShard(bank);
    for (let round = 0; round < 2; round++) {
      for (const length of [0, 1, 900, 5_000, 3, 20_000, 900, 1, 4_000, 0]) {
        receipt(await under.append(note(bob, "n".repeat(length))));
      }
    }
    await checkAgainstLog(under);
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
  });

  it("has a check for each entry of a group of thousands, all of one entity", async () => {
    const under = openShard(bank);
    under.disk.holdSyncs();
    const asked = under.turn(() => Array.from({ length: 5_000 }, () => under.append(credit(alice, 1))));
    under.disk.releaseSyncs();
    for (const one of asked) receipt(await one);
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
  });

  it("P5: is recomputed for the log's tail after a crash, and a checkpoint that failed loses none of it", async () => {
    const under = openShard(bank);
    await busy(under, 3);
    await under.checkpoint();
    await busy(under, 3);
    under.failAt("partition:ids-durable", new HeddleError("DISK_FULL", { shard: 0, path: "/partition" }));
    under.shard.requestCheckpoint();
    await busy(under, 3);
    await under.until(() => under.reports.some(({ message }) => message.startsWith("a checkpoint failed")));
    await checkAgainstLog(under);
    await under.crash("everything");
    under.start();
    await checkAgainstLog(under);
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
  });

  it("P2: a group that fails leaves no link of it behind", async () => {
    const under = openShard(bank);
    await busy(under, 3);
    under.disk.failNextSync();
    const lost = under.append(credit(alice, 7));
    expect((await lost).kind).toBe("error");
    await under.until(() => under.shard.state === "open");
    await busy(under, 3);
    await checkAgainstLog(under);
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
  });

  it("P1: mode os chains like any other", async () => {
    const under = openShard(bank, { durability: "os" });
    await busy(under, 10);
    await checkAgainstLog(under);
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
  });
});
