// Goal: the doctor names what is wrong with a folder, and what can be saved, whatever state it is in; and says of a
// healthy one that it is. Method: healthy folders are crafted, then spoiled byte by byte. How fast this disk is, is not
// tested: only that the threshold decides.
import fs from "node:fs";
import path from "node:path";
import { type EntityId, shardOf } from "@heddle/kernel";
import { afterEach, describe, expect, it } from "vitest";
import { lock, partitionFolderOf } from "../data-folder.ts";
import { startNode } from "../start-node.ts";
import { craftFolder, flipByte, received, segmentOf, shop, temporaryFolder } from "./crafted-folder.spec-support.ts";
import { type DoctorReport, doctorFolder } from "./doctor.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});
const keep = (data: string): string => {
  folders.push(data);
  return data;
};

/** Lenient about the disk, so that only what is planted can be found. */
const doctor = (data: string): DoctorReport => doctorFolder({ data, samples: 3, syncThresholdUs: 60_000_000 });
const faults = (report: DoctorReport) => report.findings.filter(({ severity }) => severity === "fault");
const notes = (report: DoctorReport) => report.findings.filter(({ where }) => where !== "disk");

const threeOfA = [received("item/a", 1), received("item/a", 2), received("item/b", 1), received("item/a", 3)];
/** Offset of a record in the only segment; each holds one entry of the same length. */
const recordAt = (file: string, index: number) => 64 + (index * (fs.statSync(file).size - 64)) / threeOfA.length;

describe("doctor: a healthy folder", () => {
  it("has no findings; segments and partitions are counted, the disk is measured", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    const report = doctor(data);
    expect(faults(report)).toEqual([]);
    expect(report).toMatchObject({ ok: true, data, inUse: false, folder: { context: "shop", shardCount: 1 } });
    expect(report.sync).toMatchObject({ samples: 3, thresholdUs: 60_000_000, pass: true });
    expect(report.sync!.p50Us).toBeGreaterThan(0);
    expect(report.machine).toMatchObject({ node: process.version, freeBytes: expect.any(Number) });
    const { segments, end, tailBytes, damage } = report.shards[0]!.log;
    expect(segments).toEqual([{ file: segmentOf(data, 0), bytes: end, records: 4, entries: 4, events: 4 }]);
    expect([tailBytes, damage]).toEqual([0, undefined]);
    expect(report.shards[0]!.partition).toMatchObject({
      coveredPosition: end,
      entities: 2,
      snapshots: 4,
      appendIds: 0,
    });
  });

  it("is left as it was: nothing is written but a file that is gone again", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    const files = () => fs.readdirSync(data, { recursive: true }).sort();
    const before = files();
    doctor(data);
    expect(files()).toEqual(before);
  });

  it("may be in use: the node goes on, and a group under way is no torn tail", async () => {
    const data = keep(temporaryFolder());
    const node = await startNode({ domain: shop, data, port: 0, shards: 2 });
    try {
      const report = doctor(data);
      expect(report).toMatchObject({ ok: true, inUse: true });
      const answer = await fetch(`${node.url.replace("heddle:", "http:")}/readyz`);
      expect(answer.status).toBe(200);
    } finally {
      await node.close();
    }
    expect(doctor(data)).toMatchObject({ ok: true, inUse: false });
  });
});

describe("doctor: the disk", () => {
  it("fails when the median of a synced write is above the threshold, and says how to go on", async () => {
    const data = keep(temporaryFolder());
    const report = doctorFolder({ data, samples: 3, syncThresholdUs: 0 });
    expect(report).toMatchObject({ ok: false, sync: { pass: false, thresholdUs: 0 } });
    expect(faults(report)).toEqual([
      {
        severity: "fault",
        where: "disk",
        problem: `one synced write to ${data} takes ${report.sync!.p50Us} µs, more than 0 µs`,
        advice: "Use a faster disk, or raise --sync-threshold-us if this is good enough for you.",
      },
    ]);
  });

  it("is a fault when nothing can be written, or when there is no such folder", () => {
    expect(faults(doctor("/proc"))).toContainEqual(expect.objectContaining({ where: "data folder" }));
    const report = doctor("/nowhere/at/all");
    expect(report).toMatchObject({ ok: false, machine: undefined, sync: undefined, shards: [] });
    expect(faults(report)[0]!.problem).toContain("ENOENT");
  });
});

