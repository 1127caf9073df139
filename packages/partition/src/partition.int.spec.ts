// Goal: what checkpoints put comes back, over real LMDB, in this process and after reopening.
// Elsewhere: crashes (crash.int.spec.ts), damage (damage.int.spec.ts), full disks (full-disk.int.spec.ts), readers in
// other processes (reader.int.spec.ts), codecs (the unit specs).
import fs from "node:fs";
import path from "node:path";
import { isHeddleError } from "@heddle/kernel";
import { InvariantViolation } from "@heddle/kernel/internal";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import {
  appendIdOf,
  chainOf,
  checkOf,
  cleanUp,
  entityName,
  freshFolder,
  grow,
  headAt,
  open,
  positionOf,
  singleEvents,
  snapshotAt,
} from "../test/partition-under-test.ts";
import { destroyPartition, dumpPartition, type Partition } from "./internal.ts";

afterEach(cleanUp);

const alice = "account/alice";
const seqs = (extents: Iterable<{ firstSeq: number }>): number[] => [...extents].map((extent) => extent.firstSeq);

async function commitGrowth(partition: Partition, covering: number, from: number, to: number): Promise<void> {
  const writer = partition.checkpoint(covering);
  grow(writer, alice, from, to);
  await writer.commit();
}

describe("partition: a new one", () => {
  it("covers nothing and knows nobody", () => {
    const partition = open(freshFolder());
    expect(partition.coveredPosition).toBe(0);
    expect(partition.cleanEnd).toBeUndefined();
    expect(partition.head(alice)).toBeUndefined();
    expect(partition.snapshots(alice)).toEqual([]);
    expect([...partition.extents(alice, 1, "forward")]).toEqual([]);
    expect([...partition.extents(alice, 9, "backward")]).toEqual([]);
    expect(partition.appendIdPosition(alice, "x")).toBeUndefined();
    expect([...partition.sessions()]).toEqual([]);
    expect([...partition.entities()]).toEqual([]);
  });

  it("may lie in a folder with a dot in its name", async () => {
    const folder = freshFolder("shard.3");
    const partition = open(folder);
    await commitGrowth(partition, 500, 1, 5);
    expect((await reopened(partition, folder)).head(alice)).toEqual(headAt(5));
  });
});

