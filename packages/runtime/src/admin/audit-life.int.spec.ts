// Goal: an audit understands the life of an entity: older schema versions, restores, erasures, new lives, hash chains. It
// says OK of those, and names what does not belong there.
// Method: as in audit.int.spec.ts, where every rule has its planted fault; here are the cases beyond one for each rule.
import fs from "node:fs";
import { entryFlags } from "@heddle/event-log/internal";
import { afterEach, describe, expect, it } from "vitest";
import { partitionFolderOf } from "../data-folder.ts";
import { auditFolder } from "./audit.ts";
import type { AuditProblem } from "./audit-problems.ts";
import { auditShard, joinSlices, readCatalogue, type ShardAudit } from "./audit-shard.ts";
import { auditSlice } from "./audit-slice.ts";
import {
  alterEntry,
  alterPartition,
  bodyAt,
  type CraftedAppend,
  craftFolder,
  received,
  restored,
  shop,
  shopDomain,
  sold,
  tombstone,
} from "./crafted-folder.spec-support.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

async function crafted(appends: readonly CraftedAppend[], options: Parameters<typeof craftFolder>[1] = {}) {
  const data = await craftFolder(appends, { shardCount: 1, ...options });
  folders.push(data);
  return data;
}

const options = { shard: 0, shardCount: 1, domain: shopDomain, problemsMax: 100 };
const audit = (data: string): Promise<ShardAudit> => auditShard({ ...options, data }, () => {});
const problemsOf = async (data: string): Promise<readonly AuditProblem[]> => (await audit(data)).problems;

/** The erased form of an entry of `item/a` without an append id. */
const eraseBytes = (entry: Uint8Array): void => {
  entry[8] = entryFlags.erased;
  entry.fill(0, 22, 26);
  entry.fill(0, 42, 46);
  entry.fill(0, bodyAt + 2 + "item/a".length);
};

const life: readonly CraftedAppend[] = [
  received("item/a", 10, { id: "first" }),
  received("item/b", 5),
  sold("item/a", 3),
  tombstone("item/a"),
  received("item/b", 1, { id: "second" }),
];

