// Recovery, P5: a torn tail is cut, all other damage is refused, nothing is invented.
// Method: logs on the simulated disk, cut at every byte, with bits flipped, with segments missing or exchanged, and with
// a power cut at every named place. The same cuts on real files: recovery.int.spec.ts.
import { writeU16, writeU32 } from "@heddle/protocol/internal";
import { SimulatedDisk, type Survival, seededRandom } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import { encodeSegmentHeader, sealRecord, segmentHeaderBytes, segmentName } from "./layout.ts";
import { LogReader } from "./log-reader.ts";
import {
  add,
  addBody,
  changedDisk,
  commit,
  entriesOf,
  folder,
  openLog,
  readAll,
  shard,
  type WrittenGroup,
  writeGroups,
} from "./log-under-test.spec-support.ts";

/** A log of several segments whose last one holds several records. */
async function severalSegments() {
  const disk = new SimulatedDisk();
  const groups = await writeGroups(
    disk,
    [[30, 700], [20], [900, 5], [1], [200, 300, 40], [60], [600], [11, 12, 13], [350, 20], [90]],
    { segmentBytes: 1000 },
  );
  const files = new LogReader(disk, folder).segmentFiles;
  const last = files.at(-1)!;
  const lastBase = Number(last.slice(-20, -4));
  expect(files.length).toBe(4);
  return { disk, groups, files, last, lastBase, end: groups.at(-1)!.end };
}

const damaged = (file: string, offset: unknown = expect.any(Number)) =>
  expect.objectContaining({ code: "LOG_DAMAGED", facts: { file, offset, problem: expect.any(String) } });

/** The log works on: one more group goes in, and all of it comes back. */
async function expectWritable(disk: SimulatedDisk, before: WrittenGroup[]) {
  const opened = openLog(disk);
  const next = add(opened.log, 1000);
  await commit(opened);
  opened.log.close();
  expect(readAll(disk)).toMatchObject({ entries: [...entriesOf(before), next], tail: undefined });
}

describe("P5: a log cut at every byte of its last two records", () => {
  it("opens as a prefix that ends where a record ended, and goes on from there", async () => {
    const { disk, groups, last, lastBase, end } = await severalSegments();
    for (let cut = groups.at(-3)!.end; cut <= end; cut++) {
      const kept = groups.filter((group) => group.end <= cut);
      const cutDisk = disk.copy();
      cutDisk.cutFile(last, cut - lastBase);
      const { log, replayed } = openLog(cutDisk);
      expect(replayed).toEqual(entriesOf(kept));
      expect(log.durableEnd).toBe(kept.at(-1)!.end);
      const cutBytes = cut - log.durableEnd;
      expect(log.recovery).toEqual({ cutBytes, cutFile: cutBytes > 0 ? last : undefined, records: kept.length });
      expect(cutDisk.readFile(last).length).toBe(log.durableEnd - lastBase);
      await expectWritable(cutDisk, kept);
    }
  });

  it("is refused where more was known to be durable, and then not a byte is changed", async () => {
    const { disk, groups, last, lastBase, end } = await severalSegments();
    const known = groups.at(-2)!.end;
    for (let cut = groups.at(-3)!.end; cut <= end; cut++) {
      const cutDisk = disk.copy();
      cutDisk.cutFile(last, cut - lastBase);
      const before = cutDisk.readFile(last);
      if (cut < end) expect(() => openLog(cutDisk, { knownEnd: end })).toThrow(damaged(last));
      if (cut < known) expect(() => openLog(cutDisk, { knownEnd: known })).toThrow(damaged(last));
      expect(cutDisk.readFile(last)).toEqual(before);
      if (cut >= known) openLog(cutDisk, { knownEnd: known }).log.close();
    }
  });

  it("is told by a reader as an incomplete tail, not thrown, and not changed", async () => {
    const { disk, groups, last, lastBase, end } = await severalSegments();
    for (let cut = groups.at(-3)!.end; cut < end; cut++) {
      const kept = groups.filter((group) => group.end <= cut);
      const cutDisk = disk.copy();
      cutDisk.cutFile(last, cut - lastBase);
      const found = readAll(cutDisk);
      expect(found.entries).toEqual(entriesOf(kept));
      expect(found.end).toBe(kept.at(-1)!.end);
      if (cut === found.end) expect(found.tail).toBeUndefined();
      else expect(found.tail).toMatchObject({ offset: found.end - lastBase, problem: expect.any(String) });
      expect(cutDisk.readFile(last).length).toBe(cut - lastBase);
    }
  });

  it("is refused in a segment that another follows", async () => {
    const { disk, files } = await severalSegments();
    for (let length = 0; length < disk.readFile(files[1]!).length; length++) {
      const cutDisk = disk.copy();
      cutDisk.cutFile(files[1]!, length);
      // Below the header it is that file that does not hold, from there on the next one does not join.
      expect(() => openLog(cutDisk)).toThrow(damaged(files[length < segmentHeaderBytes ? 1 : 2]!, 0));
    }
  });
});