describe("partition: checkpoints", () => {
  it("give back which transactions are open, and keep them where a later one says nothing of them", async () => {
    const folder = freshFolder();
    let partition = open(folder);
    expect(partition.openTransactions()).toEqual({ pending: [], decided: [] });
    const pending = [
      { position: 88, coordinator: 0, number: 1 },
      { position: 2 ** 40, coordinator: 65_535, number: 2 ** 48 - 1 },
    ];
    const decided = [
      { number: 7, shards: [] },
      { number: 2 ** 47, shards: [0, 3, 65_535] },
    ];
    const writer = partition.checkpoint(500);
    writer.putOpenTransactions({ pending, decided });
    expect(partition.openTransactions()).toEqual({ pending: [], decided: [] });
    await writer.commit();
    await partition.checkpoint(600).commit();
    partition = await reopened(partition, folder);
    expect(partition.openTransactions()).toEqual({ pending, decided });
    const rows = [...dumpPartition(partition)].filter(({ table }) => table === "pending" || table === "decided");
    expect(rows).toHaveLength(4);
  });

  it("give back head, extents and snapshots, at once and after reopening", async () => {
    const folder = freshFolder();
    const first = open(folder);
    await commitGrowth(first, 500, 1, 5);
    const checkAll = (partition: Partition): void => {
      expect(partition.coveredPosition).toBe(500);
      expect(partition.head(alice)).toEqual(headAt(5));
      expect(partition.snapshots(alice).map(readable)).toEqual([readable(snapshotAt(5))]);
      expect(seqs(partition.extents(alice, 3, "forward"))).toEqual([3, 4, 5]);
      expect(seqs(partition.extents(alice, 3, "backward"))).toEqual([3, 2, 1]);
      expect([...partition.extents(alice, 5, "forward")]).toEqual([
        { firstSeq: 5, count: 1, position: positionOf(5), check: checkOf(5) },
      ]);
    };
    checkAll(first);
    checkAll(await reopened(first, folder));
  });

  it("follow each other, each adding its extents to those before", async () => {
    const partition = open(freshFolder());
    for (let round = 0; round < 40; round++) await commitGrowth(partition, round, round * 5 + 1, round * 5 + 5);
    expect(seqs(partition.extents(alice, 1, "forward"))).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(seqs(partition.extents(alice, 200, "backward"))).toEqual(Array.from({ length: 200 }, (_, i) => 200 - i));
  });

  it("replace a snapshot by aggregate and leave those of other aggregates alone", async () => {
    const partition = open(freshFolder());
    const first = partition.checkpoint(1);
    first.putEntity(alice, headAt(1), singleEvents(1, 1), [snapshotAt(1, "a"), snapshotAt(1, "b", "Limits")]);
    await first.commit();
    const second = partition.checkpoint(2);
    second.putEntity(alice, headAt(2), singleEvents(2, 2), [snapshotAt(2, "c")]);
    await second.commit();
    const third = partition.checkpoint(3);
    third.putEntity(alice, headAt(3), singleEvents(3, 3), []);
    await third.commit();
    expect(partition.snapshots(alice).map(readable)).toEqual(
      [snapshotAt(2, "c"), snapshotAt(1, "b", "Limits")].map(readable),
    );
    expect(readable(partition.snapshot(alice, "Limits")!)).toEqual(readable(snapshotAt(1, "b", "Limits")));
    expect(partition.snapshot(alice, "Limit")).toBeUndefined();
  });

  it("keep snapshots of a megabyte, and an entity of 10,000 entries put at once", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(1);
    const state = "s".repeat(1_000_000);
    writer.putEntity(alice, headAt(10_000), singleEvents(1, 10_000), [snapshotAt(10_000, state)]);
    await writer.commit();
    expect(readable(partition.snapshots(alice)[0]!)).toEqual(readable(snapshotAt(10_000, state)));
    expect(readable(partition.snapshot(alice, "Account")!)).toEqual(readable(snapshotAt(10_000, state)));
    expect(seqs(partition.extents(alice, 9_999, "forward"))).toEqual([9_999, 10_000]);
    expect(seqs(partition.extents(alice, 1, "forward"))).toHaveLength(10_000);
  });

  it("keep entities apart whose ids begin alike, and hold any character an id may hold", async () => {
    const partition = open(freshFolder());
    const ids = ["k/a", "k/a!", "k/a/b", "k/aé", "k/a€🧵", `k/${"é".repeat(255)}`];
    const writer = partition.checkpoint(1);
    for (const [i, id] of ids.entries()) {
      writer.putEntity(id, headAt(i + 1), singleEvents(1, i + 1), [snapshotAt(i + 1, id)]);
      writer.putAppendId(id, "one id", i);
    }
    await writer.commit();
    for (const [i, id] of ids.entries()) {
      expect(partition.head(id)).toEqual(headAt(i + 1));
      expect(seqs(partition.extents(id, 1, "forward"))).toHaveLength(i + 1);
      expect(partition.snapshots(id).map(readable)).toEqual([readable(snapshotAt(i + 1, id))]);
      expect(partition.appendIdPosition(id, "one id")).toBe(i);
    }
    const inByteOrder = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...partition.entities()].map(({ entity }) => entity)).toEqual(inByteOrder);
  });

  it("refuse to run two at a time, to cover less than before, and to take an entity whose extents miss its head, or are not all", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(10);
    expect(() => partition.checkpoint(20)).toThrow(InvariantViolation);
    expect(() => writer.putEntity(alice, headAt(6), singleEvents(1, 5), [])).toThrow(InvariantViolation);
    const none = new Float64Array();
    for (const inlineExtents of [singleEvents(1, 5), singleEvents(2, 6), none]) {
      expect(() => writer.putEntity(alice, { ...headAt(6), inlineExtents }, none, [])).toThrow(InvariantViolation);
    }
    const inlineExtents = singleEvents(1, 6);
    const more = singleEvents(6, 6);
    expect(() => writer.putEntity(alice, { ...headAt(6), inlineExtents }, more, [])).toThrow(InvariantViolation);
    await writer.commit();
    expect(() => writer.putAppendId(alice, "late", 1)).toThrow(InvariantViolation);
    expect(() => partition.checkpoint(9)).toThrow(InvariantViolation);
    await partition.checkpoint(10).commit();
  });

  it("keep sessions until they are dropped", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const calls = (session: number): Float64Array => Float64Array.of(7, session, 5, session + 900, 8, 2 ** 53 - 1);
    const numbers = [1, 2, 2 ** 31, 2 ** 40, 2 ** 53 - 1, ...Array.from({ length: 40 }, (_, i) => 1_000 + i)];
    const writer = partition.checkpoint(1);
    for (const session of numbers) writer.putSession(session, 1_000 + session / 2 - (session % 2) / 2, calls(session));
    writer.putSession(5, 0, new Float64Array(0));
    await writer.commit();
    const second = partition.checkpoint(2);
    second.dropSession(2 ** 31);
    second.dropSession(77_777);
    second.putSession(5, 9, Float64Array.of(1, 2));
    await second.commit();
    const left = [...(await reopened(partition, folder)).sessions()];
    const kept = [...numbers.filter((session) => session !== 2 ** 31), 5].sort((a, b) => a - b);
    expect(left.map(({ session }) => session)).toEqual(kept);
    expect(left.find(({ session }) => session === 5)).toEqual({
      session: 5,
      lastSeenMs: 9,
      calls: Float64Array.of(1, 2),
    });
    expect(left.find(({ session }) => session === 2 ** 40)!.calls).toEqual(calls(2 ** 40));
  });

  it("may be put all in one turn, beyond the bound of what is on its way, and still hold an entity together", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const writer = partition.checkpoint(500);
    const count = 25_000;
    for (let i = 0; i < count; i++) grow(writer, entityName(i), 1, 3);
    for (let i = 0; i < 100; i++) writer.putSession(i, i, Float64Array.of(i, i));
    await writer.drained();
    await writer.commit();
    const again = await reopened(partition, folder);
    let whole = 0;
    for (const { entity, head } of again.entities()) {
      if (head.seq === 3 && seqs(again.extents(entity, 1, "forward")).length === 3) whole++;
    }
    expect(whole).toBe(count);
    expect([...again.sessions()]).toHaveLength(100);
  });
});

