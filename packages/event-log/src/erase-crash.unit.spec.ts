// P5, P6: an erasure that is cut off at any step. After the next opening the log is whole, each batch is erased whole or
// not at all, in order, and nothing else has changed.
// Method: the simulated disk loses power before every single call that changes it, or halfway through a write, and
// opening the log again loses power in the same way. Entries are read by hand, without the log's code.
import { writeU32 } from "@heddle/protocol/internal";
import { SimulatedDisk, type Survival } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import type { Disk } from "./disk.ts";
import {
  type Appended,
  addAppend,
  entriesByHand,
  erasedBytes,
  expectedEntries,
  fileBytes,
  hurriedClock,
  markersInFolder,
  nextTurn,
  outcomeOf,
  steppingDisk,
  writeAppends,
} from "./erasable-log.spec-support.ts";
import { decodeJournal, journalHeaderBytes, journalName } from "./erase-journal.ts";
import { type EntryView, entryHeaderBytes } from "./layout.ts";
import { LogReader } from "./log-reader.ts";
import { commit, folder, openLog } from "./log-under-test.spec-support.ts";

const eraseJournalBytes = 400;
const positionsOf = (appended: readonly Appended[]) => appended.map(({ position }) => position);
const journalFile = `${folder}/${journalName}`;

/** A log at rest, what is to be erased of it, and how that falls into batches. */
async function logToErase() {
  const disk = new SimulatedDisk();
  const appended = await writeAppends(disk, [3, 7, 1, 6], { segmentBytes: 800 });
  const erased = appended.filter((_, n) => n % 4 !== 2);
  const batches: number[] = [];
  const tried = disk.copy();
  const { log } = openLog(tried, {
    eraseJournalBytes,
    crashPoint: (name) => {
      if (name === "erase:journal-durable") batches.push(entriesInJournal(tried));
    },
  });
  await log.erase(positionsOf(erased), nextTurn);
  expect(batches.length).toBeGreaterThan(2);
  return { disk, appended, erased, batches };
}

function entriesInJournal(disk: Disk): number {
  const journal = decodeJournal(fileBytes(disk, journalName));
  if (typeof journal !== "object") throw new Error(`no journal: ${journal}`);
  return journal.segments.flatMap(({ patches }) => patches).filter(({ from, to }) => to - from > 4).length;
}

/** How many batches are erased; throws when one is erased in part, or anything else is not as it was. */
function batchesErased(disk: Disk, { appended, erased, batches }: Awaited<ReturnType<typeof logToErase>>): number {
  const found = entriesByHand(disk);
  const isErased = ({ position }: Appended) => (found.get(position)![8]! & 4) !== 0;
  const count = erased.filter(isErased).length;
  let whole = 0;
  for (let sum = 0; sum < count; whole++) sum += batches[whole]!;
  const done = erased.slice(
    0,
    batches.slice(0, whole).reduce((sum, batch) => sum + batch, 0),
  );
  expect(found).toEqual(expectedEntries(appended, new Set(positionsOf(done))));
  expect(markersInFolder(disk).size).toBe(appended.length - done.length);
  return whole;
}

/** A disk that loses power at one of its calls, before it or in the middle of it. */
function dyingDisk(disk: SimulatedDisk, survival: Survival, share: number) {
  const state = { step: 0, diesAt: Number.POSITIVE_INFINITY, dead: false };
  const dying = steppingDisk(disk, (what, writePart) => {
    if (++state.step !== state.diesAt) return;
    if (what === "write") writePart(share);
    state.dead = true;
    disk.crash(survival);
    throw new Error("power cut");
  });
  return { dying, state };
}

const deaths: readonly [Survival, number][] = [
  ["nothing", 0],
  ["everything", 0],
  ["everything", 0.5],
  ["some", 0.5],
  ["some", 1],
  ["some", 0.9],
];