describe("P5: one flipped bit", () => {
  // Every byte of every header, and places anywhere.
  async function placesToFlip() {
    const whole = await severalSegments();
    const random = seededRandom(2026);
    const places: { file: string; offset: number; bit: number }[] = [];
    for (const file of whole.files) {
      for (let offset = 0; offset < segmentHeaderBytes; offset++) places.push({ file, offset, bit: offset % 8 });
    }
    for (const { entries, end } of whole.groups) {
      const base = Number(whole.files.findLast((name) => Number(name.slice(-20, -4)) < end)!.slice(-20, -4));
      const from = entries[0]!.position - 24 - base;
      for (let i = 0; i < 24; i++)
        places.push({ file: `${folder}/${segmentName(base)}`, offset: from + i, bit: i % 8 });
    }
    while (places.length < 1000) {
      const file = whole.files[random.safeInteger() % whole.files.length]!;
      const offset = random.safeInteger() % whole.disk.readFile(file).length;
      places.push({ file, offset, bit: random.safeInteger() % 8 });
    }
    return { ...whole, places };
  }

  it("in each of 1,000 places: the log is refused, or only its last record is cut; no entry is ever changed", async () => {
    const { disk, groups, places, last, lastBase } = await placesToFlip();
    const allButLast = entriesOf(groups.slice(0, -1));
    const lastRecordAt = groups.at(-2)!.end - lastBase;
    let cuts = 0;
    for (const { file, offset, bit } of places) {
      const flipped = disk.copy();
      flipped.flipBit(file, offset, bit);
      const label = `${file} ${offset}.${bit}`;
      if (file === last && offset >= lastRecordAt) {
        const outcome = outcomeOf(() => openLog(flipped).replayed);
        if (outcome.thrown === undefined) {
          cuts++;
          expect(outcome.value, label).toEqual(allButLast);
        } else expect(outcome.thrown, label).toEqual(damaged(last, lastRecordAt));
      } else {
        const { thrown } = outcomeOf(() => openLog(flipped));
        expect(thrown, label).toEqual(damaged(file));
        // The place named is where the record with the flipped bit begins, or the file's start for its header.
        expect((thrown as { facts: { offset: number } }).facts.offset, label).toBe(recordAround(groups, file, offset));
      }
    }
    expect(cuts).toBeGreaterThan(10);
  });

  it("in each of 1,000 places: a full scan refuses it, or tells the last record as incomplete", async () => {
    const { disk, groups, places, last, lastBase } = await placesToFlip();
    const lastRecordAt = groups.at(-2)!.end - lastBase;
    for (const { file, offset, bit } of places) {
      const flipped = disk.copy();
      flipped.flipBit(file, offset, bit);
      const { thrown, value } = outcomeOf(() => readAll(flipped));
      if (thrown !== undefined) expect(thrown).toEqual(damaged(file, recordAround(groups, file, offset)));
      else {
        expect([file, value!.tail?.offset]).toEqual([last, lastRecordAt]);
        expect(value!.entries).toEqual(entriesOf(groups.slice(0, -1)));
      }
    }
  });

  it("is always refused when the log is known to be whole, and the file stays as it is", async () => {
    const { disk, places, end } = await placesToFlip();
    for (const { file, offset, bit } of places) {
      const flipped = disk.copy();
      flipped.flipBit(file, offset, bit);
      const before = flipped.readFile(file);
      expect(() => openLog(flipped, { knownEnd: end }), `${file} ${offset}.${bit}`).toThrow(damaged(file));
      expect(flipped.readFile(file)).toEqual(before);
    }
  });

  it("is refused in the last but one record even when the last one is torn, because a byte came after it", async () => {
    const { disk, groups, last, lastBase, end } = await severalSegments();
    const [from, to] = [groups.at(-3)!.end - lastBase, groups.at(-2)!.end - lastBase];
    for (let left = 1; left < end - lastBase - to; left += 7) {
      const twice = disk.copy();
      twice.cutFile(last, to + left);
      twice.flipBit(last, to - 1, 0);
      expect(() => openLog(twice)).toThrow(damaged(last, from));
    }
  });
});