describe("partition: 100,000 entities", () => {
  it("come back whole, in order and page by page, after checkpoints over many turns", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const count = 100_000;
    const writer = partition.checkpoint(500);
    for (let i = 0; i < count; i++) {
      const index = (i * 7_919) % count;
      grow(writer, entityName(index), 1, 2);
      if (i % 500 === 499) await new Promise((resolve) => setImmediate(resolve));
    }
    await writer.commit();

    const again = await reopened(partition, folder);
    let expected = 0;
    for (const { entity, head } of again.entities()) {
      if (entity !== entityName(expected) || head.seq !== 2) break;
      const snapshots = again.snapshots(entity);
      if (snapshots.length !== 1 || snapshots[0]!.seq !== 2) break;
      expected++;
    }
    expect(expected).toBe(count);
    expect([...again.entities(entityName(99_998))].map(({ entity }) => entity)).toEqual([
      entityName(99_998),
      entityName(99_999),
    ]);
    expect([...again.entities("b")]).toEqual([]);
    expect([...again.entities("a")]).toHaveLength(count);
  });
});

describe("partition: append ids", () => {
  it("P4 are found again, after reopening too, and only under their own entity", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const count = 60_000; // More than the filter's first layer holds.
    for (let at = 0; at < count; at += 20_000) {
      const writer = partition.checkpoint(at);
      for (let i = at; i < at + 20_000; i++) writer.putAppendId(entityName(i % 50), appendIdOf(i, 1), i);
      await writer.commit();
    }
    const checkAll = (opened: Partition): void => {
      let found = 0;
      for (let i = 0; i < count; i++) if (opened.appendIdPosition(entityName(i % 50), appendIdOf(i, 1)) === i) found++;
      expect(found).toBe(count);
      expect(opened.appendIdPosition(entityName(1), appendIdOf(50, 1))).toBeUndefined();
      expect([...opened.appendIds()]).toHaveLength(count);
    };
    checkAll(partition);
    checkAll(await reopened(partition, folder));
  });

  it("P4 hold any characters, and are told apart by them", async () => {
    const partition = open(freshFolder());
    const ids = ["", "\0", "a\0b", "a", "€", "x".repeat(200), "\u0001"];
    const writer = partition.checkpoint(1);
    for (const [i, id] of ids.entries()) writer.putAppendId(alice, id, i);
    await writer.commit();
    expect(ids.map((id) => partition.appendIdPosition(alice, id))).toEqual(ids.map((_, i) => i));
    expect(partition.appendIdPosition(alice, "a\0")).toBeUndefined();
  });

  it("that were never seen cost no read from LMDB, but for about one in a hundred", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(1);
    for (let i = 0; i < 40_000; i++) writer.putAppendId(alice, appendIdOf(i, 1), i);
    await writer.commit();
    const { reads, bloomSkips } = partition.counters;
    for (let i = 0; i < 10_000; i++) partition.appendIdPosition(alice, appendIdOf(i, 2));
    expect(partition.counters.reads - reads).toBeLessThan(150);
    expect(partition.counters.reads - reads + partition.counters.bloomSkips - bloomSkips).toBe(10_000);
  });

  it("P4 are found again when a checkpoint puts them a second time", async () => {
    const folder = freshFolder();
    let partition = open(folder);
    for (let round = 0; round < 3; round++) {
      const writer = partition.checkpoint(round);
      for (let i = 0; i < 1_000; i++) writer.putAppendId(alice, appendIdOf(i, 1), i);
      await writer.commit();
      partition = await reopened(partition, folder);
    }
    expect([...partition.appendIds()]).toHaveLength(1_000);
    expect(partition.appendIdPosition(alice, appendIdOf(999, 1))).toBe(999);
  });
});

