// Goal: an erased entity's earlier life is out of every table when the checkpoint that forgets it is covered (P6), its
// append ids still never take effect again (P4), and nobody ever reads a half of it (P5).
// Elsewhere: bytes that LMDB leaves in its file (scrub.int.spec.ts), kills (crash.int.spec.ts).
import { InvariantViolation } from "@heddle/kernel/internal";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import {
  appendIdOf,
  checkOf,
  cleanUp,
  entityName,
  freshFolder,
  grow,
  headAt,
  open,
  openReader,
  positionOf,
  singleEvents,
  snapshotAt,
} from "../test/partition-under-test.ts";
import { dumpPartition, erasedIdName, erasedIdNameOfDigest, type Partition } from "./internal.ts";

afterEach(cleanUp);

const alice = "account/alice";
const seqs = (extents: Iterable<{ firstSeq: number }>): number[] => [...extents].map((extent) => extent.firstSeq);

/** Entities that must stay as they are: their ids begin like the one that is erased. */
const neighbours = ["account/alic", "account/alice/2", "account/alicf"];

async function grown(partition: Partition, to: number): Promise<void> {
  const writer = partition.checkpoint(positionOf(to));
  for (const entity of [alice, ...neighbours]) {
    grow(writer, entity, 1, to);
    for (let seq = 1; seq <= to; seq++) writer.putAppendId(entity, appendIdOf(1, seq), positionOf(seq));
  }
  await writer.commit();
}

/** Erases at a sequence, and puts what the next life brought up to `to`. */
async function erased(partition: Partition, at: number, to = at): Promise<void> {
  const writer = partition.checkpoint(positionOf(to));
  writer.forgetHistory(alice, { belowSeq: at, belowPosition: positionOf(at) });
  writer.putEntity(alice, headAt(to, at), singleEvents(at, to), to > at ? [snapshotAt(to, "new life")] : []);
  await writer.commit();
}

const of = (entities: readonly string[], partition: Partition): unknown[] =>
  [...dumpPartition(partition)].filter((entry) => "entity" in entry && entities.includes(entry.entity));