describe("P5: damage that is no torn tail", () => {
  it("zeros, or the bytes of another place, in the middle of the log are refused", async () => {
    const { disk, groups, last, lastBase } = await severalSegments();
    const from = groups.at(-3)!.end - lastBase;
    for (const fill of ["zeros", "older bytes"] as const) {
      const bytes = disk.readFile(last);
      if (fill === "zeros") bytes.fill(0, from, from + 64);
      else bytes.copyWithin(from, segmentHeaderBytes, segmentHeaderBytes + 64);
      const changed = disk.copy();
      changed.writeFile(last, bytes);
      expect(() => openLog(changed)).toThrow(damaged(last, from));
    }
  });

  it("a record that is repeated is not taken for the next one", async () => {
    const { disk, groups, last, lastBase, end } = await severalSegments();
    const bytes = disk.readFile(last);
    const again = bytes.slice(groups.at(-2)!.end - lastBase, end - lastBase);
    disk.writeFile(last, Uint8Array.of(...bytes, ...again));
    // As bytes behind the log's end it is a tail like any other, and cut.
    const { replayed, log } = openLog(disk);
    expect(replayed).toEqual(entriesOf(groups));
    expect(log.recovery.cutBytes).toBe(again.length);
  });

  it("zeros behind the last record, as some file systems leave them after a power cut, are cut", async () => {
    const { disk, groups, last } = await severalSegments();
    for (const zeros of [1, 8, 24, 4096]) {
      const longer = disk.copy();
      longer.writeFile(last, Uint8Array.of(...disk.readFile(last), ...new Uint8Array(zeros)));
      const { replayed, log } = openLog(longer);
      expect(replayed).toEqual(entriesOf(groups));
      expect(log.recovery.cutBytes).toBe(zeros);
    }
  });

  it("is found behind the place where replay begins, and not before it", async () => {
    const { disk, groups, files } = await severalSegments();
    const from = groups[5]!.end;
    disk.flipBit(files[0]!, 200, 3);
    expect(openLog(disk, { replayFrom: from }).replayed).toEqual(entriesOf(groups.slice(6)));
    expect(() => openLog(disk)).toThrow(damaged(files[0]!));
  });
});

describe("P5: a payload that looks like a record", () => {
  // The forger knows the layout and where in the log the payload will lie, as receipts tell.
  async function tornForgery(saltOf: (salt: number) => number) {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const kept = add(opened.log, 0, 16);
    await commit(opened);
    const [segment] = opened.log.segments;
    const body = new Uint8Array(400);
    const position = opened.log.durableEnd + 24 + 48;
    expect(position % 8).toBe(0);
    const forged = new Uint8Array(96);
    forged.set(disk.readFile(segment!.file).subarray(64 + 24, 64 + 24 + 64), 24);
    sealRecord(forged, forged.length, { entries: 1, position, salt: saltOf(segment!.salt) });
    body.set(forged);
    addBody(opened.log, 1, body);
    await commit(opened);
    opened.log.close();
    disk.cutFile(segment!.file, disk.readFile(segment!.file).length - 8);
    return { disk, kept, file: segment!.file, offset: opened.durable[0]!.end };
  }

  it("does not pass for one, so the torn record around it is cut", async () => {
    const { disk, kept } = await tornForgery(() => 0);
    expect(readAll(disk).entries).toEqual([kept]);
    expect(openLog(disk).replayed).toEqual([kept]);
    expect(readAll(disk).tail).toBeUndefined();
  });

  it("could pass for one only with the segment's salt, which no caller is ever told", async () => {
    const { disk, file, offset } = await tornForgery((salt) => salt);
    expect(() => openLog(disk)).toThrow(damaged(file, offset));
  });
});

