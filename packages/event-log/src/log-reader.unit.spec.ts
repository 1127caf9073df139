// LogReader: reading a log without owning it, also while a node writes. What it says about damage is tested, together
// with recovery, in recovery.unit.spec.ts.
import { SimulatedDisk } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { segmentHeaderBytes, segmentName } from "./layout.ts";
import { LogReader } from "./log-reader.ts";
import {
  add,
  changedDisk,
  entriesOf,
  folder,
  openLog,
  readAll,
  type Written,
  writeGroups,
  writtenAs,
} from "./log-under-test.spec-support.ts";

describe("log reader: a log at rest", () => {
  it("visits every entry in order, and tells the records and the end", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[10, 20], [30], [40, 50, 60]], { segmentBytes: 200 });
    const reader = new LogReader(disk, folder);
    const entries: Written[] = [];
    const records: [number, number][] = [];
    const result = reader.scan(
      0,
      (entry) => entries.push(writtenAs(entry)),
      (position, length) => records.push([position, position + length]),
    );
    expect(entries).toEqual(entriesOf(groups));
    expect(records.map(([, end]) => end)).toEqual(groups.map((group) => group.end));
    expect(records.map(([start]) => start)).toEqual(groups.map((group) => group.entries[0]!.position - 24));
    const end = groups.at(-1)!.end;
    expect(result).toEqual({ end, lastRecord: records.at(-1)![0], tail: undefined, records: 3 });
    expect(reader.end).toBe(end);
    expect(reader.segmentFiles).toEqual(
      disk
        .list(folder)
        .sort()
        .map((name) => `${folder}/${name}`),
    );
  });

  it("visits from any record's start on, and nothing from the end on or beyond it", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[10], [20], [30], [40]], { segmentBytes: 200 });
    const reader = new LogReader(disk, folder);
    for (const [index, { end }] of groups.entries()) {
      const entries: Written[] = [];
      reader.scan(end, (entry) => entries.push(writtenAs(entry)));
      expect(entries).toEqual(entriesOf(groups.slice(index + 1)));
    }
    const beyond = reader.scan(reader.end + 1000, () => expect.unreachable());
    expect(beyond).toEqual({ end: reader.end, lastRecord: undefined, tail: undefined, records: 0 });
  });

  it("reads single entries", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[10], [2000], [30]], { segmentBytes: 200 });
    const reader = new LogReader(disk, folder);
    for (const entry of entriesOf(groups)) expect(writtenAs(reader.read(entry.position))).toEqual(entry);
    expect(() => reader.read(reader.end)).toThrow(expect.objectContaining({ code: "LOG_DAMAGED" }));
    reader.close();
  });

  it("finds an empty folder empty", () => {
    const disk = new SimulatedDisk();
    disk.makeFolder(folder);
    expect(readAll(disk)).toEqual({ entries: [], end: 0, lastRecord: undefined, tail: undefined, records: 0 });
  });

  it("changes nothing", async () => {
    const disk = new SimulatedDisk();
    await writeGroups(disk, [[10], [20]]);
    disk.cutFile(`${folder}/${segmentName(0)}`, 200);
    const steps = disk.trace.length;
    expect(readAll(disk).tail).toBeDefined();
    expect(disk.trace.length).toBe(steps);
  });
});

describe("log reader: beside a writer", () => {
  it("tells a group that is half written as an incomplete tail, at whatever byte the write has arrived", () => {
    const disk = new SimulatedDisk();
    const { log } = openLog(disk);
    disk.holdSyncs();
    const first = add(log, 0);
    log.flush();
    disk.returnNextSync();
    const second = add(log, 1, 600);
    log.flush();
    const file = `${folder}/${segmentName(0)}`;
    const bytes = disk.readFile(file);
    for (let written = log.durableEnd; written <= bytes.length; written++) {
      const halfway = disk.copy();
      halfway.cutFile(file, written);
      const { entries, tail, end } = readAll(halfway);
      expect(entries).toEqual(written === bytes.length ? [first, second] : [first]);
      if (written === log.durableEnd || written === bytes.length) expect(tail).toBeUndefined();
      else expect([tail?.offset, end]).toEqual([log.durableEnd, log.durableEnd]);
    }
  });

  it("sees what the log held when it was made, and the rest when it is made again", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { segmentBytes: 200 });
    disk.holdSyncs();
    const written: Written[] = [];
    const readers: { reader: LogReader; entries: number }[] = [];
    for (let n = 0; n < 10; n++) {
      readers.push({ reader: new LogReader(disk, folder), entries: written.length });
      written.push(add(opened.log, n));
      opened.log.flush();
      disk.returnNextSync();
    }
    for (const { reader, entries } of readers) {
      const seen: Written[] = [];
      expect(reader.scan(0, (entry) => seen.push(writtenAs(entry))).tail).toBeUndefined();
      expect(seen).toEqual(written.slice(0, entries));
    }
  });

  it("takes a segment for empty whose header arrives just between asking for its length and reading it", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[10]]);
    const asked = changedDisk(disk, { open: (file, mode) => ({ ...disk.open(file, mode), size: () => 0 }) });
    expect(readAll(asked)).toMatchObject({ entries: [], end: segmentHeaderBytes, tail: undefined });
    expect(readAll(disk).entries).toEqual(entriesOf(groups));
  });

  it("leaves out a segment that is being made, and takes one that has only its header", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[10]]);
    const next = groups[0]!.end;
    disk.open(`${folder}/${segmentName(next)}`, "create");
    expect(readAll(disk)).toMatchObject({ entries: entriesOf(groups), end: next, tail: undefined });
    const { log } = openLog(disk, { segmentBytes: 1 });
    add(log, 1);
    disk.failNextSync();
    log.flush();
    expect(readAll(disk)).toMatchObject({
      entries: entriesOf(groups),
      end: next + segmentHeaderBytes,
      tail: undefined,
    });
  });
});
