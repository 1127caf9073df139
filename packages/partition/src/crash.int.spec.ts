// Goal: whatever instruction a kill hits, the partition opens, covers what it says, and holds every entity together (P5).
//
// A child process is killed: by itself at named points of a commit, or by the test while it waits. Everything is
// triggered by messages; nothing is timed.
import fs from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  appendIdOf,
  busyIdsOf,
  busyRoundIds,
  cleanUp,
  entityName,
  eraseSome,
  freshFolder,
  grow,
  headAt,
  holdsSecret,
  idsOfLife,
  isErased,
  open,
  positionOf,
  putIds,
  putLives,
  singleEvents,
  startChild,
} from "../test/partition-under-test.ts";
import { checkPartitionFile, dumpPartition, erasedIdName, type Partition } from "./internal.ts";

afterEach(cleanUp);

const entities = 1_500;
/** Of them, such as get so many ids in each round that they stand in runs, which the second round merges. */
const busyIds = 20 * busyRoundIds;

/** Each entity as the first checkpoint left it or as the second would have, never a mixture. Returns how many are new. */
function checkEntities(partition: Partition): number {
  let newer = 0;
  let checked = 0;
  for (const { entity, head } of partition.entities()) {
    expect([5, 10]).toContain(head.seq);
    expect(head).toEqual(headAt(head.seq));
    expect([...partition.extents(entity, 1, "forward")].map(({ firstSeq }) => firstSeq)).toEqual([
      ...singleEvents(1, head.seq).filter((_, i) => i % 4 === 0),
    ]);
    expect(partition.snapshots(entity).map(({ seq }) => seq)).toEqual([head.seq]);
    if (head.seq === 10) newer++;
    checked++;
  }
  expect(checked).toBe(entities);
  return newer;
}

/** Every id that LMDB has is found through the filter, and all of the covered checkpoint are there. */
function checkAppendIds(partition: Partition): number {
  let stored = 0;
  for (const { entity, id, position } of partition.appendIds()) {
    stored++;
    if (partition.appendIdPosition(entity, id) !== position) expect.fail(`${id} is in LMDB and not in the filter`);
  }
  for (let i = 0; i < entities; i++) {
    if (partition.appendIdPosition(entityName(i), appendIdOf(i, 5)) !== positionOf(5)) expect.fail(`id ${i} is lost`);
    for (const id of busyIdsOf(i, 5)) {
      if (partition.appendIdPosition(entityName(i), id) !== positionOf(5)) expect.fail(`${id} of ${i} is lost`);
    }
  }
  return stored;
}

/** What recovery does: puts everything since the covered position again, cut in another way. */
async function replay(partition: Partition): Promise<void> {
  for (const [from, to] of [
    [6, 8],
    [9, 10],
  ] as const) {
    const writer = partition.checkpoint(to * 100);
    for (let i = 0; i < entities; i++) {
      grow(writer, entityName(i), from, to);
      if (to === 10) putIds(writer, i, 10);
    }
    await writer.commit();
  }
}

async function straightThrough(): Promise<Partition> {
  const partition = open(freshFolder());
  const writer = partition.checkpoint(1_000);
  for (let i = 0; i < entities; i++) {
    grow(writer, entityName(i), 1, 10);
    putIds(writer, i, 5);
    putIds(writer, i, 10);
  }
  await writer.commit();
  return partition;
}

describe("crash: killed at a named point of a commit", () => {
  const points = [
    { point: "partition:entities-durable", covered: 500, ids: entities + busyIds },
    { point: "partition:filter-durable", covered: 500, ids: entities + busyIds },
    { point: "partition:ids-durable", covered: 500, ids: 2 * (entities + busyIds) },
    { point: "partition:covered", covered: 1_000, ids: 2 * (entities + busyIds) },
  ];

  it.each(points)(
    "P5 P4 at $point: the position covers what is there, and a replay makes it whole",
    async (expected) => {
      const folder = freshFolder();
      const child = startChild({ kind: "die-at", folder, entities, point: expected.point });
      expect(await child.ended).toBe("SIGKILL");

      const partition = open(folder);
      expect(partition.coveredPosition).toBe(expected.covered);
      expect(partition.cleanEnd).toBeUndefined();
      expect(checkEntities(partition)).toBe(entities);
      expect(checkAppendIds(partition)).toBe(expected.ids);

      await (expected.covered === 500 ? replay(partition) : undefined);
      expect([...dumpPartition(partition)]).toEqual([...dumpPartition(await straightThrough())]);
      expect(checkAppendIds(partition)).toBe(2 * (entities + busyIds));
    },
  );
});

