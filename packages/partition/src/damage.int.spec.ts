// Goal: a partition that is not what was written is refused with PARTITION_DAMAGED and the advice to rebuild (P5).
// LMDB keeps no checksums of its tree: garbage in the pages between is for `checkPartitionFile` to find.
import fs from "node:fs";
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { open as openLmdb } from "lmdb";
import { afterEach, describe, expect, it } from "vitest";
import {
  cleanUp,
  entityName,
  freshFolder,
  grow,
  headAt,
  open,
  openReader,
  snapshotAt,
} from "../test/partition-under-test.ts";
import { checkPartitionFile, destroyPartition, dumpPartition, type Partition } from "./internal.ts";
import { KeyBuilder } from "./keys.ts";
import { ValueWriter } from "./value-writer.ts";
import { writeNumber } from "./values.ts";

afterEach(cleanUp);

async function filled(entities = 2_000): Promise<{ folder: string; file: string }> {
  const folder = freshFolder();
  const partition = open(folder);
  const writer = partition.checkpoint(500);
  for (let i = 0; i < entities; i++) {
    grow(writer, entityName(i), 1, 3);
    writer.putAppendId(entityName(i), "id", i);
  }
  await writer.commit();
  await partition.close({ cleanEnd: 500 });
  return { folder, file: path.join(folder, "data.mdb") };
}

function damageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof HeddleError && error.code === "PARTITION_DAMAGED") {
      expect(error.message).toContain("heddle index rebuild");
      return (error as HeddleError<"PARTITION_DAMAGED">).facts.problem;
    }
    throw error;
  }
  return "none";
}

