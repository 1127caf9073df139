// Goal: no room makes a checkpoint fail with DISK_FULL and nothing else: reads go on, and so do later checkpoints (P8).
import { afterEach, describe, expect, it } from "vitest";
import {
  appendIdOf,
  cleanUp,
  entityName,
  freshFolder,
  grow,
  headAt,
  open,
  openReader,
  startChild,
} from "../test/partition-under-test.ts";

afterEach(cleanUp);

describe("full disk", () => {
  it("P8 a checkpoint beyond the partition's own bound is refused, and the one before stays", async () => {
    const folder = freshFolder();
    const partition = open(folder, { mapSizeBytes: 1_000_000 });
    let covering = 0;
    const checkpoint = async (): Promise<void> => {
      covering++;
      const writer = partition.checkpoint(covering);
      for (let i = 0; i < 500; i++) {
        grow(writer, entityName(i), covering, covering);
        writer.putAppendId(entityName(i), appendIdOf(i, covering), covering);
        if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
      }
      await writer.commit();
    };
    let refusal: unknown;
    while (refusal === undefined && covering < 100) await checkpoint().catch((error: unknown) => (refusal = error));
    expect(refusal).toMatchObject({ code: "DISK_FULL", retryable: true, facts: { shard: 3 } });
    expect(String((refusal as Error).message)).toContain(folder);
    expect(covering).toBeGreaterThan(2);

    expect(partition.coveredPosition).toBe(covering - 1);
    for (let i = 0; i < 500; i++) {
      const seq = partition.head(entityName(i))!.seq;
      expect(seq).toBeGreaterThanOrEqual(covering - 1);
      expect([...partition.extents(entityName(i), 1, "forward")]).toHaveLength(seq);
      expect(partition.appendIdPosition(entityName(i), appendIdOf(i, covering - 1))).toBe(covering - 1);
    }

    // More room: the same checkpoint again succeeds.
    await partition.close();
    const roomier = open(folder, { mapSizeBytes: 10_000_000 });
    const again = roomier.checkpoint(covering);
    for (let i = 0; i < 500; i++) grow(again, entityName(i), covering, covering);
    await again.commit();
    expect(roomier.head(entityName(0))).toEqual(headAt(covering));
    expect([...roomier.extents(entityName(0), 1, "forward")]).toHaveLength(covering);
  });

  it("P8 the clean stop of a partition without room is refused, and it is closed all the same", async () => {
    const folder = freshFolder();
    const partition = open(folder, { mapSizeBytes: 1 });
    await expect(partition.checkpoint(1).commit()).rejects.toMatchObject({ code: "DISK_FULL" });
    await expect(partition.close({ cleanEnd: 9 })).rejects.toMatchObject({ code: "DISK_FULL" });
    await expect(partition.close()).rejects.toMatchObject({ code: "DISK_FULL" });
    expect(() => partition.head("account/alice")).toThrow(/closed/);
    await cleanUp().catch(() => {});
    const reader = openReader(folder);
    expect(reader.coveredPosition).toBe(0);
  });

  it("P8 a write that the system cuts short is DISK_FULL; the process lives, reads, and writes on when it can", async () => {
    const folder = freshFolder();
    const child = startChild({ kind: "fill", folder }, { fileBytesMax: 1_024 * 1_024 });
    const refused = (await child.next()).facts!;
    expect(refused["message"]).toContain("no room on the disk");
    const seq = refused["seq"] as number;
    expect(refused).toMatchObject({
      full: true,
      covered: (seq - 1) * 100,
      head: seq - 1,
      snapshot: seq - 1,
      snapshotBytes: (seq - 1) * 4_000,
    });
    expect(await child.next()).toEqual({ word: "went-on", facts: { small: seq } });
    expect(await child.ended).toBe(0);

    const partition = open(folder);
    expect(partition.coveredPosition).toBe(seq * 100);
    expect(partition.head("account/small")?.seq).toBe(1);
    expect(partition.snapshots("account/big")[0]?.seq).toBe(seq - 1);
  });
});
