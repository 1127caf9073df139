// Goal: another process reads a partition while its shard writes, and always finds something that holds together.
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Child,
  cleanUp,
  entityName,
  eraseSome,
  freshFolder,
  grow,
  headAt,
  holdsSecret,
  open,
  openReader,
  positionOf,
  putLives,
  startChild,
} from "../test/partition-under-test.ts";
import { dumpPartition, type Partition } from "./internal.ts";

afterEach(cleanUp);

describe("reader in another process", () => {
  it("finds whole entities at every moment, never behind the covered position, and in the end everything", async () => {
    const folder = freshFolder();
    const child = startChild({ kind: "write-on", folder });
    expect(await child.next()).toMatchObject({ word: "begun" });

    const reader = openReader(folder);
    let covered = 0;
    let passes = 0;
    // It writes until it is told to stop, and may be far ahead by now: so many more than were there at the first look.
    const enough = reader.coveredPosition + positionOf(30);
    while (covered < enough) {
      expect(reader.coveredPosition).toBeGreaterThanOrEqual(covered);
      covered = reader.coveredPosition;
      for (let i = 0; i < 10; i++) {
        const head = reader.head(entityName(i))!;
        expect(head.position).toBeGreaterThanOrEqual(covered);
        expect([...reader.extents(entityName(i), 1, "forward")].length).toBeGreaterThanOrEqual(head.seq);
        expect(reader.snapshots(entityName(i))[0]!.seq).toBeGreaterThanOrEqual(head.seq);
      }
      passes++;
      // A read sees what was committed when its turn began.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(passes).toBeGreaterThan(1);

    child.send("stop");
    const { facts } = await child.next();
    expect(await child.ended).toBe(0);
    const seq = facts!["seq"] as number;
    expect(reader.coveredPosition).toBe(positionOf(seq));
    const dump = [...dumpPartition(reader)];
    expect(dump).toHaveLength(1 + 10 * (1 + seq + 1));
    await reader.close();
    expect([...dumpPartition(open(folder))]).toEqual(dump);
  });

  it("finds append ids without the filter, and counts each question as a read", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const writer = partition.checkpoint(1);
    writer.putAppendId("account/alice", "one", 7);
    await writer.commit();
    await partition.close();

    const reader = openReader(folder);
    const before = reader.counters.reads;
    expect(reader.appendIdPosition("account/alice", "one")).toBe(7);
    expect(reader.appendIdPosition("account/alice", "two")).toBeUndefined();
    expect(reader.counters.reads - before).toBe(2);
    await reader.close();
    await reader.close();
    expect(() => reader.head("account/alice")).toThrow(/closed/);
  });
});

describe("reader of an older state", () => {
  async function erasedBeside(readersWaitMs: number): Promise<{ folder: string; partition: Partition; child: Child }> {
    const folder = freshFolder();
    const partition = open(folder, { readersWaitMs });
    const first = partition.checkpoint(500);
    putLives(first, 300);
    await first.commit();
    const child = startChild({ kind: "hold-state", folder });
    expect(await child.next()).toMatchObject({ word: "held" });
    const second = partition.checkpoint(600);
    eraseSome(second, 300);
    await second.commit();
    return { folder, partition, child };
  }

  it("P5 P6 keeps its state: a scrub gives up, changes nothing, and succeeds when the reader is done", async () => {
    const { folder, partition, child } = await erasedBeside(0);
    const dump = [...dumpPartition(partition)];
    await expect(partition.scrub()).rejects.toMatchObject({ code: "OVERLOADED", retryable: true });
    expect(holdsSecret(folder)).toBe(true);
    child.send("let go");
    expect(await child.next()).toEqual({ word: "let go", facts: { isTheSame: true } });
    expect(await child.ended).toBe(0);
    await partition.scrub();
    expect(holdsSecret(folder)).toBe(false);
    expect([...dumpPartition(partition)]).toEqual(dump);
  });

  it("P5 P6 is waited for", async () => {
    const { folder, partition, child } = await erasedBeside(60_000);
    const scrub = partition.scrub();
    child.send("let go");
    expect(await child.next()).toEqual({ word: "let go", facts: { isTheSame: true } });
    await scrub;
    expect(holdsSecret(folder)).toBe(false);
  });

  it("P6 that was killed does not hold up a scrub", async () => {
    const { folder, partition, child } = await erasedBeside(0);
    child.process.kill("SIGKILL");
    expect(await child.ended).toBe("SIGKILL");
    await partition.scrub();
    expect(holdsSecret(folder)).toBe(false);
  });
});

describe("partition in a thread", () => {
  it("ends with its thread, round after round, and leaves nothing open", async () => {
    const folder = freshFolder();
    for (let round = 1; round <= 10; round++) {
      const worker = new Worker(new URL("../test/shard-thread.ts", import.meta.url), { workerData: { folder, round } });
      const ended = new Promise<number>((resolve, reject) => worker.on("exit", resolve).on("error", reject));
      expect(await ended).toBe(0);
    }
    const partition = open(folder);
    expect(partition.cleanEnd).toBe(positionOf(10));
    expect(partition.head(entityName(0))).toEqual(headAt(10));
    const writer = partition.checkpoint(positionOf(11));
    grow(writer, entityName(0), 11, 11);
    await writer.commit();
    expect([...partition.extents(entityName(0), 1, "forward")]).toHaveLength(11);
  });
});