describe("damage: a file that was changed as a whole", () => {
  it.each([
    {
      title: "overwritten with garbage",
      change: (bytes: Buffer) => Buffer.alloc(bytes.length, 0xa7),
      says: /not an LMDB/,
    },
    { title: "overwritten with zeros", change: (bytes: Buffer) => Buffer.alloc(bytes.length), says: /not an LMDB/ },
    { title: "empty", change: () => Buffer.alloc(0), says: /empty/ },
    { title: "cut to a few bytes", change: (bytes: Buffer) => bytes.subarray(0, 100), says: /first pages/ },
    { title: "cut within its first page", change: (bytes: Buffer) => bytes.subarray(0, 4_000), says: /first pages/ },
    { title: "cut within its second page", change: (bytes: Buffer) => bytes.subarray(0, 4_200), says: /first pages/ },
    { title: "cut to its first two pages", change: (bytes: Buffer) => bytes.subarray(0, 8_192), says: /cut off/ },
    { title: "cut to half", change: (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1), says: /cut off/ },
    { title: "cut by one byte", change: (bytes: Buffer) => bytes.subarray(0, bytes.length - 1), says: /cut off/ },
    { title: "garbage behind good first pages", change: garbageFrom(8_192), says: /root is overwritten/ },
    { title: "garbage in its second page", change: garbageFrom(4_096), says: /not an LMDB/ },
    { title: "of another LMDB format", change: withNumber(28, 999), says: /LMDB's format 999, wanted 2/ },
    { title: "of pages of no size", change: withNumber(48, 4_095), says: /pages have 4095 bytes/ },
    { title: "of pages that do not agree", change: withNumber(4_096 + 48, 8_192), says: /do not agree|cut off/ },
  ])("P5 $title is refused, for writers and for readers", async ({ change, says }) => {
    const { folder, file } = await filled();
    fs.writeFileSync(file, change(fs.readFileSync(file)));
    expect(damageOf(() => open(folder))).toMatch(says);
    expect(damageOf(() => openReader(folder))).toMatch(says);
    // What the advice leads to works.
    destroyPartition(folder);
    expect(open(folder).coveredPosition).toBe(0);
  });
});

describe("damage: a file that is shorter than it says", () => {
  it("P5 is whole when all that it lacks is free: LMDB does not write pages that it gave back at once", async () => {
    const { folder, file } = await filled();
    const before = await dumpOf(folder);
    const bytes = fs.readFileSync(file);
    for (const meta of [0, 4_096]) bytes.writeBigUInt64LE(bytes.readBigUInt64LE(meta + 144) + 5n, meta + 144);
    fs.writeFileSync(file, bytes);
    expect(checkPartitionFile(folder)).toBeUndefined();
    expect(await dumpOf(folder)).toEqual(before);
    expect(fs.statSync(file).size).toBe(bytes.length);

    const partition = open(folder);
    expect(fs.statSync(file).size).toBe(bytes.length + 5 * 4_096);
    const writer = partition.checkpoint(600);
    for (let i = 0; i < 2_000; i++) grow(writer, entityName(i), 4, 6);
    await writer.commit();
    await partition.scrub();
    await partition.close();
    expect(checkPartitionFile(folder)).toBeUndefined();
  });
});

describe("damage: an environment that is not ours", () => {
  it("P5 of another format version is refused, naming both versions", async () => {
    const { folder } = await filled();
    await editMeta(folder, (put) => {
      put("format", writeNumber(new ValueWriter(), Buffer.from("format"), 9));
    });
    expect(damageOf(() => open(folder))).toBe("it has format version 9, this program knows 6");
    expect(damageOf(() => openReader(folder))).toBe("it has format version 9, this program knows 6");
  });

  it("P5 without a format version is refused", async () => {
    const folder = freshFolder();
    fs.mkdirSync(folder);
    const root = openLmdb({ path: folder, noSubdir: false, overlappingSync: false });
    await root.put("something", "else");
    await root.close();
    expect(damageOf(() => open(folder))).toBe("it holds no format version");
  });

  it("P5 without one of its tables is refused to a reader", async () => {
    const folder = freshFolder();
    fs.mkdirSync(folder);
    const root = openLmdb({ path: folder, noSubdir: false, overlappingSync: false });
    await root.put("something", "else");
    await root.close();
    expect(damageOf(() => openReader(folder))).toBe("the table meta is missing");
  });

  it("is refused to a reader when there is none, and is not made by it", () => {
    const folder = freshFolder();
    expect(damageOf(() => openReader(folder))).toBe("there is no partition in this folder");
    expect(fs.existsSync(folder)).toBe(false);
  });
});

describe("damage: a page within the file", () => {
  it("P5 nothing is found in a file that was written, used and written again", async () => {
    const { folder } = await filled();
    expect(checkPartitionFile(folder)).toBeUndefined();
    const partition = open(folder);
    for (let round = 1; round <= 5; round++) {
      const writer = partition.checkpoint(500 + round);
      for (let i = 0; i < 2_000; i += 7) grow(writer, entityName(i), 3 + round, 3 + round);
      for (let i = 0; i < 5; i++) writer.putSession(i, round, new Float64Array(2_000 * round).fill(i));
      writer.dropSession(round);
      writer.putEntity("account/big", headAt(round), new Float64Array(0), [snapshotAt(round, "s".repeat(100_000))]);
      await writer.commit();
    }
    await partition.close();
    expect(checkPartitionFile(folder)).toBeUndefined();
    expect(checkPartitionFile(freshFolder())).toBeUndefined();
  });

  it.each([
    { title: "zeros", fill: () => 0 },
    { title: "ones", fill: () => 0xff },
    { title: "garbage", fill: (at: number) => Math.imul(at + 1, 0x9e3779b1) >>> 11 },
  ])("P5 a page of $title is found wherever it lies, unless nobody needs the page", async ({ fill }) => {
    const { folder, file } = await filled();
    const before = await dumpOf(folder);
    const good = fs.readFileSync(file);
    const pages = good.length / 4_096;
    const unneeded: number[] = [];
    for (let page = 2; page < pages; page++) {
      const bytes = Buffer.from(good);
      for (let at = page * 4_096; at < (page + 1) * 4_096; at++) bytes[at] = fill(at);
      fs.writeFileSync(file, bytes);
      if (checkPartitionFile(folder) === undefined) unneeded.push(page);
    }
    expect(unneeded.length).toBeLessThan(pages / 2);
    // All pages that it let pass are overwritten at once, and LMDB does not miss them.
    for (const page of unneeded) for (let at = page * 4_096; at < (page + 1) * 4_096; at++) good[at] = fill(at);
    fs.writeFileSync(file, good);
    expect(await dumpOf(folder)).toEqual(before);
  });
});

describe("damage: within a value", () => {
  it("P5 a flipped bit is found when the value is read, and nothing else is refused", async () => {
    const { folder, file } = await filled();
    const before = open(folder);
    const writer = before.checkpoint(600);
    writer.putEntity(entityName(700), headAt(3), new Float64Array(0), [snapshotAt(3, "a state like no other")]);
    await writer.commit();
    await before.close();
    const bytes = fs.readFileSync(file);
    const state = bytes.indexOf("a state like no other");
    bytes[state]! ^= 0x04;
    fs.writeFileSync(file, bytes);

    const partition = open(folder);
    expect(damageOf(() => partition.snapshots(entityName(700)))).toBe("a value does not fit its checksum");
    for (let i = 0; i < 2_000; i++) {
      if (i !== 700) expect(partition.snapshots(entityName(i))).toHaveLength(1);
      expect(partition.head(entityName(i))?.seq).toBe(3);
    }
  });

  it("P5 P4 a flipped bit in a run of ids is found when an id is looked for, and when ids are added: none is forgotten", async () => {
    const folder = freshFolder();
    const put = async (partition: Partition, from: number): Promise<void> => {
      const writer = partition.checkpoint(from + 1);
      for (let i = from; i < from + 20; i++) writer.putAppendId(entityName(7), `an id like no other ${i}`, i);
      await writer.commit();
    };
    const before = open(folder);
    await put(before, 0);
    await before.close();
    const file = path.join(folder, "data.mdb");
    const bytes = fs.readFileSync(file);
    bytes[bytes.indexOf("an id like no other 13")]! ^= 0x04;
    fs.writeFileSync(file, bytes);

    const partition = open(folder);
    expect(damageOf(() => partition.appendIdPosition(entityName(7), "an id like no other 13"))).toMatch(/checksum/);
    expect(damageOf(() => [...partition.appendIds()])).toMatch(/checksum/);
    await expect(put(partition, 20)).rejects.toMatchObject({ code: "PARTITION_DAMAGED" });
    expect(partition.coveredPosition).toBe(1);
  });

  it("P5 a flipped bit in the filter is found at the opening: it could hide an id", async () => {
    const { folder, file } = await filled();
    const bytes = fs.readFileSync(file);
    // A page of the filter is a page of its own in the file: 4,068 bytes of value, the first of them part of the bits.
    const page = filterPages(bytes)[0]!;
    bytes[page + 24 + 100]! ^= 0x01;
    fs.writeFileSync(file, bytes);
    expect(damageOf(() => open(folder))).toBe("a value does not fit its checksum");
  });

  it("P5 extents with a hole are refused where it is met, in both directions", async () => {
    const { folder } = await filled(3);
    const keys = new KeyBuilder();
    const root = openLmdb({ path: folder, noSubdir: false, overlappingSync: false, maxDbs: 9 });
    const extents = root.openDB({ name: "extents", keyEncoding: "binary", encoding: "binary" });
    await extents.remove(keys.extent(entityName(1), 1).slice());
    await root.close();

    const partition = open(folder);
    expect(damageOf(() => [...partition.extents(entityName(1), 1, "forward")])).toMatch(/sequence 1/);
    expect(damageOf(() => [...partition.extents(entityName(1), 3, "backward")])).toMatch(/sequence 3/);
    expect([...partition.extents(entityName(2), 1, "forward")]).toHaveLength(3);
  });
});

function garbageFrom(at: number): (bytes: Buffer) => Buffer {
  return (bytes) => Buffer.concat([bytes.subarray(0, at), Buffer.alloc(bytes.length - at, 0xa7)]);
}

function withNumber(at: number, number: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes.writeUInt32LE(number, at);
    return bytes;
  };
}

async function dumpOf(folder: string): Promise<unknown[]> {
  const reader = openReader(folder);
  const dump = [...dumpPartition(reader)];
  await reader.close();
  return dump;
}

async function editMeta(folder: string, edit: (put: (key: string, value: Uint8Array) => void) => void): Promise<void> {
  const root = openLmdb({ path: folder, noSubdir: false, overlappingSync: false, maxDbs: 9 });
  const meta = root.openDB({ name: "meta", keyEncoding: "binary", encoding: "binary" });
  edit((key, value) => meta.putSync(Buffer.from(key), value));
  await root.close();
}

// LMDB's page header: page number (8), transaction (8), padding (2), flags (2; 4 says overflow), pages (4).
function filterPages(bytes: Buffer): number[] {
  const pages: number[] = [];
  for (let at = 0; at < bytes.length; at += 4_096) {
    if (bytes.readUInt16LE(at + 18) === 4 && bytes.readUInt32LE(at + 20) === 1) pages.push(at);
  }
  return pages;
}