describe("doctor: the log (P5)", () => {
  it("names file and offset of damage, what is whole on both sides of it, and whose events are missing", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    const file = segmentOf(data, 0);
    const offset = recordAt(file, 1);
    flipByte(file, offset + 40);
    const report = doctor(data);
    expect(report.ok).toBe(false);
    expect(report.shards[0]!.log.damage).toEqual({
      file,
      offset,
      problem: "a record's checksum does not match",
      before: { entries: 1, events: 1 },
      after: { entries: 2, events: 2 },
      missingEvents: 1,
      missing: [{ entity: "item/a", fromSeq: 2, toSeq: 2 }],
    });
    expect(faults(report)[0]!.problem).toBe(
      `damaged at ${file}, offset ${offset}: a record's checksum does not match. Can be saved: 1 entry (1 event) before it, ` +
        "2 entries (2 events) from there on. Known to be missing: 1 event (item/a 2 to 2)",
    );
  });

  it("saves entries that are whole inside a record that is not", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    const file = segmentOf(data, 0);
    // The record's own checksum; the entry in it keeps its own.
    flipByte(file, recordAt(file, 1) + 4);
    expect(doctor(data).shards[0]!.log.damage).toMatchObject({ after: { entries: 3, events: 3 }, missingEvents: 0 });
  });

  it("reads on behind a segment whose header is spoiled, and behind one that is missing", async () => {
    const appends = Array.from({ length: 12 }, (_, i) => received(`item/${i % 2}`, i + 1));
    const data = keep(await craftFolder(appends, { shardCount: 1, segmentBytes: 400 }));
    const folder = path.dirname(segmentOf(data, 0));
    const names = fs.readdirSync(folder).sort();
    flipByte(path.join(folder, names[1]!), 20);
    const spoiled = doctor(data).shards[0]!.log.damage!;
    expect(spoiled).toMatchObject({ file: path.join(folder, names[1]!), offset: 0, missingEvents: 0 });
    expect(spoiled.before.events + spoiled.after.events).toBe(12);
    expect(spoiled.before.events).toBeGreaterThan(0);
    fs.rmSync(path.join(folder, names[1]!));
    const gone = doctor(data).shards[0]!.log.damage!;
    expect(gone.problem).toMatch(/^it begins at position \d+, what stands before it ends at \d+$/);
    expect(gone.missingEvents).toBe(12 - gone.before.events - gone.after.events);
  });

  it("notes a torn tail as what it is: the next start cuts it", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1, index: false }));
    const file = segmentOf(data, 0);
    fs.appendFileSync(file, Buffer.from("HREC then nothing"));
    const report = doctor(data);
    expect(report.ok).toBe(true);
    expect(notes(report).map(({ problem }) => problem)).toContain(
      `17 bytes after position ${fs.statSync(file).size - 17} are a torn tail; nothing in it was acknowledged`,
    );
  });

  it("finds a log that has lost what a checkpoint covers", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    const file = segmentOf(data, 0);
    fs.truncateSync(file, recordAt(file, 3));
    expect(faults(doctor(data))[0]!.problem).toMatch(/^it ends at position \d+, but a checkpoint covers it up to \d+:/);
  });
});

describe("doctor: what no node can open", () => {
  it("a folder without a description, or with one that makes no sense: its shards are examined all the same", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    fs.writeFileSync(path.join(data, "heddle.json"), "{");
    const spoiled = doctor(data);
    expect(faults(spoiled).map(({ problem }) => problem)).toEqual([`${data} cannot be used: heddle.json is not JSON`]);
    expect(spoiled.shards[0]!.log.segments[0]!.events).toBe(4);
    fs.rmSync(path.join(data, "heddle.json"));
    expect(faults(doctor(data))[0]!.problem).toMatch(/^there is no heddle.json/);
    expect(doctor(keep(temporaryFolder())).ok).toBe(true);
  });

  it("a partition of garbage, even one that kills its reader: the log beside it is examined, and the advice is a rebuild", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 2 }));
    const shard = shardOf("item/a" as EntityId, 2);
    const file = path.join(partitionFolderOf(data, shard), "data.mdb");
    const bytes = fs.readFileSync(file);
    // The two meta pages stay, so that it opens; every other page is noise.
    bytes.fill(0xa7, 8_192);
    fs.writeFileSync(file, bytes);
    const report = doctor(data);
    expect(faults(report)).toEqual([
      {
        severity: "fault",
        where: `shard ${shard}, partition`,
        problem: expect.any(String),
        advice: "The log holds everything: heddle index rebuild makes the partition anew.",
      },
    ]);
    expect(report.shards[shard]).toMatchObject({ partition: undefined, log: { damage: undefined } });
    expect(report.shards[1 - shard]!.partition).toBeDefined();
  });

  it("while another process has it: the lock is only asked for, not taken", async () => {
    const data = keep(await craftFolder(threeOfA, { shardCount: 1 }));
    const release = lock(data);
    expect(doctor(data)).toMatchObject({ ok: true, inUse: true });
    release();
    expect(doctor(data).inUse).toBe(false);
  });
});
