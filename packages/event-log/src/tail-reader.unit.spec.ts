// TailReader: following a log that a node writes. Damage and erasures beside a reader at rest are told apart in
// recovery.unit.spec.ts and second-look.unit.spec.ts; here, that this reader does as they do.
import { SimulatedDisk, seededRandom } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import type { Disk } from "./disk.ts";
import { expectedEntries, nextTurn, writeAppends } from "./erasable-log.spec-support.ts";
import { type EntryView, entryHeaderBytes, newEntryView, segmentHeaderBytes, segmentName } from "./layout.ts";
import {
  add,
  changedDisk,
  commit,
  entriesOf,
  folder,
  openLog,
  type Written,
  writeGroups,
  writtenAs,
} from "./log-under-test.spec-support.ts";
import { recordPosition, TailReader, visitRecords } from "./tail-reader.ts";

/** Everything from a position up to an end, run by run. */
function follow(reader: TailReader, from: number, end: number, bytesMax: number) {
  const entries: Written[] = [];
  const records: number[] = [];
  const runs: number[] = [];
  let at = from;
  for (let run = reader.read(at, end, bytesMax); run !== undefined; run = reader.read(at, end, bytesMax)) {
    expect(run.from).toBe(at);
    visitRecords(run.bytes, 0, run.bytes.length, recordPosition(run), newEntryView(), (entry, record) => {
      entries.push(writtenAs(entry));
      if (records.at(-1) !== record) records.push(record);
    });
    runs.push(run.bytes.length);
    at = run.to;
  }
  return { entries, records, runs, at };
}

describe("tail reader: whole records", () => {
  it("T2: gives every record once and in order, over segments, however little is asked for at a time", async () => {
    const random = seededRandom(3);
    const disk = new SimulatedDisk();
    const groups = await writeGroups(
      disk,
      Array.from({ length: 60 }, () =>
        Array.from({ length: 1 + (random.safeInteger() % 5) }, () => 1 + (random.safeInteger() % 300)),
      ),
      { segmentBytes: 2_000 },
    );
    expect(disk.list(folder).length).toBeGreaterThan(5);
    const end = groups.at(-1)!.end;
    for (const bytesMax of [0, 1, 100, 700, 5_000, 1 << 20]) {
      const found = follow(new TailReader(disk, folder), 0, end, bytesMax);
      expect(found.entries).toEqual(entriesOf(groups));
      expect(found.at).toBe(end);
      const most = Math.max(...groups.map(({ entries }) => entries.length)) * 400;
      expect(Math.max(...found.runs)).toBeLessThanOrEqual(Math.max(bytesMax, most));
    }
  });

  it("begins at any place where a run has ended, and at any record", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(
      disk,
      Array.from({ length: 12 }, () => [50, 60]),
      { segmentBytes: 500 },
    );
    const end = groups.at(-1)!.end;
    const { records } = follow(new TailReader(disk, folder), 0, end, 1);
    const reader = new TailReader(disk, folder);
    for (const [index, record] of records.entries()) {
      expect(reader.beginsAt(record, end)).toBe(true);
      expect(follow(reader, record, end, 200).entries).toEqual(entriesOf(groups.slice(index)));
    }
    for (const [index, group] of groups.entries()) {
      expect(follow(reader, group.end, end, 200).entries).toEqual(entriesOf(groups.slice(index + 1)));
    }
  });

  it("a place where no record begins is damage to who reads there, and can be told before", async () => {
    const disk = new SimulatedDisk();
    const [group] = await writeGroups(disk, [[100, 100]]);
    const reader = new TailReader(disk, folder);
    for (const position of [1, 8, 63, segmentHeaderBytes + 8, segmentHeaderBytes + 24]) {
      expect(reader.beginsAt(position, group!.end)).toBe(false);
      expect(() => reader.read(position, group!.end, 1000)).toThrow(expect.objectContaining({ code: "LOG_DAMAGED" }));
    }
  });
});