describe("P5, P6: a power cut during an erasure", () => {
  it("at any step: the next opening leaves each batch whole, the log works on, and the erasure can be asked for again", async () => {
    const setting = await logToErase();
    const seen = new Set<number>();
    for (const [seed, [survival, share]] of deaths.entries()) {
      for (let diesAt = 1; ; diesAt++) {
        const disk = setting.disk.copy({ seed: 100 * seed + diesAt });
        const { dying, state } = dyingDisk(disk, survival, share);
        const { log } = openLog(dying, { eraseJournalBytes });
        Object.assign(state, { step: 0, diesAt });
        const outcome = await outcomeOf(log.erase(positionsOf(setting.erased), nextTurn));
        if (!state.dead) break;
        expect(outcome.thrown).toBeDefined();
        const again = openLog(disk, { eraseJournalBytes, knownEnd: log.durableEnd });
        seen.add(batchesErased(disk, setting));
        expect(again.replayed.length).toBe(setting.appended.length);
        await again.log.erase(positionsOf(setting.erased), nextTurn);
        disk.crash("nothing");
        expect(batchesErased(disk, setting)).toBe(setting.batches.length);
      }
    }
    expect([...seen].sort()).toEqual(setting.batches.map((_, n) => n).concat(setting.batches.length));
  });

  it("and a second one at any step of the opening that finishes it", async () => {
    const setting = await logToErase();
    const dieIn = async (name: string, survival: Survival, seed: number) => {
      const disk = setting.disk.copy({ seed });
      let batches = 2;
      const crashPoint = (point: string) => {
        if (point !== name || --batches > 0) return;
        disk.crash(survival);
        throw new Error("power cut");
      };
      const { log } = openLog(disk, { eraseJournalBytes, crashPoint });
      await outcomeOf(log.erase(positionsOf(setting.erased), nextTurn));
      return disk;
    };
    for (const name of ["erase:journal-durable", "erase:half-overwritten", "erase:overwritten", "erase:synced"]) {
      for (const [seed, [survival, share]] of deaths.entries()) {
        const died = await dieIn(name, survival, seed);
        for (let diesAt = 1; ; diesAt++) {
          const disk = died.copy({ seed: diesAt });
          const { dying, state } = dyingDisk(disk, survival, share);
          state.diesAt = diesAt;
          if (!opens(dying) && !state.dead) expect.unreachable("the log must open");
          if (!state.dead) break;
          openLog(disk);
          // The batch that was begun is erased, whatever happened to the opening that was to finish it.
          expect(batchesErased(disk, setting)).toBe(2);
          disk.crash("nothing");
          expect(batchesErased(disk, setting)).toBe(2);
          expect(disk.list(folder).filter((each) => !each.endsWith(".log") && each !== journalName)).toEqual([]);
        }
      }
    }
  });

  it("while groups are appended: what was acknowledged is there, unerased, and the log opens", async () => {
    for (let diesAt = 1; diesAt < 400; diesAt += 3) {
      const disk = new SimulatedDisk({ seed: diesAt });
      const appended = await writeAppends(disk, [8, 8], { segmentBytes: 900 });
      const { dying, state } = dyingDisk(disk, "some", 0.7);
      const clock = hurriedClock();
      const opened = openLog(dying, { eraseJournalBytes, clock, segmentBytes: 900 });
      Object.assign(state, { step: 0, diesAt });
      await outcomeOf(
        opened.log.erase(positionsOf(appended), async () => {
          if (!opened.log.failed) {
            appended.push(addAppend(opened.log, appended.length));
            opened.log.flush();
          }
          await nextTurn();
        }),
      );
      const { end } = opened.durable.at(-1) ?? { end: opened.log.durableEnd };
      if (!state.dead) disk.crash("some");
      const again = openLog(disk, { knownEnd: end });
      const found = entriesByHand(disk);
      for (const each of appended) {
        const bytes = found.get(each.position);
        if (each.position < end) expect(bytes).toBeDefined();
        if (bytes === undefined) continue;
        const first16 = each.position <= appended[15]!.position;
        const wanted = first16 && (bytes[8]! & 4) !== 0 ? erasedBytes(each) : each.bytes;
        expect(bytes).toEqual(wanted);
      }
      await again.log.erase(positionsOf(appended.slice(0, 16)), nextTurn);
      entriesByHand(disk);
    }
  });

  it("mode os: a log of which nothing was synced opens again once the journal is durable", async () => {
    const disk = new SimulatedDisk();
    const crashPoint = (name: string) => {
      if (name !== "erase:journal-durable") return;
      disk.crash("nothing");
      throw new Error("power cut");
    };
    const opened = openLog(disk, { durability: "os", crashPoint });
    const appended: Appended[] = [];
    for (let n = 0; n < 5; n++) {
      appended.push(addAppend(opened.log, n));
      await commit(opened);
    }
    await outcomeOf(opened.log.erase(positionsOf(appended), nextTurn));
    openLog(disk, { knownEnd: opened.log.durableEnd });
    expect(entriesByHand(disk)).toEqual(expectedEntries(appended, new Set(positionsOf(appended))));
  });
});