describe("partition: reads", () => {
  it("are counted, so that a test can show that a hot entity needs none", async () => {
    const partition = open(freshFolder());
    await commitGrowth(partition, 500, 1, 5);
    expect(partition.counters.reads).toBe(0);
    partition.head(alice);
    expect(partition.counters.reads).toBe(1);
    partition.snapshots(alice);
    expect(partition.counters.reads).toBe(2);
    partition.extents(alice, 1, "forward");
    expect(partition.counters.reads).toBe(2);
    expect([...partition.extents(alice, 1, "forward")]).toHaveLength(5);
    expect(partition.counters.reads).toBe(4);
  });

  it("of an iterator left lying go on over later checkpoints, up to the head they began with", async () => {
    const partition = open(freshFolder());
    for (let seq = 1; seq <= 20; seq++) await commitGrowth(partition, seq, seq, seq);
    const walk = partition.extents(alice, 1, "forward");
    expect(walk.next().value?.firstSeq).toBe(1);
    const entities = partition.entities();
    for (let seq = 21; seq <= 30; seq++) await commitGrowth(partition, seq, seq, seq);
    expect(seqs(walk)).toEqual(Array.from({ length: 19 }, (_, i) => i + 2));
    expect(entities.next().value?.head.seq).toBe(30);
  });

  it("hold no old pages: the file does not grow while an iterator is left lying", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    for (let seq = 1; seq <= 70; seq++) await commitGrowth(partition, seq, seq, seq);
    const walk = partition.extents(alice, 1, "forward");
    walk.next();
    const entities = partition.entities();
    entities.next();
    const pages: number[] = [];
    for (let round = 0; round < 40; round++) {
      const writer = partition.checkpoint(1_000 + round);
      for (let i = 0; i < 50; i++) writer.putSession(i, round, new Float64Array(200).fill(round));
      await writer.commit();
      pages.push(fs.statSync(path.join(folder, "data.mdb")).size / 4_096);
    }
    // Pages of old sessions are used again as soon as two commits have passed.
    expect(pages.at(-1)! - pages[9]!).toBeLessThan(60);
    expect(walk.next().value?.firstSeq).toBe(2);
  });
});

