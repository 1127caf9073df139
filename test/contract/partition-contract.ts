// What every Partition owes the shard. Each supplies only its making; what is special to LMDB (crashes of a process, damage,
// bytes that are left, readers elsewhere) stands in the specs of packages/partition.
import type { EntityHead, Partition, SnapshotRecord } from "@heddle/partition/internal";
import {
  dumpPartition,
  erasedIdName,
  FreshIds,
  hashAppendId,
  newIdHash,
  PackedHeads,
} from "@heddle/partition/internal";
import { afterEach, beforeEach, expect, it } from "vitest";

export interface PartitionsUnderTest {
  /** Opens the one partition of this test; the one before was closed. */
  open(): Partition;
  readonly cleanUp?: () => Promise<void>;
}

const alice = "account/alice";
const bob = "account/bob";

function headAt(seq: number, more: Partial<EntityHead> = {}): EntityHead {
  const chain = String.fromCharCode(...Array.from({ length: 32 }, (_, i) => (seq * 7 + i) & 0xff));
  return { seq, position: seq * 100, time: 1_700_000_000_000 + seq, chain, baseSeq: 0, ...more };
}

function extents(from: number, to: number): Float64Array {
  const quads: number[] = [];
  for (let seq = from; seq <= to; seq++) quads.push(seq, 1, seq * 100, seq * 31);
  return Float64Array.from(quads);
}

function snapshotAt(seq: number, text: string, aggregate = "Account"): SnapshotRecord {
  return { aggregate, foldVersion: 1, seq, state: new TextEncoder().encode(text) };
}