describe("audit: a healthy life", () => {
  it("P6: of an entity that was erased: no state, its sequence goes on, its ids are digests", async () => {
    expect(await audit(await crafted(life))).toMatchObject({
      problems: [],
      entities: 2,
      erased: 1,
      pendingErasures: 0,
      aggregates: 1,
      events: 5,
      catalogue: "compared",
    });
  });

  it("P6: of one that began a new life, and of one that was erased twice", async () => {
    const again = [...life, received("item/a", 4, { id: "third" }), sold("item/a", 4)];
    expect(await audit(await crafted(again))).toMatchObject({ problems: [], erased: 0, aggregates: 2 });
    const twice = [...again, tombstone("item/a"), received("item/a", 1)];
    expect(await audit(await crafted(twice))).toMatchObject({ problems: [], erased: 0, catalogue: "compared" });
  });

  it("of one that was restored: its states begin anew behind the entry that says so", async () => {
    // Without the reset, five more would be sold than are left.
    const data = await crafted([
      received("item/a", 10),
      sold("item/a", 9),
      restored("item/a", 1),
      received("item/a", 10),
      sold("item/a", 6),
    ]);
    expect(await problemsOf(data)).toEqual([]);
  });

  it("of events that were stored in older versions, which count by themselves", async () => {
    const adjusted = (payload: unknown, schemaVersion: number): CraftedAppend => ({
      entity: "item/a",
      events: [{ type: "Adjusted", payload, schemaVersion }],
    });
    const data = await crafted([
      received("item/a", 5),
      adjusted({ counted: 7, expected: 5 }, 1),
      adjusted({ by: -7 }, 2),
    ]);
    expect(await problemsOf(data)).toEqual([]);
    expect((await readCatalogue(data, 0))!.counts).toContainEqual({
      aggregate: "Stock",
      type: "Adjusted",
      schemaVersion: 1,
      count: 1,
    });
  });

  it("notes an erasure that is under way, and calls it no fault", async () => {
    const data = await crafted([...life.slice(0, 3), tombstone("item/a", { keepsPayloads: true })]);
    const report = await auditFolder({ data, domain: shop });
    expect(report).toMatchObject({ ok: true, problems: [], erased: 1 });
    expect(report.notes).toEqual([
      "shard 0: 1 erasures are under way; a running node ends them, or the next start",
      "shard 0: the counts of event types could not be compared, because erasures are under way",
    ]);
  });

  it("P6: of an erasure that was cut off halfway: what is left of the entity is not folded without its beginning", async () => {
    const data = await crafted([
      received("item/a", 10),
      sold("item/a", 3),
      tombstone("item/a", { keepsPayloads: true }),
    ]);
    alterEntry(data, 0, 0, eraseBytes);
    expect(await audit(data)).toMatchObject({ problems: [], pendingErasures: 1 });
  });

  it("is the same however many threads share a shard", async () => {
    const many = Array.from({ length: 60 }, (_, i) =>
      received(`item/${i % 11}`, 1 + i, { id: `${i}`, session: 1 + (i % 3) }),
    );
    const data = await crafted([
      ...many,
      ...life,
      sold("item/3", 1_000),
      received("item/4", 1, { call: 2, session: 2 }),
    ]);
    const whole = await audit(data);
    expect(whole.problems.map(({ rule }) => rule).sort()).toEqual(["domain/invariant", "session/call-once"]);
    const catalogue = await readCatalogue(data, 0);
    const { countedTo } = catalogue!;
    const slices = await Promise.all(
      [0, 1, 2].map((slice) => auditSlice({ ...options, data, slice, slices: 3, countedTo }, () => {})),
    );
    expect(slices.every(({ entities }) => entities > 0)).toBe(true);
    expect({ ...joinSlices(0, slices, catalogue, 100), taken: [] }).toEqual({ ...whole, taken: [] });
  });
});

describe("audit: the hash chain", () => {
  const three = [
    received("item/a", 10),
    received("item/b", 9),
    sold("item/a", 3),
    sold("item/a", 2),
    sold("item/b", 1),
  ];

  it.each([
    ["a payload", (entry: Uint8Array) => entry.set([4], entry.length - 1)],
    ["a time", (entry: Uint8Array) => entry.set([entry[16]! + 1], 16)],
    ["a call number", (entry: Uint8Array) => entry.set([99], 32)],
  ])("names entity and sequence of the first entry in which somebody altered %s", async (_, alter) => {
    const data = await crafted(three);
    alterEntry(data, 0, 2, alter);
    const chain = (await problemsOf(data)).filter(({ rule }) => rule === "entity/chain");
    expect(chain).toMatchObject([{ entity: "item/a", seq: 2 }]);
  });

  it("finds entries that changed places, though each is as it was written", async () => {
    const data = await crafted(three);
    const other = await crafted([three[0]!, three[1]!, three[3]!, three[2]!, three[4]!], { index: false });
    fs.rmSync(`${data}/shards/0000/log`, { recursive: true });
    fs.cpSync(`${other}/shards/0000/log`, `${data}/shards/0000/log`, { recursive: true });
    expect(await problemsOf(data)).toContainEqual(
      expect.objectContaining({ rule: "entity/chain", entity: "item/a", seq: 2 }),
    );
  });

  it("finds an entry that was dropped, by the sequence that is missing", async () => {
    const data = await crafted([three[0]!, { ...three[2]!, firstSeq: 3 }], { index: false });
    expect(await problemsOf(data)).toMatchObject([{ rule: "entity/sequence", found: "sequence 3" }]);
  });

  it("finds a head whose chain is not that of its last entry", async () => {
    const data = await crafted(three);
    await alterPartition(data, 0, (writer, partition) => {
      const head = partition.head("item/b")!;
      writer.putEntity("item/b", { ...head, chain: "x".repeat(32) }, new Float64Array(), []);
    });
    expect(await problemsOf(data)).toMatchObject([{ rule: "entity/chain", entity: "item/b", seq: 2 }]);
  });

  it("begins anew at a tombstone, and holds for the new life", async () => {
    const data = await crafted([...life, received("item/a", 4), sold("item/a", 1)]);
    alterEntry(data, 0, 5, (entry) => entry.set([5], entry.length - 1));
    const chain = (await problemsOf(data)).filter(({ rule }) => rule === "entity/chain");
    expect(chain).toMatchObject([{ entity: "item/a", seq: 4 }]);
  });
});