describe("P5: a power cut at a named place", () => {
  const places = ["log:segment-created", "log:before-write", "log:on-its-way", "log:after-sync"];
  const survivals: Survival[] = ["nothing", "everything", ...new Array(20).fill("some")];

  it.each(places)(
    "%s: what was acknowledged is there, the group under way is there whole or not at all",
    async (place) => {
      for (const [seed, survival] of survivals.entries()) {
        for (let occurrence = 1; occurrence <= 4; occurrence++) {
          const disk = new SimulatedDisk({ seed });
          let left = occurrence;
          const crashPoint = (name: string) => {
            if (name !== place || --left > 0) return;
            disk.crash(survival);
            throw new Error("power cut");
          };
          const opened = openLog(disk, { segmentBytes: 1500, crashPoint });
          const groups: WrittenGroup[] = [];
          disk.holdSyncs();
          for (let n = 0; left > 0 && n < 50; n++) {
            groups.push({ entries: [add(opened.log, 2 * n, 700), add(opened.log, 2 * n + 1, 30)], end: 0 });
            opened.log.flush();
            if (left > 0) outcomeOf(() => disk.returnNextSync());
          }
          expect(left).toBe(0);
          const acknowledged = opened.durable.length;
          expect(groups.length).toBe(acknowledged + 1);
          const again = openLog(disk, { knownEnd: opened.durable.at(-1)?.end ?? 0 });
          const whole = [entriesOf(groups.slice(0, acknowledged)), entriesOf(groups)];
          expect(whole).toContainEqual(again.replayed);
          if (place === "log:after-sync") expect(again.replayed).toEqual(whole[1]);
          const next = add(again.log, 99);
          await commit(again);
          again.log.close();
          disk.crash("nothing");
          expect(readAll(disk).entries).toEqual([...again.replayed, next]);
        }
      }
    },
  );

  it("while a torn tail is cut: the next recovery ends the same way", async () => {
    const { disk, groups, last } = await severalSegments();
    disk.cutFile(last, disk.readFile(last).length - 5);
    for (let seed = 0; seed < 30; seed++) {
      const crashing = disk.copy({ seed });
      crashing.failNextSync();
      expect(() => openLog(crashing)).toThrow(expect.objectContaining({ code: "EIO" }));
      crashing.crash();
      expect(openLog(crashing).replayed).toEqual(entriesOf(groups.slice(0, -1)));
    }
  });
});

describe("P5: a record that stands in the page cache only", () => {
  async function withFailedSync() {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const durable = add(opened.log, 0);
    await commit(opened);
    const cached = add(opened.log, 1);
    disk.failNextSync();
    await commit(opened);
    disk.killProcess();
    return { disk, durable, cached, end: opened.log.durableEnd };
  }

  it("is durable once a recovery has shown it", async () => {
    const { disk, durable, cached, end } = await withFailedSync();
    expect(openLog(disk, { knownEnd: end }).replayed).toEqual([durable, cached]);
    disk.crash("nothing");
    expect(openLog(disk).replayed).toEqual([durable, cached]);
  });

  it("is cut when the cache has dropped it", async () => {
    const { disk, durable, end } = await withFailedSync();
    disk.dropCleanPages();
    expect(openLog(disk, { knownEnd: end }).replayed).toEqual([durable]);
  });

  it("is refused when the cache drops it while it is recovered, after it was visited", async () => {
    const { disk, durable, end } = await withFailedSync();
    const dropping = changedDisk(disk, {
      open(file, mode) {
        if (mode === "write") disk.dropCleanPages();
        return disk.open(file, mode);
      },
    });
    expect(() => openLog(dropping, { knownEnd: end })).toThrow(damaged(`${folder}/${segmentName(0)}`, end));
    expect(openLog(disk, { knownEnd: end }).replayed).toEqual([durable]);
  });
});