describe("forgetting", () => {
  it("P6 P4 leaves the tombstone and the ids' digests, and nothing else of the entity; others keep everything", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    await grown(partition, 40);
    const others = of(neighbours, partition);
    await erased(partition, 41);

    const digests = Array.from({ length: 40 }, (_, i) => ({
      table: "append-id",
      entity: alice,
      id: erasedIdName(alice, appendIdOf(1, i + 1)),
      position: positionOf(i + 1),
    }));
    const checkAll = (opened: Partition): void => {
      expect(of([alice], opened)).toEqual([
        { table: "head", entity: alice, ...headAt(41, 41) },
        { table: "extent", entity: alice, firstSeq: 41, count: 1, position: positionOf(41), check: expect.any(Number) },
        ...digests.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
      ]);
      expect(of(neighbours, opened)).toEqual(others);
      for (let seq = 1; seq <= 40; seq++) {
        expect(opened.appendIdPosition(alice, appendIdOf(1, seq))).toBeUndefined();
        expect(opened.appendIdPosition(alice, erasedIdName(alice, appendIdOf(1, seq)))).toBe(positionOf(seq));
      }
    };
    checkAll(partition);
    await partition.close();
    checkAll(open(folder));
  });

  it("P6 leaves no remnants to whoever looks below the tombstone, where there were many before", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    await grown(partition, 40);
    const below = { belowSeq: 41, belowPosition: positionOf(41) };
    const reader = openReader(folder);
    expect(reader.remnants(alice, below)).toEqual({ snapshots: ["Account"], extents: 40, appendIds: 40 });
    await erased(partition, 41, 43);
    await new Promise((resolve) => setImmediate(resolve)); // A reader sees what was committed when its turn began.
    expect(reader.remnants(alice, below)).toEqual({ snapshots: [], extents: 0, appendIds: 0 });
    expect(reader.remnants(neighbours[0]!, below)).toEqual({ snapshots: ["Account"], extents: 40, appendIds: 40 });
  });

  it("lets a new life go on from the tombstone, and walks end there in both directions", async () => {
    const partition = open(freshFolder());
    await grown(partition, 10);
    await erased(partition, 11, 14);
    expect(seqs(partition.extents(alice, 1, "forward"))).toEqual([11, 12, 13, 14]);
    expect(seqs(partition.extents(alice, 13, "forward"))).toEqual([13, 14]);
    expect(seqs(partition.extents(alice, Number.POSITIVE_INFINITY, "backward"))).toEqual([14, 13, 12, 11]);
    expect(seqs(partition.extents(alice, 5, "backward"))).toEqual([]);
    expect(partition.snapshots(alice).map(({ seq }) => seq)).toEqual([14]);

    const writer = partition.checkpoint(positionOf(16));
    writer.putEntity(alice, headAt(16, 11), singleEvents(15, 16), []);
    writer.putAppendId(alice, "of the new life", positionOf(15));
    await writer.commit();
    await erased(partition, 17, 18);
    expect(seqs(partition.extents(alice, 1, "forward"))).toEqual([17, 18]);
    // Digests of the first life are not digested again.
    expect(partition.appendIdPosition(alice, erasedIdName(alice, appendIdOf(1, 3)))).toBe(positionOf(3));
    expect(partition.appendIdPosition(alice, erasedIdName(alice, "of the new life"))).toBe(positionOf(15));
  });

  it("P6 hides the ids of the same checkpoint, whether they are put before or after, but none of the next life", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(positionOf(6));
    writer.putAppendId(alice, "before", positionOf(2));
    writer.forgetHistory(alice, { belowSeq: 4, belowPosition: positionOf(4) });
    writer.putEntity(alice, headAt(6, 4), singleEvents(4, 6), []);
    writer.putAppendId(alice, "after", positionOf(3));
    writer.putAppendId(alice, "next life", positionOf(5));
    await writer.commit();
    expect([...partition.appendIds()].map(({ id }) => id)).toEqual([
      ...[erasedIdName(alice, "after"), erasedIdName(alice, "before")].toSorted(),
      "next life",
    ]);
    expect(partition.appendIdPosition(alice, erasedIdName(alice, "before"))).toBe(positionOf(2));
  });

  it("P6 P4 takes old ids out of a run that the same checkpoint merges with ids of the next life", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const ids = (life: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${life} ${i}`);
    const first = partition.checkpoint(positionOf(3));
    grow(first, alice, 1, 3);
    for (const id of ids("old", 300)) first.putAppendId(alice, id, positionOf(3));
    await first.commit();
    const second = partition.checkpoint(positionOf(6));
    second.forgetHistory(alice, { belowSeq: 5, belowPosition: positionOf(5) });
    second.putEntity(alice, headAt(6, 5), singleEvents(5, 6), []);
    for (const id of ids("unseen", 300)) second.putAppendId(alice, id, positionOf(4));
    for (const id of ids("new", 300)) second.putAppendId(alice, id, positionOf(6));
    await second.commit();
    const found = (names: readonly string[]) => names.map((name) => partition.appendIdPosition(alice, name));
    const old = [...ids("old", 300), ...ids("unseen", 300)];
    expect(new Set(found(old))).toEqual(new Set([undefined]));
    expect(found(old.map((id) => erasedIdName(alice, id)))).toEqual(old.map((_, i) => positionOf(i < 300 ? 3 : 4)));
    expect(new Set(found(ids("new", 300)))).toEqual(new Set([positionOf(6)]));
    expect([...partition.appendIds()]).toHaveLength(900);
    const reader = openReader(folder);
    expect(reader.remnants(alice, { belowSeq: 5, belowPosition: positionOf(5) }).appendIds).toBe(0);
    await reader.close();
  });

  it("P5 takes effect with the head and not before", async () => {
    const partition = open(freshFolder());
    await grown(partition, 5);
    const before = of([alice], partition);
    const writer = partition.checkpoint(positionOf(6));
    writer.forgetHistory(alice, { belowSeq: 6, belowPosition: positionOf(6) });
    await new Promise((resolve) => setImmediate(resolve));
    expect(of([alice], partition)).toEqual(before);
    writer.putEntity(alice, headAt(6, 6), singleEvents(6, 6), []);
    await writer.drained();
    await writer.commit();
    expect(partition.snapshots(alice)).toEqual([]);
  });

  it("is asked for before the head that it belongs to, and refuses another", async () => {
    const partition = open(freshFolder());
    await grown(partition, 5);
    const writer = partition.checkpoint(positionOf(6));
    writer.forgetHistory(alice, { belowSeq: 6, belowPosition: positionOf(6) });
    expect(() => writer.putEntity(alice, headAt(6, 0), singleEvents(6, 6), [])).toThrow(InvariantViolation);
    await expect(writer.commit()).rejects.toThrow(InvariantViolation);
    writer.putEntity(alice, headAt(6, 6), singleEvents(6, 6), []);
    await writer.commit();
  });

  it("P5 cuts chunks that reach over the tombstone, whatever checkpoints that did not end have left behind", async () => {
    const cuts = fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 12 })), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(cuts, fc.integer({ min: 2, max: 20 }), fc.nat({ max: 3 }), async (chunks, base, more) => {
        const partition = open(freshFolder());
        const last = base + more;
        const writer = partition.checkpoint(1);
        for (const [from, length] of chunks) {
          const to = from + length;
          writer.putEntity(alice, headAt(to), singleEvents(from, to), []);
        }
        await writer.commit();
        await erased(partition, base, last);
        expect(seqs(partition.extents(alice, 1, "forward"))).toEqual(seqs(wanted(base, last)));
        expect(seqs(partition.extents(alice, last, "backward"))).toEqual(seqs(wanted(base, last)).reverse());

        // The log goes on, as the leftovers of above say it does.
        const reach = Math.max(last, ...chunks.map(([from, length]) => from + length));
        const next = partition.checkpoint(positionOf(reach));
        next.putEntity(alice, headAt(reach, base), singleEvents(last + 1, reach), []);
        await next.commit();
        expect(seqs(partition.extents(alice, 1, "forward"))).toEqual(seqs(wanted(base, reach)));
        await partition.close();
      }),
      { numRuns: 25 },
    );
  });

  it("P5 P6 cuts chunks that hold both lives, when nothing new is put", async () => {
    const partition = open(freshFolder());
    for (const [from, to] of [
      [1, 4],
      [3, 12],
      [5, 9],
      [2, 11],
    ] as const) {
      const writer = partition.checkpoint(1);
      writer.putEntity(alice, headAt(to), singleEvents(from, to), []);
      await writer.commit();
    }
    const writer = partition.checkpoint(1);
    writer.forgetHistory(alice, { belowSeq: 8, belowPosition: positionOf(8) });
    writer.putEntity(alice, headAt(12, 8), new Float64Array(0), []);
    await writer.commit();
    expect([...partition.extents(alice, 1, "forward")]).toEqual(
      [8, 9, 10, 11, 12].map((seq) => ({ firstSeq: seq, count: 1, position: positionOf(seq), check: checkOf(seq) })),
    );
    expect(seqs(partition.extents(alice, 12, "backward"))).toEqual([12, 11, 10, 9, 8]);
  });

  it("of 100,000 ids and as many extents goes in turns, and finds every id by its digest afterwards", async () => {
    const partition = open(freshFolder());
    const count = 100_000;
    const writer = partition.checkpoint(positionOf(count));
    grow(writer, alice, 1, count);
    for (let seq = 1; seq <= count; seq++) writer.putAppendId(alice, appendIdOf(1, seq), positionOf(seq));
    await writer.commit();
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await erased(partition, count + 1);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(50);
    expect(seqs(partition.extents(alice, 1, "forward"))).toEqual([count + 1]);
    let found = 0;
    for (const { id, position } of partition.appendIds()) {
      if (id === erasedIdName(alice, appendIdOf(1, position / 100))) found++;
    }
    expect(found).toBe(count);
    expect(partition.appendIdPosition(alice, erasedIdName(alice, appendIdOf(1, 77_777)))).toBe(positionOf(77_777));
  });

  it("keeps ids whose names are only like those of erased ones", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(1);
    const names = ["\0erased\0", "\0erased\0nothex", "erased", "\0"];
    for (const name of names) writer.putAppendId(alice, name, 1);
    await writer.commit();
    await erased(partition, 1);
    for (const name of names) {
      expect(partition.appendIdPosition(alice, name)).toBeUndefined();
      expect(partition.appendIdPosition(alice, erasedIdName(alice, name))).toBe(1);
    }
    expect(erasedIdNameOfDigest(Uint8Array.of(0, 1, 2, 3, 4, 5, 254, 255))).toBe("\0erased\x000001020304" + "05feff");
  });
});

describe("entities that were only read", () => {
  it("get a snapshot without new extents", async () => {
    const partition = open(freshFolder());
    await grown(partition, 5);
    const writer = partition.checkpoint(positionOf(5));
    writer.putEntity(alice, headAt(5), new Float64Array(0), [snapshotAt(5, "of the new fold")]);
    await writer.commit();
    expect(partition.head(alice)).toEqual(headAt(5));
    expect(new TextDecoder().decode(partition.snapshots(alice)[0]!.state)).toBe("of the new fold");
    expect(seqs(partition.extents(alice, 1, "forward"))).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("catalogue", () => {
  it("gives counts by aggregate, type and version in order, takes new ones, and drops those of zero", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const first = partition.checkpoint(1);
    for (const version of [300, 2, 1]) first.putTypeCount("Account", "Credited", version, version * 10);
    first.putTypeCount("Account2", "A", 1, 2 ** 40);
    first.putTypeCount("Account", "Zeroed", 1, 5);
    expect(partition.catalogue()).toEqual([]);
    await first.commit();
    const second = partition.checkpoint(2);
    second.putTypeCount("Account", "Zeroed", 1, 0);
    second.putTypeCount("Account", "Credited", 2, 21);
    await second.commit();
    await partition.close();
    const row = (aggregate: string, type: string, schemaVersion: number, count: number): object => ({
      aggregate,
      type,
      schemaVersion,
      count,
    });
    expect(open(folder).catalogue()).toEqual([
      row("Account", "Credited", 1, 10),
      row("Account", "Credited", 2, 21),
      row("Account", "Credited", 300, 3_000),
      row("Account2", "A", 1, 2 ** 40),
    ]);
  });
});

describe("erasures under way", () => {
  it("are noted by stage until they are dropped", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const first = partition.checkpoint(1);
    for (let i = 0; i < 3_000; i++) first.putErasure(entityName(i), i + 1, "log");
    await first.commit();
    const second = partition.checkpoint(2);
    for (let i = 2; i < 3_000; i++) second.dropErasure(entityName(i));
    second.dropErasure("account/nobody");
    second.putErasure(entityName(1), 2, "scrub");
    await second.commit();
    await partition.close();
    expect(open(folder).erasures()).toEqual([
      { entity: entityName(0), seq: 1, stage: "log" },
      { entity: entityName(1), seq: 2, stage: "scrub" },
    ]);
  });
});

describe("lists of entities", () => {
  it("read little more than is taken of them", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(1);
    for (let i = 0; i < 5_000; i++) grow(writer, entityName(i), 1, 1);
    await writer.commit();
    const readsOf = (taken: number): number => {
      const before = partition.counters.reads;
      let count = 0;
      for (const { entity } of partition.entities(entityName(1_000))) {
        expect(entity).toBe(entityName(1_000 + count));
        if (++count === taken) break;
      }
      expect(count).toBe(taken);
      return partition.counters.reads - before;
    };
    expect([1, 16, 17, 80, 81, 336, 337].map(readsOf)).toEqual([1, 1, 2, 2, 3, 3, 4]);
  });
});

function wanted(from: number, to: number): { firstSeq: number }[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({ firstSeq: from + i }));
}