describe("audit: what an erasure must not leave, and what must not look like one", () => {
  it("P6: finds bytes in an erased entry", async () => {
    const data = await crafted(life);
    alterEntry(data, 0, 2, (entry) => entry.set([0x4d], entry.length - 1));
    expect(await problemsOf(data)).toContainEqual(
      expect.objectContaining({
        rule: "entity/erased",
        entity: "item/a",
        seq: 2,
        found: expect.stringContaining("a byte that is not zero") as string,
      }),
    );
  });

  it("P6: finds a fingerprint in an erased entry, which would tell a guessed payload from a wrong one", async () => {
    const data = await crafted(life);
    alterEntry(data, 0, 0, (entry) => entry.set([1], 22));
    expect(await problemsOf(data)).toContainEqual(
      expect.objectContaining({ rule: "entity/erased", entity: "item/a", seq: 1 }),
    );
  });

  it("finds an entry that was erased without a tombstone", async () => {
    const data = await crafted([received("item/a", 10), sold("item/a", 3)]);
    alterEntry(data, 0, 1, eraseBytes);
    expect(await problemsOf(data)).toContainEqual(
      expect.objectContaining({ rule: "entity/erased", seq: 2, found: "an erased entry with no tombstone behind it" }),
    );
  });

  it("P6: finds an append id that the partition has by its own name, and P4: one that it lost", async () => {
    const data = await crafted(life);
    const [lost] = await crafted(life).then(async (other) => {
      let position = 0;
      await alterPartition(other, 0, (_, partition) => {
        for (const record of partition.appendIds()) if (record.entity === "item/a") position = record.position;
      });
      return [position];
    });
    await alterPartition(data, 0, (writer) => writer.putAppendId("item/a", "first", lost!));
    expect(await problemsOf(data)).toMatchObject([
      { rule: "partition/erased", entity: "item/a", found: 'the id "first"' },
    ]);
  });

  it("P4: finds an id of the life before that took effect again", async () => {
    const data = await crafted([...life, received("item/a", 1, { id: "first" })]);
    expect(await problemsOf(data)).toMatchObject([{ rule: "entity/append-id-once", entity: "item/a", seq: 4 }]);
  });

  it("finds a base in the partition that is no tombstone", async () => {
    const data = await crafted(life);
    await alterPartition(data, 0, (writer, partition) => {
      writer.putEntity("item/b", { ...partition.head("item/b")!, baseSeq: 1 }, new Float64Array(), []);
    });
    expect(await problemsOf(data)).toContainEqual(
      expect.objectContaining({ rule: "partition/head", entity: "item/b" }),
    );
  });

  it("finds a system event where there is none, and an ordinary one in its place", async () => {
    const flagged = await crafted([received("item/a", 1, { flags: 8 })], { index: false });
    expect(await problemsOf(flagged)).toMatchObject([{ rule: "log/entry-whole", entity: "item/a" }]);
    const unflagged = await crafted(
      [restored("item/a", 1)].map((append) => ({ ...append, flags: 0 })),
      { index: false },
    );
    expect(await problemsOf(unflagged)).toContainEqual(expect.objectContaining({ rule: "log/entry-whole" }));
  });

  it("is OK without a partition, and says that nothing was compared", async () => {
    const data = await crafted(life);
    fs.rmSync(partitionFolderOf(data, 0), { recursive: true });
    expect(await audit(data)).toMatchObject({ problems: [], partition: "absent", catalogue: "unknown", erased: 1 });
  });
});