describe("partition: the end of its use", () => {
  it("P5 a clean stop is remembered once: the next opening clears it before anything else", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    await commitGrowth(partition, 500, 1, 5);
    await partition.close({ cleanEnd: 777 });
    const second = open(folder);
    expect(second.cleanEnd).toBe(777);
    await second.close();
    const third = open(folder);
    expect(third.cleanEnd).toBeUndefined();
    expect(third.coveredPosition).toBe(500);
    await third.close({ cleanEnd: 0 });
    expect(open(folder).cleanEnd).toBe(0);
  });

  it("closes once, however often it is asked to", async () => {
    const partition = open(freshFolder());
    await Promise.all([partition.close({ cleanEnd: 1 }), partition.close(), partition.close()]);
  });

  it("answers reads and puts after closing with CLOSED", async () => {
    const partition = open(freshFolder());
    await commitGrowth(partition, 500, 1, 5);
    const writer = partition.checkpoint(600);
    const walk = partition.extents(alice, 1, "forward");
    await partition.close();
    const calls = [
      () => partition.head(alice),
      () => partition.snapshots(alice),
      () => walk.next(),
      () => partition.entities().next(),
      () => writer.putEntity(alice, headAt(6), singleEvents(6, 6), []),
      () => writer.dropSession(1),
      () => partition.checkpoint(700),
    ];
    for (const call of calls) expect(codeOf(call), call.toString()).toBe("CLOSED");
    await expect(writer.commit()).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("P5 in the midst of a checkpoint ends it uncovered, and what was put is whole", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    await commitGrowth(partition, 500, 1, 5);
    const writer = partition.checkpoint(600);
    for (let i = 0; i < 5_000; i++) {
      grow(writer, entityName(i), 1, 4);
      writer.putAppendId(entityName(i), appendIdOf(i, 4), i);
    }
    const commit = writer.commit();
    const outcome = expect(commit).rejects.toMatchObject({ code: "CLOSED" });
    await partition.close({ cleanEnd: 600 });
    await outcome;
    const again = open(folder);
    expect(again.coveredPosition).toBe(500);
    expect(again.cleanEnd).toBe(600);
    for (const { entity, head } of again.entities()) {
      expect(seqs(again.extents(entity, 1, "forward"))).toHaveLength(head.seq);
    }
  });

  it("P5 with puts still waiting for their turn writes them whole, or not at all", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const writer = partition.checkpoint(500);
    for (let i = 0; i < 20_000; i++) grow(writer, entityName(i), 1, 2);
    await partition.close();
    const again = open(folder);
    expect(again.coveredPosition).toBe(0);
    for (const { entity, head } of again.entities()) {
      if (seqs(again.extents(entity, 1, "forward")).length !== head.seq) expect.fail(`${entity} is not whole`);
    }
  });

  it("a destroyed partition is new the next time", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    await commitGrowth(partition, 500, 1, 5);
    await partition.close({ cleanEnd: 500 });
    destroyPartition(folder);
    destroyPartition(folder);
    const again = open(folder);
    expect([again.coveredPosition, again.cleanEnd, again.head(alice)]).toEqual([0, undefined, undefined]);
  });
});

