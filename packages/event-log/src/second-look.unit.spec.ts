// P5 for readers beside an erasure: a record that is half overwritten is no damage, and damage is no erasure. What a
// dead node left is tested in erase-crash.unit.spec.ts, real files and threads in erase.int.spec.ts.
import { writeU32 } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import type { Disk } from "./disk.ts";
import { type Appended, expectedEntries, nextTurn, outcomeOf, writeAppends } from "./erasable-log.spec-support.ts";
import { decodeJournal, journalHeaderBytes, journalName } from "./erase-journal.ts";
import { type EntryView, entryHeaderBytes, segmentName } from "./layout.ts";
import { LogReader } from "./log-reader.ts";
import { changedDisk, folder, openLog } from "./log-under-test.spec-support.ts";

const first = `${folder}/${segmentName(0)}`;
const journalFile = `${folder}/${journalName}`;
const positionsOf = (appended: readonly Appended[]) => appended.map(({ position }) => position);

/** A log of two records, erased in two batches of each two entries; and the disk as it stood at each named place. */
async function erasureInStages() {
  const disk = new SimulatedDisk();
  const appended = await writeAppends(disk, [6, 2]);
  const erased = appended.slice(1, 5);
  const stages = new Map<string, SimulatedDisk>();
  const seen = new Map<string, number>();
  const crashPoint = (name: string) => {
    const batch = (seen.get(name) ?? 0) + 1;
    seen.set(name, batch);
    stages.set(`${name} ${batch}`, disk.copy());
  };
  const { log } = openLog(disk, { eraseJournalBytes: 230, crashPoint });
  await log.erase(positionsOf(erased), nextTurn);
  expect(seen.get("erase:synced")).toBe(2);
  return { appended, erased, stage: (name: string) => stages.get(name)!, finished: disk };
}

/** Reads the files as one stage left them first, then as the next did, and so on; a read of the journal is the last. */
function movingDisk(stages: readonly Disk[]): { disk: Disk; moves: () => number } {
  let at = 0;
  const now = () => stages[Math.min(at, stages.length - 1)]!;
  const disk = changedDisk(stages[0]!, {
    list: (name) => now().list(name),
    open(file) {
      const opened = () => now().open(file, "read");
      // Whoever has read a segment finds the disk one stage further.
      const read = (into: Uint8Array, offset: number) => {
        const got = opened().read(into, offset);
        if (file.endsWith(".log") && into.length > 64) at++;
        return got;
      };
      return { ...opened(), read, size: () => opened().size() };
    },
  });
  return { disk, moves: () => at };
}

function readWhole(disk: Disk, pauses: number[] = []): Map<number, Buffer> {
  const reader = new LogReader(disk, folder, { pause: (ms) => pauses.push(ms) });
  const found = new Map<number, Buffer>();
  const take = ({ bytes, bodyFrom, bodyTo, position }: EntryView) =>
    found.set(position, Buffer.from(bytes.subarray(bodyFrom - entryHeaderBytes, bodyTo)));
  expect(reader.scan(0, take).tail).toBeUndefined();
  reader.close();
  return found;
}

const isDamage = expect.objectContaining({ code: "LOG_DAMAGED" });

describe("P5: a reader beside an erasure", () => {
  it("takes what the journal says where a record is half overwritten", async () => {
    const { appended, stage, erased } = await erasureInStages();
    const found = readWhole(stage("erase:half-overwritten 2"));
    expect(found).toEqual(expectedEntries(appended, new Set(positionsOf(erased))));
  });

  it("reads again where the batch was finished just after it had read", async () => {
    const { appended, stage, erased, finished } = await erasureInStages();
    const { disk, moves } = movingDisk([stage("erase:half-overwritten 2"), finished]);
    expect(readWhole(disk)).toEqual(expectedEntries(appended, new Set(positionsOf(erased))));
    expect(moves()).toBeGreaterThan(1);
  });

  it("reads again where the next batch of the same record was begun just after it had read, without an end to it", async () => {
    const { appended, stage, erased, finished } = await erasureInStages();
    const stages = ["erase:half-overwritten 1", "erase:journal-durable 2", "erase:half-overwritten 2"].map(stage);
    const { disk } = movingDisk([...stages, finished]);
    const found = readWhole(disk);
    for (const [position, bytes] of found) {
      const all = expectedEntries(appended, new Set(positionsOf(erased)));
      const none = expectedEntries(appended, new Set());
      expect([all.get(position), none.get(position)]).toContainEqual(bytes);
    }
    expect(found.size).toBe(appended.length);
  });

  it("reads single entries in the same way", async () => {
    const { appended, stage, erased, finished } = await erasureInStages();
    // Half of one entry's own bytes are overwritten.
    const torn = stage("erase:journal-durable 1");
    const bytes = torn.readFile(first);
    const from = erased[0]!.position;
    bytes.set(finished.readFile(first).subarray(from, from + 60), from);
    torn.writeFile(first, bytes);
    const wanted = expectedEntries(appended, new Set([from])).get(from)!;
    const entryAt = (disk: Disk) => {
      const { bytes, bodyTo } = new LogReader(disk, folder).read(from);
      return Buffer.from(bytes.subarray(0, bodyTo));
    };
    expect(entryAt(torn)).toEqual(wanted);
    expect(entryAt(movingDisk([torn, finished]).disk)).toEqual(wanted);
    const gone = torn.copy();
    gone.dropFile(journalFile);
    expect(() => entryAt(gone)).toThrow(isDamage);
  });

  it("does not take a half overwritten last record for a torn tail", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [1, 4]);
    const crashPoint = (name: string) => {
      if (name === "erase:half-overwritten") disk.killProcess();
    };
    const { log } = openLog(disk, { crashPoint });
    await outcomeOf(log.erase(positionsOf(appended.slice(1)), nextTurn));
    expect(readWhole(disk).size).toBe(5);
  });
});

describe("P5: damage beside an erasure", () => {
  it("is told at once where nobody touches it, and the thread never sleeps for it", async () => {
    const { appended, stage, finished } = await erasureInStages();
    for (const disk of [finished.copy(), stage("erase:half-overwritten 1")]) {
      disk.flipBit(first, appended[6]!.position - 3, 0);
      const pauses: number[] = [];
      expect(() => readWhole(disk, pauses)).toThrow();
      expect(pauses).toEqual([]);
    }
  });

  it("is told after a few looks in a record that a journal changes", async () => {
    const { appended, stage } = await erasureInStages();
    const disk = stage("erase:half-overwritten 1");
    disk.flipBit(first, appended[0]!.position + 70, 2);
    const pauses: number[] = [];
    expect(() => readWhole(disk, pauses)).toThrow(isDamage);
    expect(pauses.length).toBe(5);
    expect(pauses.every((ms) => ms <= 10)).toBe(true);
  });

  it("is not covered up by a journal of another segment", async () => {
    const { stage } = await erasureInStages();
    const foreign = stage("erase:half-overwritten 1");
    expect(readWhole(foreign).size).toBe(8);
    const journal = foreign.readFile(journalFile);
    writeU32(journal, journalHeaderBytes + 8, 77);
    writeU32(journal, 28, crc32(journal, journalHeaderBytes, journal.length, crc32(journal, 0, 28)));
    expect(decodeJournal(journal)).toMatchObject({ segments: [{ base: 0, salt: 77 }] });
    foreign.writeFile(journalFile, journal);
    expect(() => readWhole(foreign)).toThrow(isDamage);
  });
});