export function partitionContract(make: () => PartitionsUnderTest): void {
  let under: PartitionsUnderTest;
  let partition: Partition;

  beforeEach(() => {
    under = make();
    partition = under.open();
  });
  afterEach(async () => {
    await partition.close();
    await under.cleanUp?.();
  });

  const reopen = async (): Promise<void> => {
    await partition.close();
    partition = under.open();
  };
  const texts = (entity: string) =>
    partition.snapshots(entity).map(({ aggregate, seq, state }) => [aggregate, seq, Buffer.from(state).toString()]);
  const seqs = (from: number, direction: "forward" | "backward") =>
    [...partition.extents(alice, from, direction)].map(({ firstSeq }) => firstSeq);
  const commitAlice = async (covering: number, from: number, to: number): Promise<void> => {
    const writer = partition.checkpoint(covering);
    writer.putEntity(alice, headAt(to), extents(from, to), [snapshotAt(to, `state ${to}`)]);
    await writer.commit();
  };

  it("covers nothing and knows nobody when it is new", () => {
    expect([...dumpPartition(partition)]).toEqual([{ table: "covered", position: 0 }]);
    expect(partition.cleanEnd).toBeUndefined();
    expect(partition.head(alice)).toBeUndefined();
    expect(partition.appendIdPosition(alice, "x")).toBeUndefined();
  });

  it("gives back what a checkpoint put, at once and after opening again", async () => {
    await commitAlice(500, 1, 5);
    const before = [...dumpPartition(partition)];
    expect(partition.coveredPosition).toBe(500);
    expect(partition.head(alice)).toEqual(headAt(5, { alarm: undefined }));
    expect(texts(alice)).toEqual([["Account", 5, "state 5"]]);
    await reopen();
    expect([...dumpPartition(partition)]).toEqual(before);
  });

  it("walks extents from the one that holds a sequence, up and down, over many checkpoints", async () => {
    for (let round = 0; round < 20; round++) await commitAlice(round, round * 5 + 1, round * 5 + 5);
    expect(seqs(98, "forward")).toEqual([98, 99, 100]);
    expect(seqs(3, "backward")).toEqual([3, 2, 1]);
    expect(seqs(1, "forward")).toHaveLength(100);
    expect(seqs(500, "backward")).toHaveLength(100);
    expect(seqs(101, "forward")).toEqual([]);
  });

  it("takes the same extents again from a checkpoint that was repeated", async () => {
    await commitAlice(500, 1, 5);
    await commitAlice(600, 4, 6);
    expect(seqs(1, "forward")).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("walks extents that the head was given as it walks others, and takes them again with those that follow", async () => {
    const first = partition.checkpoint(500);
    first.putEntity(alice, headAt(5, { inlineExtents: extents(1, 5) }), new Float64Array(), []);
    first.putEntity(bob, headAt(2), extents(1, 2), []);
    await first.commit();
    await reopen();
    expect(seqs(1, "forward")).toEqual([1, 2, 3, 4, 5]);
    expect(seqs(3, "forward")).toEqual([3, 4, 5]);
    expect(seqs(3, "backward")).toEqual([3, 2, 1]);
    expect(seqs(6, "forward")).toEqual([]);
    const [third] = partition.extents(alice, 3, "forward");
    expect(third).toEqual({ firstSeq: 3, count: 1, position: 300, check: 93 });
    const dumped = [...dumpPartition(partition)].filter((row) => row.table === "head" && row.entity === alice);
    expect(dumped).toEqual([{ table: "head", entity: alice, ...headAt(5, { alarm: undefined }) }]);
    await commitAlice(700, 1, 7);
    expect(seqs(1, "forward")).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(partition.head(alice)?.inlineExtents).toBeUndefined();
  });

  it("P5 takes packed heads as they stand, and reads them as others, also when the next ones stand in their room", async () => {
    const heads = new PackedHeads();
    const entities = Array.from({ length: 3_000 }, (_, i) => `account/${i}`);
    const eventsOf = (i: number, round: number) => 1 + ((i + round) % 8);
    for (const round of [1, 2]) {
      const writer = partition.checkpoint(round);
      for (const [i, entity] of entities.entries()) {
        const events = eventsOf(i, round);
        writer.putPackedHead(heads, heads.add(entity, headAt(events), extents(1, events)));
      }
      await writer.commit();
      heads.clear();
    }
    await reopen();
    for (const [i, entity] of entities.entries()) {
      const events = eventsOf(i, 2);
      expect(partition.head(entity)).toMatchObject(headAt(events));
      const found = [...partition.extents(entity, 1, "forward")].map(({ firstSeq, position }) => [firstSeq, position]);
      expect(found).toEqual(Array.from({ length: events }, (_, k) => [k + 1, 100 * (k + 1)]));
    }
  });

  it("replaces a snapshot by aggregate and leaves those of others alone", async () => {
    const first = partition.checkpoint(1);
    first.putEntity(alice, headAt(1), extents(1, 1), [snapshotAt(1, "a"), snapshotAt(1, "b", "Limits")]);
    await first.commit();
    await commitAlice(2, 2, 2);
    expect(texts(alice)).toEqual([
      ["Account", 2, "state 2"],
      ["Limits", 1, "b"],
    ]);
  });

  it("lists entities, snapshots and ids in the order of their bytes", async () => {
    const ids = ["k/a", "k/a!", "k/a/b", "k/aé", "k/a€🧵", "k/a\u{ffff}"];
    const writer = partition.checkpoint(1);
    for (const id of [...ids].reverse()) {
      writer.putEntity(id, headAt(1), extents(1, 1), [snapshotAt(1, id)]);
      writer.putAppendId(id, "one id", 7);
    }
    await writer.commit();
    const inOrder = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...partition.entities()].map(({ entity }) => entity)).toEqual(inOrder);
    expect([...partition.entities("k/a/b")].map(({ entity }) => entity)).toEqual(inOrder.slice(2));
    expect([...partition.allSnapshots()].map(({ entity }) => entity)).toEqual(inOrder);
    expect([...partition.appendIds()].map(({ entity }) => entity)).toEqual(inOrder);
    expect(partition.appendIdPosition("k/a!", "one id")).toBe(7);
    expect(partition.appendIdPosition("k/a!", "another id")).toBeUndefined();
  });

  const hashOf = (id: string) => hashAppendId(alice, id, newIdHash());
  const announced = (ids: FreshIds, id: string, position: number): FreshIds => {
    const hash = hashOf(id);
    ids.add(alice, id, hash, position, partition.announceAppendId(hash));
    return ids;
  };

  it("P4 knows an id from its announcement on, and in later lives once a checkpoint has brought it", async () => {
    expect([partition.mayKnowAppendId(hashOf("a")), partition.announceAppendId(hashOf("a"))]).toEqual([false, true]);
    expect([partition.mayKnowAppendId(hashOf("a")), partition.announceAppendId(hashOf("a"))]).toEqual([true, false]);
    expect(partition.appendIdPosition(alice, "a")).toBeUndefined();
    const writer = partition.checkpoint(1);
    writer.takeAppendIds(announced(announced(new FreshIds(), "a", 7), "b", 8));
    await writer.commit();
    await reopen();
    expect(["a", "b", "c"].map((id) => partition.mayKnowAppendId(hashOf(id)))).toEqual([true, true, false]);
    expect(["a", "b"].map((id) => partition.appendIdPosition(alice, id))).toEqual([7, 8]);
  });

  it("keeps sessions until they are dropped", async () => {
    const first = partition.checkpoint(1);
    first.putSession(9, 5_000, Float64Array.of(1, 100, 2, 200));
    first.putSession(8, 4_000, new Float64Array(0));
    await first.commit();
    const second = partition.checkpoint(2);
    second.dropSession(8);
    await second.commit();
    await reopen();
    expect([...partition.sessions()]).toEqual([
      { session: 9, lastSeenMs: 5_000, calls: Float64Array.of(1, 100, 2, 200) },
    ]);
  });

  it("moves counts, erasures and open transactions together with the covered position", async () => {
    const open = {
      pending: [{ position: 640, coordinator: 3, number: 2 ** 47 }],
      decided: [{ number: 12, shards: [1, 2] }],
    };
    const first = partition.checkpoint(700);
    first.putTypeCount("Account", "Credited", 1, 4);
    first.putTypeCount("Account", "Debited", 2, 1);
    first.putErasure(bob, 7, "log");
    first.putOpenTransactions(open);
    await first.commit();
    const second = partition.checkpoint(800);
    second.putTypeCount("Account", "Debited", 2, 0);
    await second.commit();
    await reopen();
    expect(partition.coveredPosition).toBe(800);
    expect(partition.catalogue()).toEqual([{ aggregate: "Account", type: "Credited", schemaVersion: 1, count: 4 }]);
    expect(partition.erasures()).toEqual([{ entity: bob, seq: 7, stage: "log" }]);
    expect(partition.openTransactions()).toEqual(open);
    const third = partition.checkpoint(900);
    third.dropErasure(bob);
    await third.commit();
    expect(partition.erasures()).toEqual([]);
  });

  it("P6 forgets an erased life: snapshots, extents and the names of ids below the tombstone", async () => {
    const first = partition.checkpoint(500);
    first.putEntity(alice, headAt(5), extents(1, 5), [snapshotAt(5, "secret")]);
    first.putAppendId(alice, "secret id", 300);
    await first.commit();
    const second = partition.checkpoint(800);
    second.forgetHistory(alice, { belowSeq: 6, belowPosition: 600 });
    second.putEntity(alice, headAt(7, { baseSeq: 6 }), extents(6, 7), []);
    second.putAppendId(alice, "new id", 700);
    await second.commit();
    expect(texts(alice)).toEqual([]);
    expect(seqs(1, "forward")).toEqual([6, 7]);
    expect(partition.appendIdPosition(alice, "secret id")).toBeUndefined();
    expect(partition.appendIdPosition(alice, erasedIdName(alice, "secret id"))).toBe(300);
    expect(partition.appendIdPosition(alice, "new id")).toBe(700);
    await partition.scrub();
    expect(seqs(1, "forward")).toEqual([6, 7]);
  });

  it("has the alarms of a kind by their time, then by the bytes of their entities, as their heads say", async () => {
    const put = async (covering: number, entity: string, alarm: number | undefined, alarmBefore?: number) => {
      const writer = partition.checkpoint(covering);
      writer.putEntity(entity, headAt(covering, { alarm }), new Float64Array(0), [], alarmBefore);
      await writer.commit();
    };
    await put(1, "timer/b", 2_000);
    await put(2, "timer/a", 2_000);
    await put(3, "timer/c", 1_000);
    await put(4, "other/a", 500);
    const all = [
      { entity: "timer/c", due: 1_000 },
      { entity: "timer/a", due: 2_000 },
      { entity: "timer/b", due: 2_000 },
    ];
    expect(partition.alarms({ kind: "timer", limit: 10 })).toEqual(all);
    expect(partition.alarms({ kind: "timer", limit: 1, after: all[0] })).toEqual([all[1]]);
    expect(partition.alarms({ kind: "timer", from: 1_001, to: 2_001, limit: 10 })).toEqual(all.slice(1));
    expect(partition.countAlarms({ kind: "timer" })).toBe(3);
    await put(5, "timer/a", undefined, 2_000);
    await put(6, "timer/c", 3_000, 1_000);
    await reopen();
    expect(partition.alarms({ kind: "timer", limit: 10 })).toEqual([all[2], { entity: "timer/c", due: 3_000 }]);
  });

  it("refuses two checkpoints at a time, to cover less than before, and an entity whose extents miss its head", async () => {
    const writer = partition.checkpoint(10);
    expect(() => partition.checkpoint(20)).toThrow(/partition\/one-checkpoint/);
    expect(() => writer.putEntity(alice, headAt(6), extents(1, 5), [])).toThrow(/partition\/extents-reach-head/);
    await writer.commit();
    expect(() => writer.putAppendId(alice, "late", 1)).toThrow(/partition\/checkpoint-open/);
    expect(() => partition.checkpoint(9)).toThrow(/partition\/covers-forward/);
  });

  it("P5 covers nothing of a checkpoint that was not committed", async () => {
    await commitAlice(500, 1, 5);
    const writer = partition.checkpoint(700);
    writer.putEntity(bob, headAt(1), extents(1, 1), []);
    writer.putTypeCount("Account", "Credited", 1, 9);
    await writer.drained();
    await reopen();
    expect(partition.coveredPosition).toBe(500);
    expect(partition.catalogue()).toEqual([]);
  });

  it("P5 knows a clean stop from any other, once", async () => {
    await partition.close({ cleanEnd: 1_234 });
    partition = under.open();
    expect(partition.cleanEnd).toBe(1_234);
    await reopen();
    expect(partition.cleanEnd).toBeUndefined();
  });

  it("answers nothing once it is closed", async () => {
    const writer = partition.checkpoint(10);
    await partition.close();
    expect(() => partition.head(alice)).toThrow(expect.objectContaining({ code: "CLOSED" }));
    expect(() => partition.checkpoint(20)).toThrow(expect.objectContaining({ code: "CLOSED" }));
    expect(() => writer.putAppendId(alice, "late", 1)).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });
}
