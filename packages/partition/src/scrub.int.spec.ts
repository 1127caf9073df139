// Goal: after a scrub no byte of what was removed is in any file of the partition, and everything else is as it was (P6).
//
// Random markers are planted in snapshots, append ids and session windows; before the scrub they are found in the files,
// or the test would show nothing. Elsewhere: kills (crash.int.spec.ts), readers in other processes (reader.int.spec.ts).
import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { InvariantViolation } from "@heddle/kernel/internal";
import { open as openLmdb } from "lmdb";
import { afterEach, describe, expect, it } from "vitest";
import {
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
import { checkPartitionFile, dumpPartition, type Partition } from "./internal.ts";
import { scrubDataFile } from "./scrub.ts";

afterEach(cleanUp);

const partLetters = 8;

/** Sixteen random letters. */
function marker(): string {
  return randomBytes(12).toString("base64url");
}

/** Those of the markers of which any eight letters in a row are anywhere in the folder's files. */
function found(folder: string, markers: readonly string[]): string[] {
  const parts = new Map<string, string>();
  for (const one of markers) {
    for (let at = 0; at + partLetters <= one.length; at++) parts.set(one.slice(at, at + partLetters), one);
  }
  const seen = new Set<string>();
  for (const name of fs.readdirSync(folder)) {
    const text = fs.readFileSync(path.join(folder, name)).toString("latin1");
    for (let at = 0; at < text.length; at++) {
      const one = text.charCodeAt(at) < 0x2d ? undefined : parts.get(text.slice(at, at + partLetters));
      if (one !== undefined) seen.add(one);
    }
  }
  return [...seen];
}

/** Whole numbers below a bound, the same ones for the same seed. */
function seededRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Stands for everything in a partition. */
function digestOf(partition: Partition): string {
  const hash = createHash("sha256");
  for (const entry of dumpPartition(partition)) {
    hash.update(JSON.stringify(entry, (_, value) => (value instanceof Uint8Array ? Buffer.from(value) : value)));
  }
  return hash.digest("hex");
}

interface Planted {
  readonly entity: string;
  readonly markers: readonly string[];
}

let covering = 0;

/** Entities with markers in their snapshots (some on pages of their own) and in many append ids, among many without. */
async function plant(partition: Partition, entities: number, everyNth: number): Promise<Planted[]> {
  const planted: Planted[] = [];
  covering += 1_000;
  const writer = partition.checkpoint(covering);
  for (let i = 0; i < entities; i++) {
    const entity = entityName(i);
    const head = partition.head(entity);
    const from = (head?.seq ?? 0) + 1;
    const isPlanted = i % everyNth === 0;
    const markers = Array.from({ length: isPlanted ? 30 : 0 }, marker);
    const secret = markers.slice(0, 10).join(" ");
    const state = isPlanted && i % (2 * everyNth) === 0 ? secret.repeat(300) : `plain ${i} ${secret}`;
    writer.putEntity(entity, headAt(from + 3, head?.baseSeq), singleEvents(from, from + 3), [
      snapshotAt(from + 3, state),
      snapshotAt(from + 3, state.slice(0, 300), "Limits"),
    ]);
    if (isPlanted) planted.push({ entity, markers });
    for (const [n, id] of markers.slice(10).entries()) writer.putAppendId(entity, `id of ${id}`, positionOf(from) + n);
    for (let n = 0; n < 3; n++) writer.putAppendId(entity, `plain ${i} ${from} ${n}`, positionOf(from) + n);
  }
  await writer.commit();
  return planted;
}

/** Erases entities as the shard does. */
async function erase(partition: Partition, entities: readonly string[]): Promise<void> {
  covering += 1_000;
  const writer = partition.checkpoint(covering);
  for (const entity of entities) {
    const seq = partition.head(entity)!.seq + 1;
    writer.forgetHistory(entity, { belowSeq: seq, belowPosition: positionOf(seq) });
    writer.putEntity(entity, headAt(seq, seq), singleEvents(seq, seq), []);
    writer.putErasure(entity, seq, "scrub");
  }
  await writer.commit();
}

describe("scrub: markers", () => {
  it("P6 of erased entities are in no file after it, what others have is unchanged, and no later commit brings one back", async () => {
    const folder = freshFolder();
    let partition = open(folder);
    const gone: string[] = [];
    for (let round = 0; round < 3; round++) {
      const planted = await plant(partition, 500, 5);
      const [erased, kept] = [planted.slice(0, 70), planted.slice(70)];
      const markers = erased.flatMap((one) => one.markers);
      await erase(
        partition,
        erased.map(({ entity }) => entity),
      );
      gone.push(...markers);
      expect(found(folder, markers).length).toBeGreaterThan(markers.length / 4);

      const before = digestOf(partition);
      const result = await partition.scrub();
      expect(result.pagesZeroed).toBeGreaterThan(10);
      expect(result.holesZeroed).toBeGreaterThan(10);
      expect(found(folder, gone)).toEqual([]);
      expect(digestOf(partition)).toBe(before);
      for (const { entity, markers: own } of kept) {
        expect(partition.snapshots(entity)[0]!.state.length).toBeGreaterThan(0);
        expect(partition.appendIdPosition(entity, `id of ${own[10]}`)).toBeDefined();
      }
      // A second one has nothing left to do but what its own marks left.
      expect(await partition.scrub()).toEqual({ pagesZeroed: expect.any(Number), holesZeroed: expect.any(Number) });

      await partition.close();
      expect(checkPartitionFile(folder)).toBeUndefined();
      partition = open(folder);
      expect(digestOf(partition)).toBe(before);
    }
    // Pages are used again, and long values come and go where they may.
    for (let round = 0; round < 40; round++) {
      covering += 1_000;
      const writer = partition.checkpoint(covering);
      for (let i = round; i < 500; i += 3) {
        const entity = `order/${i}`;
        const seq = (partition.head(entity)?.seq ?? 0) + 1;
        writer.putEntity(entity, headAt(seq), singleEvents(seq, seq), [snapshotAt(seq, "s".repeat((i * 37) % 9_000))]);
        writer.putAppendId(entity, `another ${round}`, positionOf(seq));
      }
      for (let i = 0; i < 40; i++) writer.putSession(i, round, new Float64Array(2 * ((i * round) % 450)).fill(round));
      await writer.commit();
      if (round % 20 === 9) expect(found(folder, gone)).toEqual([]);
    }
    await partition.close();
    expect(found(folder, gone)).toEqual([]);
    expect(checkPartitionFile(folder)).toBeUndefined();
  });
});

describe("scrub: trees of any shape", () => {
  // Keys and values of any lengths, in one table that is written and read by LMDB itself.
  it.each([1, 2, 3])("P5 P6 seed %i: LMDB finds every key where it was, and no removed one is left", async (seed) => {
    const folder = freshFolder();
    fs.mkdirSync(folder);
    const random = seededRandom(seed);
    const root = openLmdb<Buffer, Buffer>({
      path: folder,
      noSubdir: false,
      encoding: "binary",
      keyEncoding: "binary",
    });
    const model = new Map<string, number>();
    const removed = new Set<string>();
    const newKey = (): string => {
      const shared = "ab/".repeat(random(30)) + String(random(40));
      return random(3) === 0 ? shared : `${shared}!${marker()}${"~".repeat(random(20))}`;
    };
    for (let round = 0; round < 9; round++) {
      const mostlyRemoves = round % 3 === 2;
      for (let i = 0; i < 1_500; i++) {
        const known = [...(mostlyRemoves ? model.keys() : [])];
        if (mostlyRemoves && known.length > 50) {
          const from = random(known.length);
          for (const key of known.slice(from, from + 40)) {
            model.delete(key);
            removed.add(key);
            root.remove(Buffer.from(key));
          }
          if (i > 40) break;
        } else {
          const key = newKey();
          const length = random(20) === 0 ? random(20_000) : random(200);
          model.set(key, length);
          removed.delete(key);
          root.put(Buffer.from(key), Buffer.alloc(length, 1 + (length % 255)));
        }
      }
      await root.committed;
      await root.put(Buffer.from("mark"), Buffer.from([round]));
      root.resetReadTxn();
      await scrubDataFile({
        place: { folder, shard: 3 },
        file: path.join(folder, "data.mdb"),
        nextTurn: () => Promise.resolve(),
        crashPoint: () => {},
      });

      const wantedKeys = [...model.keys(), "mark"].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect([...root.getKeys()].map(String)).toEqual(wantedKeys);
      for (const [key, length] of model) {
        const value = root.get(Buffer.from(key));
        if (value?.length !== length || value.some((byte) => byte !== 1 + (length % 255)))
          expect.fail(`${key} changed`);
      }
      for (const key of removed) if (root.get(Buffer.from(key)) !== undefined) expect.fail(`${key} is there again`);
      const markers = [...removed].filter((key) => key.includes("!")).map((key) => key.split("!")[1]!.slice(0, 16));
      expect(found(folder, markers)).toEqual([]);
    }
    await root.close();
    expect(checkPartitionFile(folder)).toBeUndefined();
  });
});

describe("scrub: what it may meet", () => {
  it("P5 P6 leaves what the older of the two meta pages refers to as whole as the other", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const planted = await plant(partition, 300, 5);
    await erase(
      partition,
      planted.map(({ entity }) => entity),
    );
    await partition.scrub();
    const before = digestOf(partition);
    await partition.close();

    const file = path.join(folder, "data.mdb");
    const bytes = fs.readFileSync(file);
    const pageBytes = bytes.readUInt32LE(48);
    const transactionOf = (page: number): bigint => bytes.readBigUInt64LE(page * pageBytes + 152);
    const [newer, older] = transactionOf(0) > transactionOf(1) ? [0, 1] : [1, 0];
    bytes.copy(bytes, newer * pageBytes + 24, older * pageBytes + 24, (older + 1) * pageBytes);
    fs.writeFileSync(file, bytes);
    expect(checkPartitionFile(folder)).toBeUndefined();
    expect(digestOf(open(folder))).toBe(before);
  });

  it("P6 clears what the very last transaction removed", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const type = marker();
    for (const [covered, count] of [5, 0].entries()) {
      const writer = partition.checkpoint(covered);
      writer.putTypeCount("Account", type, 1, count);
      await writer.commit();
    }
    expect(found(folder, [type])).toEqual([type]);
    await partition.scrub();
    expect(found(folder, [type])).toEqual([]);
  });

  it("P6 clears what a shorter value leaves at its end, and pages behind the last one", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const file = path.join(folder, "data.mdb");
    const writer = partition.checkpoint(1);
    writer.putEntity("account/a", headAt(1), singleEvents(1, 1), [snapshotAt(1, "s".repeat(10_000))]);
    await writer.commit();
    // What a failed transaction may leave: longer than the pages that are known of, and rubbish in the last one of a value.
    const bytes = fs.readFileSync(file);
    const value = bytes.indexOf("s".repeat(9_000));
    const tail = value + 10_000 + 8;
    const text = Buffer.from("left over from something else");
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, text, 0, text.length, tail);
    fs.writeSync(fd, text, 0, text.length, bytes.length + 10_000);
    fs.closeSync(fd);
    expect(fs.readFileSync(file).includes(text)).toBe(true);
    await partition.scrub();
    expect(fs.readFileSync(file).includes(text)).toBe(false);
    expect(partition.snapshots("account/a")[0]!.state).toHaveLength(10_000);
  });

  it("P6 works beside reads, in turns, and passes over what is clean already", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const planted = await plant(partition, 2_000, 4);
    await erase(
      partition,
      planted.map(({ entity }) => entity),
    );
    let turns = 0;
    await partition.scrub(async () => {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
      expect(partition.head(entityName(turns % 2_000))!.seq).toBeGreaterThan(0);
      expect([...partition.extents(entityName(1), 1, "forward")]).toHaveLength(4);
    });
    expect(turns).toBeGreaterThan(5);
    const files = (): string =>
      createHash("sha256")
        .update(fs.readFileSync(path.join(folder, "data.mdb")))
        .digest("hex");
    const { pagesZeroed, holesZeroed } = await partition.scrub();
    expect(pagesZeroed + holesZeroed).toBeLessThan(20);
    const { reads } = partition.counters;
    const once = files();
    await partition.scrub();
    expect(files()).not.toBe(once); // Only its marks.
    expect(partition.counters.reads).toBe(reads);
  });

  it("P5 ends when a turn says so, and so does closing; the partition is whole, and the next one finishes it", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    const planted = await plant(partition, 1_000, 4);
    const gone = planted.flatMap(({ markers }) => markers);
    await erase(
      partition,
      planted.map(({ entity }) => entity),
    );
    const before = digestOf(partition);
    let turns = 0;
    const enough = async (): Promise<void> => {
      if (++turns === 2) throw new Error("enough");
    };
    await expect(partition.scrub(enough)).rejects.toThrow("enough");
    expect(digestOf(partition)).toBe(before);
    const writer = partition.checkpoint(covering);
    grow(writer, "account/other", 1, 1);
    await writer.commit();

    // A turn that never comes does not hold up the closing.
    const begun = Promise.withResolvers<void>();
    const never = (): Promise<void> => {
      begun.resolve();
      return new Promise(() => {});
    };
    const outcome = expect(partition.scrub(never)).rejects.toMatchObject({ code: "CLOSED" });
    await begun.promise;
    await partition.close();
    await outcome;
    await expect(partition.scrub()).rejects.toMatchObject({ code: "CLOSED" });
    expect(checkPartitionFile(folder)).toBeUndefined();
    const again = open(folder);
    await again.scrub();
    expect(found(folder, gone)).toEqual([]);
  });

  it("P5 refuses trees that make no sense, and writes nothing", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    await plant(partition, 300, 5);
    const file = path.join(folder, "data.mdb");
    const bytes = fs.readFileSync(file);
    // A leaf whose nodes lie outside of it.
    for (let page = 2; page * 4_096 < bytes.length; page++) {
      if (bytes.readUInt16LE(page * 4_096 + 18) === 2) bytes.writeUInt16LE(9, page * 4_096 + 24);
    }
    fs.writeFileSync(file, bytes);
    await expect(
      scrubDataFile({ place: { folder, shard: 3 }, file, nextTurn: () => Promise.resolve(), crashPoint: () => {} }),
    ).rejects.toMatchObject({ code: "PARTITION_DAMAGED" });
    expect(fs.readFileSync(file).equals(bytes)).toBe(true);
  });

  it("refuses to run beside a checkpoint, and a checkpoint to start beside it", async () => {
    const partition = open(freshFolder());
    const writer = partition.checkpoint(1);
    expect(() => partition.scrub()).toThrow(InvariantViolation);
    await writer.commit();
    const scrub = partition.scrub();
    expect(() => partition.checkpoint(2)).toThrow(InvariantViolation);
    expect(() => partition.scrub()).toThrow(InvariantViolation);
    await scrub;
    const next = partition.checkpoint(2);
    grow(next, entityName(1), 1, 1);
    await next.commit();
  });
});