describe("P5: a segment that was being made when the process died", () => {
  it("is thrown away while its header is not whole, and made again", async () => {
    for (let length = 0; length < segmentHeaderBytes; length++) {
      const { disk, groups, end } = await severalSegments();
      const name = `${folder}/${segmentName(end)}`;
      const header = encodeSegmentHeader({ shard, base: end, salt: 1, createdMs: 1 });
      disk.writeFile(name, header.subarray(0, length));
      expect(readAll(disk).entries).toEqual(entriesOf(groups));
      const { replayed, log } = openLog(disk, { knownEnd: end, segmentBytes: 1 });
      expect(replayed).toEqual(entriesOf(groups));
      expect(log.durableEnd).toBe(end);
      disk.crash("nothing");
      expect(disk.list(folder)).not.toContain(segmentName(end));
    }
  });

  it("is used when its header is whole, and its name and header are durable before anything is in it", async () => {
    const { disk, groups, end } = await severalSegments();
    disk
      .open(`${folder}/${segmentName(end)}`, "create")
      .write(encodeSegmentHeader({ shard, base: end, salt: 1, createdMs: 1 }), 0, 64, 0);
    disk.killProcess();
    const opened = openLog(disk, { knownEnd: end });
    expect(opened.log.durableEnd).toBe(end + segmentHeaderBytes);
    disk.crash("nothing");
    expect(openLog(disk, { knownEnd: opened.log.durableEnd }).replayed).toEqual(entriesOf(groups));
    await expectWritable(disk, groups);
  });

  it("shows that the record before it had been durable: damage there is refused, not cut", async () => {
    const { disk, groups, end, last, lastBase } = await severalSegments();
    disk.writeFile(`${folder}/${segmentName(end)}`, new Uint8Array(0));
    disk.flipBit(last, disk.readFile(last).length - 1, 0);
    const at = groups.at(-2)!.end - lastBase;
    expect(() => openLog(disk)).toThrow(damaged(last, at));
    expect(() => readAll(disk)).toThrow(damaged(last, at));
    disk.cutFile(last, disk.readFile(last).length - 1);
    expect(() => openLog(disk)).toThrow(damaged(`${folder}/${segmentName(end)}`, 0));
  });
});

describe("P5: segments that do not belong together", () => {
  it("a missing first or middle one is refused, naming the one that does not join", async () => {
    const { disk, files } = await severalSegments();
    for (const missing of [0, 1, 2]) {
      const without = disk.copy();
      without.dropFile(files[missing]!);
      expect(() => openLog(without)).toThrow(damaged(files[missing + 1]!, 0));
      expect(() => new LogReader(without, folder)).toThrow(damaged(files[missing + 1]!, 0));
    }
  });

  it("a missing last one is refused when it was known", async () => {
    const { disk, groups, files, end } = await severalSegments();
    disk.dropFile(files.at(-1)!);
    expect(() => openLog(disk, { knownEnd: end })).toThrow(damaged(files.at(-2)!));
    expect(openLog(disk).replayed).toEqual(
      entriesOf(groups.filter((group) => group.end <= Number(files.at(-1)!.slice(-20, -4)))),
    );
  });

  it("an empty folder is refused when there was a log", () => {
    expect(() => openLog(new SimulatedDisk(), { knownEnd: 64 })).toThrow(damaged(folder, 0));
    expect(() => openLog(new SimulatedDisk(), { replayFrom: 64 })).toThrow(damaged(folder, 0));
  });

  it("a hole before a file that was only just begun is refused", async () => {
    const { disk, files, end } = await severalSegments();
    disk.writeFile(`${folder}/${segmentName(end)}`, new Uint8Array(3));
    disk.dropFile(files.at(-1)!);
    expect(() => openLog(disk)).toThrow(damaged(`${folder}/${segmentName(end)}`, 0));
  });

  it("two that changed places are refused", async () => {
    const { disk, files } = await severalSegments();
    const [one, other] = [disk.readFile(files[1]!), disk.readFile(files[2]!)];
    disk.writeFile(files[1]!, other);
    disk.writeFile(files[2]!, one);
    expect(() => openLog(disk)).toThrow(damaged(files[1]!, 0));
  });

  it("one of another shard is refused, first or last, even when it is empty", async () => {
    const { disk, last, lastBase } = await severalSegments();
    const foreign = encodeSegmentHeader({ shard: 4, base: lastBase, salt: 1, createdMs: 1 });
    disk.writeFile(last, foreign);
    expect(() => openLog(disk)).toThrow(damaged(last, 10));
    expect(() => openLog(new SimulatedDisk({ seed: 2 }), { shard: 5 })).not.toThrow();
    const other = new SimulatedDisk();
    await writeGroups(other, [[1]], { shard: 4 });
    expect(() => openLog(other)).toThrow(damaged(`${folder}/${segmentName(0)}`, 10));
  });

  it("one of another version is refused, even when it is the last and empty", async () => {
    const { disk, end } = await severalSegments();
    const header = encodeSegmentHeader({ shard, base: end, salt: 1, createdMs: 1 });
    writeU16(header, 8, 4);
    writeU32(header, 60, crc32(header, 0, 60));
    disk.writeFile(`${folder}/${segmentName(end)}`, header);
    expect(() => openLog(disk)).toThrow("format version 4, this program knows 3");
  });

  it("files of other names are left alone", async () => {
    const { disk, groups } = await severalSegments();
    for (const name of ["notes.txt", "0000000000000000.log.bak", "00.log"])
      disk.writeFile(`${folder}/${name}`, new Uint8Array(5));
    expect(openLog(disk).replayed).toEqual(entriesOf(groups));
    expect(disk.list(folder)).toEqual(expect.arrayContaining(["notes.txt", "0000000000000000.log.bak", "00.log"]));
  });
});