describe("crash: killed from outside", () => {
  it.each([
    { title: "while puts are on their way", commits: false },
    { title: "in the midst of the commit", commits: true },
  ])("P5 $title: every entity is as before or as after, and a replay makes it whole", async ({ commits }) => {
    const folder = freshFolder();
    const child = startChild({ kind: "hang", folder, entities, commits });
    expect(await child.next()).toMatchObject({ word: "put" });
    child.process.kill("SIGKILL");
    expect(await child.ended).toBe("SIGKILL");

    const partition = open(folder);
    expect([500, 1_000]).toContain(partition.coveredPosition);
    checkEntities(partition);
    checkAppendIds(partition);
    if (partition.coveredPosition === 500) await replay(partition);
    expect([...dumpPartition(partition)]).toEqual([...dumpPartition(await straightThrough())]);
  });

  it("P5 the clean stop before does not count any more", async () => {
    const folder = freshFolder();
    await open(folder).close({ cleanEnd: 0 });
    const child = startChild({ kind: "hang", folder, entities: 10, commits: false });
    await child.next();
    child.process.kill("SIGKILL");
    await child.ended;
    expect(open(folder).cleanEnd).toBeUndefined();
  });
});

describe("crash: killed while entities are erased, or their bytes scrubbed", () => {
  const lives = 600;

  /** Each entity as before its erasure or as after it. */
  function checkLives(partition: Partition): void {
    for (let i = 0; i < lives; i++) {
      const entity = entityName(i);
      const head = partition.head(entity)!;
      const extents = [...partition.extents(entity, 1, "forward")].map(({ firstSeq }) => firstSeq);
      if (head.seq === 5) expect(extents).toEqual([1, 2, 3, 4, 5]);
      else expect([isErased(i), head, extents]).toEqual([true, headAt(6, 6), [6]]);
      expect(partition.snapshots(entity)).toHaveLength(head.seq === 5 ? 1 : 0);
      for (const { id, position } of idsOfLife(i)) {
        const found =
          partition.appendIdPosition(entity, id) ?? partition.appendIdPosition(entity, erasedIdName(entity, id));
        if (found !== position) expect.fail(`the append id ${id} of ${entity} is lost`);
      }
    }
  }

  it.each([
    { point: "partition:entities-durable", times: 1, covered: 500 },
    { point: "partition:filter-durable", times: 1, covered: 500 },
    { point: "partition:extents-forgotten", times: 70, covered: 500 },
    { point: "partition:ids-forgotten", times: 70, covered: 500 },
    { point: "partition:ids-forgotten", times: 250, covered: 500 },
    { point: "partition:ids-durable", times: 1, covered: 500 },
    { point: "partition:covered", times: 1, covered: 600 },
    { point: "partition:scrub-committed", times: 1, covered: 600 },
    { point: "partition:scrub-written", times: 1, covered: 600 },
    { point: "partition:scrub-written", times: 20, covered: 600 },
    { point: "partition:scrub-walked", times: 1, covered: 600 },
    { point: "partition:scrub-written", times: 90, covered: 600 },
    { point: "partition:scrubbed", times: 1, covered: 600 },
  ])("P5 P4 P6 at $point ($times): nothing is lost, and doing it again ends with no secret left", async (expected) => {
    const folder = freshFolder();
    const child = startChild({ kind: "die-erasing", folder, entities: lives, at: expected });
    expect(await child.ended).toBe("SIGKILL");
    expect(checkPartitionFile(folder)).toBeUndefined();

    const partition = open(folder);
    expect(partition.coveredPosition).toBe(expected.covered);
    checkLives(partition);
    if (expected.covered === 500) {
      // An erasure is never noted as further than it is, and nothing is counted that a replay will count again.
      expect([partition.erasures(), partition.catalogue()]).toEqual([[], []]);
      const writer = partition.checkpoint(600);
      eraseSome(writer, lives);
      await writer.commit();
    }
    await partition.scrub();
    expect(holdsSecret(folder)).toBe(false);
    checkLives(partition);

    const straight = open(freshFolder());
    const first = straight.checkpoint(500);
    putLives(first, lives);
    await first.commit();
    const second = straight.checkpoint(600);
    eraseSome(second, lives);
    await second.commit();
    expect([...dumpPartition(partition)]).toEqual([...dumpPartition(straight)]);
    await partition.close();
    expect(checkPartitionFile(folder)).toBeUndefined();
  });
});

describe("crash: killed while the partition is made", () => {
  it.each(["partition:making", "partition:made"])("P5 at %s: the next opening makes it anew", async (point) => {
    const folder = freshFolder();
    const child = startChild({ kind: "die-while-making", folder, point });
    expect(await child.ended).toBe("SIGKILL");
    expect(fs.existsSync(path.join(folder, "data.mdb"))).toBe(true);

    const partition = open(folder);
    expect(partition.coveredPosition).toBe(0);
    const writer = partition.checkpoint(100);
    grow(writer, "account/alice", 1, 1);
    await writer.commit();
    await partition.close();
    expect(open(folder).head("account/alice")).toEqual(headAt(1));
  });

  it("P5 with nothing but an empty file: the next opening makes it anew", () => {
    const folder = freshFolder();
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, "unfinished"), "");
    fs.writeFileSync(path.join(folder, "data.mdb"), "");
    expect(open(folder).coveredPosition).toBe(0);
  });
});