describe("P5: the journal that a dead process left", () => {
  /** A log whose erasure died when its journal was durable, and what stands in the journal. */
  async function withJournal() {
    const setting = await logToErase();
    const disk = setting.disk.copy();
    const crashPoint = (name: string) => {
      if (name === "erase:journal-durable") disk.killProcess();
    };
    const { log } = openLog(disk, { eraseJournalBytes, crashPoint });
    await outcomeOf(log.erase(positionsOf(setting.erased), nextTurn));
    return { ...setting, disk, journal: fileBytes(disk, journalName) };
  }

  const refused = (offset: number, problem: unknown) =>
    expect.objectContaining({ code: "LOG_DAMAGED", facts: { file: journalFile, offset, problem } });

  function resealed(journal: Buffer, change: (bytes: Buffer) => void): Buffer {
    const bytes = Buffer.from(journal);
    change(bytes);
    writeU32(bytes, 28, crc32(bytes, journalHeaderBytes, bytes.length, crc32(bytes, 0, 28)));
    return bytes;
  }

  it("is thrown away when it was not written whole, however far the write came, and nothing is erased", async () => {
    const { disk, journal, ...setting } = await withJournal();
    for (let length = 0; length < journal.length; length++) {
      const cut = disk.copy();
      cut.writeFile(journalFile, journal.subarray(0, length));
      openLog(cut).log.close();
      expect(batchesErased(cut, { disk: cut, ...setting })).toBe(0);
      expect(cut.list(folder)).not.toContain(journalName);
    }
    openLog(disk);
    expect(batchesErased(disk, { disk, ...setting })).toBe(1);
  });

  it("is made durable before it is carried out, when it may stand in the page cache only", async () => {
    const setting = await logToErase();
    for (let diesAt = 1; diesAt < 14; diesAt++) {
      for (const survival of ["nothing", "some", "everything"] as const) {
        const disk = setting.disk.copy({ seed: diesAt });
        const crashPoint = (name: string) => {
          if (name === "erase:journal-written") disk.failNextSync();
        };
        const { log } = openLog(disk, { eraseJournalBytes, crashPoint });
        await expect(log.erase(positionsOf(setting.erased), nextTurn)).rejects.toMatchObject({ code: "SHARD_STOPPED" });
        log.close();
        const { dying, state } = dyingDisk(disk, survival, 0.5);
        state.diesAt = diesAt;
        opens(dying);
        if (!state.dead) disk.crash(survival);
        openLog(disk);
        expect([0, 1]).toContain(batchesErased(disk, setting));
      }
    }
  });

  it("of a segment that is not there, of another one, of another shard or version is refused, and nothing changes", async () => {
    const { disk, journal } = await withJournal();
    const heading = journalHeaderBytes;
    const patch = heading + 16;
    const end = new LogReader(disk, folder).end;
    const cases: [number, string | RegExp, (bytes: Buffer) => void][] = [
      [0, "format version 9, this program knows 1", (bytes) => bytes.writeUInt16LE(9, 8)],
      [10, "it belongs to shard 4, not 3", (bytes) => bytes.writeUInt16LE(4, 10)],
      [heading, /segment at position 8, which is not there/, (bytes) => bytes.writeUIntLE(8, heading, 6)],
      [heading, /another segment than the one at position 0/, (bytes) => bytes.writeUInt32LE(77, heading + 8)],
      [heading, /changes position 63, /, (bytes) => bytes.writeUIntLE(63, patch, 6)],
      [heading, /changes position \d+, /, (bytes) => bytes.writeUIntLE(end, patch, 6)],
    ];
    for (const [offset, problem, change] of cases) {
      const changed = disk.copy();
      changed.writeFile(journalFile, resealed(journal, change));
      const steps = changed.trace.length;
      const wanted = typeof problem === "string" ? problem : expect.stringMatching(problem);
      expect(() => openLog(changed)).toThrow(refused(offset, wanted));
      expect(changed.trace.length).toBe(steps);
    }
  });

  it("does not keep a reader from any entry: each is read as it was or as it will be, and nothing is written", async () => {
    const setting = await logToErase();
    for (const name of ["erase:journal-durable", "erase:half-overwritten", "erase:overwritten", "erase:synced"]) {
      const disk = setting.disk.copy();
      const crashPoint = (point: string) => {
        if (point === name) disk.killProcess();
      };
      const { log } = openLog(disk, { eraseJournalBytes, crashPoint });
      await outcomeOf(log.erase(positionsOf(setting.erased), nextTurn));
      const steps = disk.trace.length;
      const reader = new LogReader(disk, folder, { pause: () => expect.unreachable("nobody writes") });
      const scanned: Buffer[] = [];
      expect(reader.scan(0, (entry) => scanned.push(wholeEntry(entry))).tail).toBeUndefined();
      for (const [n, each] of setting.appended.entries()) {
        for (const bytes of [scanned[n]!, wholeEntry(reader.read(each.position))]) {
          expect(bytes).toEqual((bytes[8]! & 4) === 0 ? each.bytes : erasedBytes(each));
        }
      }
      reader.close();
      expect(disk.trace.length).toBe(steps);
    }
  });
});

function wholeEntry({ bytes, bodyFrom, bodyTo }: EntryView): Buffer {
  return Buffer.from(bytes.subarray(bodyFrom - entryHeaderBytes, bodyTo));
}

function opens(disk: Disk): boolean {
  try {
    openLog(disk).log.close();
    return true;
  } catch {
    return false;
  }
}