describe("partition: dumps", () => {
  it("are equal when the same log was cut into other checkpoints", async () => {
    const live = open(freshFolder());
    const rebuilt = open(freshFolder());
    for (let round = 0; round < 10; round++) await growAll(live, round * 3 + 1, round * 3 + 3);
    for (const [from, to] of [
      [1, 17],
      [18, 30],
    ] as const) {
      await growAll(rebuilt, from, to);
    }
    expect([...dumpPartition(rebuilt)]).toEqual([...dumpPartition(live)]);
    expect([...dumpPartition(live)]).toHaveLength(1 + 20 * (1 + 30 + 1) + 20 + 1);
  });

  it("differ when anything differs", async () => {
    const dumps = [];
    for (const change of [
      "none",
      "head",
      "chain",
      "base",
      "extent",
      "check",
      "snapshot",
      "id",
      "session",
      "count",
      "erasure",
      "covered",
    ]) {
      const partition = open(freshFolder());
      const writer = partition.checkpoint(change === "covered" ? 501 : 500);
      const extents = Float64Array.of(1, 2, change === "extent" ? 101 : 100, change === "check" ? 8 : 7);
      const head = {
        ...headAt(2, change === "base" ? 1 : 0),
        time: change === "head" ? 1 : 2,
        chain: chainOf(change === "chain" ? 1 : 2),
      };
      writer.putEntity(alice, head, extents, [snapshotAt(2, change === "snapshot" ? "x" : "y")]);
      writer.putAppendId(alice, "id", change === "id" ? 1 : 2);
      writer.putSession(1, 1, Float64Array.of(1, change === "session" ? 1 : 2));
      writer.putTypeCount("Account", "Credited", 1, change === "count" ? 1 : 2);
      writer.putErasure(alice, 2, change === "erasure" ? "scrub" : "log");
      await writer.commit();
      dumps.push(JSON.stringify([...dumpPartition(partition)].map(plain)));
    }
    expect(new Set(dumps).size).toBe(12);
  });

  it("P5 are equal after checkpoints that ended early and were made again with other cuts", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ step: fc.integer({ min: 1, max: 9 }), ends: fc.boolean() }), { maxLength: 8 }),
        async (rounds) => {
          const folder = freshFolder();
          let partition = open(folder);
          let covered = 0;
          for (const { step, ends } of rounds) {
            const writer = partition.checkpoint((covered + step) * 100);
            for (let i = 0; i < 4; i++) grow(writer, entityName(i), covered + 1, covered + step);
            if (ends) {
              await writer.commit();
              covered += step;
            } else partition = await reopened(partition, folder);
          }
          const last = partition.checkpoint((covered + 2) * 100);
          for (let i = 0; i < 4; i++) grow(last, entityName(i), covered + 1, covered + 2);
          await last.commit();

          const straight = open(freshFolder());
          const writer = straight.checkpoint((covered + 2) * 100);
          for (let i = 0; i < 4; i++) grow(writer, entityName(i), 1, covered + 2);
          await writer.commit();
          expect([...dumpPartition(partition)]).toEqual([...dumpPartition(straight)]);
          await Promise.all([partition.close(), straight.close()]);
        },
      ),
      { numRuns: 15 },
    );
  });
});

async function growAll(partition: Partition, from: number, to: number): Promise<void> {
  const writer = partition.checkpoint(to * 100);
  for (let i = 0; i < 20; i++) grow(writer, entityName(i), from, to);
  for (let i = 0; i < 20; i++) if (i + 1 >= from && i + 1 <= to) writer.putAppendId(entityName(i), "id", i);
  writer.putSession(1, 1, Float64Array.of(1, 1));
  await writer.commit();
}

async function reopened(partition: Partition, folder: string): Promise<Partition> {
  await partition.close();
  return open(folder);
}

function readable(snapshot: { aggregate: string; foldVersion: number; seq: number; state: Uint8Array }): unknown {
  return { ...snapshot, state: new TextDecoder().decode(snapshot.state) };
}

function plain(entry: object): unknown {
  return Object.fromEntries(
    Object.entries(entry).map(([k, v]) => [k, ArrayBuffer.isView(v) ? [...(v as Uint8Array)] : v]),
  );
}

function codeOf(call: () => unknown): string {
  try {
    call();
    return "no error";
  } catch (error) {
    return isHeddleError(error, "CLOSED") ? error.code : String(error);
  }
}