describe("tail reader: a log that grows", () => {
  it("T3: finds what was added, and new segments, without listing the folder again", async () => {
    const simulated = new SimulatedDisk();
    let lists = 0;
    const disk = changedDisk(simulated, {
      list(name) {
        lists++;
        return simulated.list(name);
      },
    });
    const under = openLog(simulated, { segmentBytes: 400 });
    const reader = new TailReader(disk, folder);
    expect(reader.read(0, under.log.durableEnd, 100)).toBeUndefined();
    const written: Written[] = [];
    const found: Written[] = [];
    let at = 0;
    for (let n = 0; n < 40; n++) {
      written.push(add(under.log, n, 60));
      await commit(under);
      const more = follow(reader, at, under.log.durableEnd, 1000);
      found.push(...more.entries);
      at = more.at;
      expect(found).toEqual(written);
    }
    expect(simulated.list(folder).length).toBeGreaterThan(5);
    expect(lists).toBeLessThanOrEqual(1);
  });

  it("P2: gives nothing beyond the durable end, and is not led astray by what stood there and was taken back", async () => {
    const simulated = new SimulatedDisk();
    const groups = await writeGroups(simulated, [[50], [50]], { segmentBytes: 10_000 });
    const end = groups.at(-1)!.end;
    const file = `${folder}/${segmentName(0)}`;
    // A group whose write was cut short: the file is longer than the log.
    const torn = simulated.open(file, "write");
    torn.write(new Uint8Array(300).fill(7), 0, 300, end);
    const reader = new TailReader(simulated, folder);
    expect(follow(reader, 0, end, 1 << 20).entries).toEqual(entriesOf(groups));
    expect(reader.read(end, end, 1 << 20)).toBeUndefined();
    torn.close();
    // Recovery cuts it, and the log goes on: first in this segment, then in the next.
    const under = openLog(simulated, { segmentBytes: end + 50 });
    const more = [add(under.log, 2, 50)];
    await commit(under);
    expect(follow(reader, end, under.log.durableEnd, 1 << 20).entries).toEqual(more);
    const before = under.log.durableEnd;
    more.push(add(under.log, 3, 50));
    await commit(under);
    expect(simulated.list(folder)).toHaveLength(2);
    expect(follow(reader, before, under.log.durableEnd, 1 << 20).entries).toEqual(more.slice(1));
  });

  it("memory for a long record is given back", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[5 << 20], [10], [20]]);
    const reader = new TailReader(disk, folder);
    const first = reader.read(0, groups.at(-1)!.end, 100)!;
    expect(first.bytes.length).toBeGreaterThan(5 << 20);
    const second = reader.read(first.to, groups.at(-1)!.end, 100)!;
    expect(second.bytes.buffer.byteLength).toBeLessThan(1 << 20);
  });
});

describe("tail reader: P5 damage and erasures", () => {
  it("T1: a record that was changed is LOG_DAMAGED with its file and offset", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[50], [50], [50]]);
    const second = groups[1]!.entries[0]!.position;
    const name = `${folder}/${segmentName(0)}`;
    const file = disk.open(name, "write");
    file.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff), 0, 4, second + entryHeaderBytes + 10);
    const reader = new TailReader(disk, folder, { pause: () => {} });
    const end = groups.at(-1)!.end;
    const facts = expect.objectContaining({ file: name, offset: second - 24 });
    expect(() => reader.read(0, end, 1 << 20)).toThrow(expect.objectContaining({ code: "LOG_DAMAGED", facts }));
  });

  it("T1: what an erasure is overwriting just then is read as it will be", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [6, 2]);
    const erased = appended.slice(1, 5);
    const stages: SimulatedDisk[] = [];
    const { log } = openLog(disk, { crashPoint: () => stages.push(disk.copy()) });
    const end = log.durableEnd;
    await log.erase(
      erased.map(({ position }) => position),
      nextTurn,
    );
    const positions = new Set(erased.map(({ position }) => position));
    const [whole, gone] = [expectedEntries(appended, new Set()), expectedEntries(appended, positions)];
    const found = [...stages, disk].map((stage) => bytesOf(stage, end));
    for (const entries of found) expect([whole, gone]).toContainEqual(entries);
    expect(found.at(-1)).toEqual(gone);
    expect(stages.length).toBeGreaterThan(4);
  });
});

function bytesOf(disk: Disk, end: number): Map<number, Buffer> {
  const reader = new TailReader(disk, folder, { pause: () => {} });
  const found = new Map<number, Buffer>();
  const take = ({ bytes, bodyFrom, bodyTo, position }: EntryView) =>
    found.set(position, Buffer.from(bytes.subarray(bodyFrom - entryHeaderBytes, bodyTo)));
  for (let at = 0, run = reader.read(at, end, 300); run !== undefined; run = reader.read(at, end, 300)) {
    visitRecords(run.bytes, 0, run.bytes.length, recordPosition(run), newEntryView(), take);
    at = run.to;
  }
  return found;
}