describe("replay", () => {
  it("begins at any record's start, at a segment's base, and at the log's end", async () => {
    const { disk, groups, files } = await severalSegments();
    for (const from of [0, ...groups.map((group) => group.end), ...files.map((file) => Number(file.slice(-20, -4)))]) {
      const later = groups.filter((group) => group.end > from);
      const { replayed, log } = openLog(disk, { replayFrom: from, knownEnd: from });
      expect(replayed).toEqual(entriesOf(later));
      expect(log.recovery.records).toBe(later.length);
    }
  });

  it("from a place inside a record is refused: nothing is cut there", async () => {
    const { disk, groups, last, lastBase, end } = await severalSegments();
    const before = disk.readFile(last);
    for (let from = groups.at(-3)!.end + 1; from < end; from++) {
      if (from === groups.at(-2)!.end) continue;
      expect(() => openLog(disk, { replayFrom: from })).toThrow(damaged(last, from - lastBase));
    }
    expect(disk.readFile(last)).toEqual(before);
  });

  it("from the place where a torn record begins cuts it", async () => {
    const { disk, groups, last } = await severalSegments();
    disk.cutFile(last, disk.readFile(last).length - 1);
    const from = groups.at(-2)!.end;
    const { replayed, log } = openLog(disk, { replayFrom: from, knownEnd: from });
    expect([replayed, log.durableEnd]).toEqual([[], from]);
  });

  it("reads records longer than its window whole", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[3 << 20], [5 << 20, 10], [100], [1]]);
    expect(readAll(disk)).toMatchObject({ records: 4, tail: undefined });
    expect(openLog(disk).replayed.map((entry) => entry.position)).toEqual(entriesOf(groups).map((e) => e.position));
  });

  it("changes nothing in a log that was closed in order", async () => {
    const { disk, files, end } = await severalSegments();
    const before = files.map((file) => disk.readFile(file));
    const { writes } = disk.counters;
    openLog(disk, { knownEnd: end }).log.close();
    expect(files.map((file) => disk.readFile(file))).toEqual(before);
    expect(disk.counters.writes).toBe(writes);
  });
});

function outcomeOf<T>(work: () => T): { value?: T; thrown?: unknown } {
  try {
    return { value: work() };
  } catch (thrown) {
    return { thrown };
  }
}

/** Offset of the record that holds a byte of a file; 0 for a byte of the header. */
function recordAround(groups: WrittenGroup[], file: string, offset: number): number {
  const base = Number(file.slice(-20, -4));
  if (offset < segmentHeaderBytes) return 0;
  const before = groups.filter((group) => group.end <= base + offset).at(-1)?.end ?? 0;
  return Math.max(before - base, segmentHeaderBytes);
}
