// P6: entries erased in place, while the log goes on. P5: nothing else changes, and no damage is covered up.
// Method: logs on the simulated disk; afterwards every file is read by hand, without the log's code, and each entry must
// be the bytes that were written or the documented erased form of them. Power cuts: erase-crash.unit.spec.ts. Readers
// beside an erasure: log-reader-erasure.unit.spec.ts.
import { SimulatedDisk, seededRandom } from "@heddle/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Disk } from "./disk.ts";
import {
  type Appended,
  addAppend,
  entriesByHand,
  expectedEntries,
  fileBytes,
  hurriedClock,
  markersInFolder,
  nextTurn,
  outcomeOf,
  steppingDisk,
  writeAppends,
} from "./erasable-log.spec-support.ts";
import { journalName } from "./erase-journal.ts";
import { entryFlags, segmentName } from "./layout.ts";
import { LogReader } from "./log-reader.ts";
import { changedDisk, commit, folder, openLog, readAll } from "./log-under-test.spec-support.ts";

const first = `${folder}/${segmentName(0)}`;
const positionsOf = (appended: readonly Appended[]) => appended.map(({ position }) => position);
const noTurn = () => expect.unreachable("no turn was to be given");

const asHex = (entries: ReadonlyMap<number, Buffer>) =>
  [...entries].map(([position, bytes]) => `${position} ${bytes.toString("hex")}`);

/** Every file is as it must be when exactly these appends are erased. */
function expectErased(disk: Disk, appended: readonly Appended[], erased: readonly Appended[]): void {
  const positions = new Set(positionsOf(erased));
  expect(asHex(entriesByHand(disk))).toEqual(asHex(expectedEntries(appended, positions)));
  const left = appended.map((_, n) => n).filter((n) => !positions.has(appended[n]!.position));
  expect([...markersInFolder(disk)].sort((a, b) => a - b)).toEqual(left);
}

describe("P6: erasing entries", () => {
  it("leaves nothing of their payloads in any file, and every other byte as it was, for any log and any of its entries", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 12 }),
        fc.integer(),
        fc.integer({ min: 100, max: 4000 }),
        fc.integer({ min: 50, max: 1500 }),
        async (groups, seed, segmentBytes, eraseJournalBytes) => {
          const disk = new SimulatedDisk({ seed });
          const appended = await writeAppends(disk, groups, { seed, segmentBytes });
          const random = seededRandom(seed);
          const erased = new Set<Appended>();
          for (let round = 0; round < 3; round++) {
            const options = { segmentBytes, eraseJournalBytes, clock: hurriedClock() };
            const { log, replayed } = openLog(disk, options);
            expect(replayed.length).toBe(appended.length);
            const chosen = appended.filter(() => random.safeInteger() % 3 === 0);
            const fresh = chosen.filter((each) => !erased.has(each));
            const result = await log.erase(Float64Array.from(positionsOf(chosen)), nextTurn);
            for (const each of chosen) erased.add(each);
            expect(result).toEqual({
              entries: fresh.length,
              bytes: fresh.reduce((sum, { bytes }) => sum + bytes.length, 0),
              segments: new Set(fresh.map(({ position }) => log.segments.findLast((s) => s.base <= position))).size,
            });
            expectErased(disk, appended, [...erased]);
            log.close();
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("is durable when it resolves, however much of the cache a power cut takes", async () => {
    for (const survival of ["nothing", "some"] as const) {
      const disk = new SimulatedDisk();
      const appended = await writeAppends(disk, [5, 9, 3], { segmentBytes: 900 });
      const { log } = openLog(disk);
      await log.erase(positionsOf(appended.slice(2, 11)), nextTurn);
      disk.crash(survival);
      expectErased(disk, appended, appended.slice(2, 11));
      expect(openLog(disk, { knownEnd: log.durableEnd }).replayed.length).toBe(17);
    }
  });

  it("shows them to readers as erased, in their places", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [4]);
    const { log } = openLog(disk);
    await log.erase(positionsOf(appended.slice(1, 3)), nextTurn);
    const seen: [number, number][] = [];
    new LogReader(disk, folder).scan(0, ({ position, flags }) => seen.push([position, flags & entryFlags.erased]));
    expect(seen).toEqual(positionsOf(appended).map((position, n) => [position, n === 1 || n === 2 ? 4 : 0]));
    expect(log.read(appended[1]!.position).flags).toBe(1 | entryFlags.erased);
  });

  it("passes over entries that are erased already, and tombstones, and then touches nothing", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const appended = [addAppend(opened.log, 0), addAppend(opened.log, 1, { flags: entryFlags.tombstone })];
    await commit(opened);
    expect(await opened.log.erase(positionsOf(appended), nextTurn)).toMatchObject({ entries: 1, segments: 1 });
    const steps = disk.trace.length;
    const again = await opened.log.erase(positionsOf(appended), nextTurn);
    expect(again).toEqual({ entries: 0, bytes: 0, segments: 0 });
    expect(await opened.log.erase([], nextTurn)).toEqual({ entries: 0, bytes: 0, segments: 0 });
    expect(disk.trace.length).toBe(steps);
    expectErased(disk, appended, [appended[0]!]);
  });

  it("works on entries longer than one write, and on records of megabytes without reading them", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const appended = [addAppend(opened.log, 0, { payloadBytes: 3 << 20 })];
    for (let n = 1; n < 400; n++) appended.push(addAppend(opened.log, n, { payloadBytes: n === 7 ? 200_000 : 40 }));
    await commit(opened);
    opened.log.close();
    let readBytes = 0;
    const counting = changedDisk(disk, {
      open(file, mode) {
        const handle = disk.open(file, mode);
        return {
          ...handle,
          read(into, at) {
            readBytes += into.length;
            return handle.read(into, at);
          },
        };
      },
    });
    const { log } = openLog(counting);
    readBytes = 0;
    await log.erase([appended[300]!.position], nextTurn);
    expect(readBytes).toBeLessThan(20_000);
    await log.erase([appended[0]!.position, appended[7]!.position], nextTurn);
    expectErased(disk, appended, [appended[0]!, appended[7]!, appended[300]!]);
  });

  it("hops through each segment once, whatever the number of entries", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, new Array(400).fill(2), { segmentBytes: 40_000 });
    let reads = 0;
    const counting = changedDisk(disk, {
      open(file, mode) {
        const handle = disk.open(file, mode);
        return {
          ...handle,
          read(into, at) {
            if (into.length === 16 << 10) reads++;
            return handle.read(into, at);
          },
        };
      },
    });
    const { log } = openLog(counting, { eraseJournalBytes: 2000 });
    const windows = log.segments.reduce((sum, { length }) => sum + Math.ceil(length / ((16 << 10) - 24)) + 1, 0);
    await log.erase(positionsOf(appended), nextTurn);
    expect(reads).toBeLessThanOrEqual(windows);
    expectErased(disk, appended, appended);
  });

  it("never writes a byte of a payload into the journal", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [9, 9], { segmentBytes: 500 });
    const journals: Buffer[] = [];
    const { log } = openLog(disk, {
      eraseJournalBytes: 300,
      crashPoint: (name) => {
        if (name === "erase:journal-written") journals.push(fileBytes(disk, journalName));
      },
    });
    await log.erase(positionsOf(appended), nextTurn);
    expect(journals.length).toBeGreaterThan(4);
    for (const journal of journals) expect(journal.includes("SECRET")).toBe(false);
  });
});

describe("erasing while the log goes on", () => {
  it("P2: appends go on in every pause, also into the segment that is being overwritten and into new ones", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { segmentBytes: 3000, eraseJournalBytes: 400, clock: hurriedClock() });
    const { log } = opened;
    const appended: Appended[] = [];
    for (let group = 0; group < 12; group++) {
      for (let i = 0; i < 4; i++) appended.push(addAppend(log, appended.length));
      await commit(opened);
    }
    const before = appended.slice();
    const erased = before.filter((_, n) => n % 2 === 0 || n > 40);
    let groupsMeanwhile = 0;
    const onDurable = log.onDurable;
    log.onDurable = (group) => {
      groupsMeanwhile++;
      onDurable(group);
      log.flush();
    };
    await log.erase(positionsOf(erased), async () => {
      appended.push(addAppend(log, appended.length));
      log.flush();
      await nextTurn();
    });
    while (log.inFlight) await nextTurn();
    expect(groupsMeanwhile).toBeGreaterThan(10);
    expect(opened.failures).toEqual([]);
    log.flush();
    while (log.inFlight) await nextTurn();
    expectErased(disk, appended, erased);
    disk.crash("nothing");
    expect(openLog(disk, { knownEnd: log.durableEnd }).replayed.length).toBe(appended.length);
  });

  it("P2: a group that is on its way when the erasure begins is reported as ever", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const appended = [addAppend(opened.log, 0), addAppend(opened.log, 1)];
    await commit(opened);
    appended.push(addAppend(opened.log, 2));
    disk.holdSyncs();
    opened.log.flush();
    const erasing = opened.log.erase([appended[0]!.position], nextTurn);
    await nextTurn();
    expect(disk.syncsWaiting).toBe(2);
    disk.releaseSyncs();
    await erasing;
    expect(opened.durable.length).toBe(2);
    expectErased(disk, appended, [appended[0]!]);
  });

  it("gives others their turn after each slice, and not before", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [50, 50]);
    const { log } = openLog(disk, { clock: hurriedClock() });
    let turns = 0;
    await log.erase(positionsOf(appended.slice(0, 50)), async () => void turns++);
    expect(turns).toBeGreaterThanOrEqual(100);
    const calm = openLog(disk);
    await calm.log.erase(positionsOf(appended), noTurn);
    expectErased(disk, appended, appended);
  });

  it("takes one erasure after the other, in the order in which they were asked for", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [6, 6]);
    const { log } = openLog(disk, { clock: hurriedClock(), eraseJournalBytes: 300 });
    const results = await Promise.all([
      log.erase(positionsOf(appended.slice(0, 8)), nextTurn),
      log.erase(positionsOf(appended.slice(4, 12)), nextTurn),
      log.erase(positionsOf(appended), nextTurn),
    ]);
    expect(results.map(({ entries }) => entries)).toEqual([8, 4, 0]);
    expectErased(disk, appended, appended);
  });

  it("leaves the journal behind empty, and the next start takes it away", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [3]);
    const { log } = openLog(disk);
    await log.erase(positionsOf(appended), nextTurn);
    expect(fileBytes(disk, journalName).length).toBe(0);
    log.close();
    openLog(disk);
    expect(disk.list(folder)).toEqual([segmentName(0)]);
  });

  it("syncs names once, and no thread waits for a sync after that", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [3]);
    let blocking: string[] = [];
    const { log } = openLog(
      changedDisk(disk, {
        open(file, mode) {
          const handle = disk.open(file, mode);
          const syncNow = () => {
            blocking.push(file);
            handle.syncNow();
          };
          return { ...handle, syncNow };
        },
        syncFolder(name) {
          blocking.push("folder");
          disk.syncFolder(name);
        },
      }),
    );
    blocking = [];
    for (const { position } of appended) await log.erase([position], nextTurn);
    expect(blocking).toEqual(["folder"]);
  });
});

describe("P5: what cannot be erased", () => {
  it("positions that are not durable, or not ascending, are refused before anything is touched", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const appended = [addAppend(opened.log, 0), addAppend(opened.log, 1)];
    await commit(opened);
    const filling = addAppend(opened.log, 2);
    const { log } = opened;
    for (const positions of [
      [filling.position],
      [log.durableEnd],
      [88, 2 ** 47],
      Float64Array.of(88, log.durableEnd),
    ]) {
      await expect(log.erase(positions, nextTurn)).rejects.toThrow("log/erase-durable-only");
    }
    for (const positions of [positionsOf(appended).reverse(), [88, 88], [-1]]) {
      await expect(log.erase(positions, nextTurn)).rejects.toThrow("log/erase-ascending");
    }
    expectErased(disk, appended, []);
    await log.erase(positionsOf(appended), nextTurn);
  });

  it("a position where no entry begins is told as damage, and nothing is changed", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [2, 1, 2], { segmentBytes: 400 });
    const { log } = openLog(disk);
    const starts = new Set(positionsOf(appended));
    const steps = disk.trace.length;
    for (let position = 0; position < log.durableEnd; position++) {
      if (starts.has(position)) continue;
      const error = { code: "LOG_DAMAGED", facts: { file: expect.any(String), offset: expect.any(Number) } };
      await expect(log.erase([position], nextTurn)).rejects.toMatchObject(error);
    }
    expect(disk.trace.length).toBe(steps);
    expect(log.failed).toBe(false);
  });

  it("an entry with any bit flipped is told as damage, and nothing is changed", async () => {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [3]);
    const { log } = openLog(disk);
    const { position, bytes } = appended[1]!;
    for (let bit = 0; bit < bytes.length * 8; bit += 5) {
      const offset = position + (bit >> 3);
      disk.flipBit(first, offset, bit & 7);
      const before = disk.readFile(first);
      const error = { code: "LOG_DAMAGED", facts: { file: first, offset: position } };
      await expect(log.erase([position], nextTurn)).rejects.toMatchObject(error);
      expect(disk.readFile(first)).toEqual(before);
      disk.flipBit(first, offset, bit & 7);
    }
    await log.erase([position], nextTurn);
    expectErased(disk, appended, [appended[1]!]);
  });

  it("an entry whose body is no append is told as damage, though its checksum holds", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const { bytes, at } = opened.log.reserve(20);
    bytes.fill(0xff, at, at + 20);
    const header = { flags: 0, firstSeq: 1, time: 1, fingerprint: 0, session: 0, call: 0, eventCount: 1 };
    const position = opened.log.add({ ...header, payloadsOffset: 0 }, 20);
    await commit(opened);
    await expect(opened.log.erase([position], nextTurn)).rejects.toMatchObject({
      code: "LOG_DAMAGED",
      facts: { file: first, offset: position },
    });
  });

  it("damage elsewhere in the record of an erased entry stays damage, wherever it is", async () => {
    const whole = new SimulatedDisk();
    const appended = await writeAppends(whole, [1, 5, 1]);
    const erased = [appended[2]!, appended[4]!];
    const { log } = openLog(whole);
    const start = appended[1]!.position - 24;
    const end = appended[6]!.position - 24;
    log.close();
    for (let offset = start; offset < end; offset += 3) {
      if (erased.some(({ position, bytes }) => offset >= position && offset < position + bytes.length)) continue;
      const disk = whole.copy();
      const opened = openLog(disk);
      disk.flipBit(first, offset, offset % 8);
      const outcome = await outcomeOf(opened.log.erase(positionsOf(erased), nextTurn));
      opened.log.close();
      const facts = { file: first, offset: start, problem: expect.any(String) };
      // Where the header makes no sense any more the entries are not found; else they go, and the damage stays.
      if (outcome.thrown !== undefined) expect(outcome.thrown).toMatchObject({ code: "LOG_DAMAGED" });
      else expect(offset).not.toBeOneOf([start, start + 9, start + 18]);
      expect(() => readAll(disk), `offset ${offset}`).toThrow(expect.objectContaining({ code: "LOG_DAMAGED", facts }));
      expect(() => openLog(disk)).toThrow(expect.objectContaining({ code: "LOG_DAMAGED", facts }));
      disk.flipBit(first, offset, offset % 8);
      expectErased(disk, appended, outcome.thrown === undefined ? erased : []);
    }
  });
});

describe("a disk that fails during an erasure", () => {
  async function severalBatches() {
    const disk = new SimulatedDisk();
    const appended = await writeAppends(disk, [4, 6, 5], { segmentBytes: 900 });
    return { disk, appended, erased: appended.filter((_, n) => n % 3 !== 1) };
  }

  it("full before the journal is written: DISK_FULL, the log goes on, and the same can be asked for again", async () => {
    for (let room = 0; room < 900; room += 37) {
      const { disk, appended, erased } = await severalBatches();
      const opened = openLog(disk, { eraseJournalBytes: 300 });
      disk.setFreeBytes(room);
      const outcome = await outcomeOf(opened.log.erase(positionsOf(erased), nextTurn));
      if (outcome.thrown !== undefined) {
        expect(outcome.thrown).toMatchObject({ code: "DISK_FULL", facts: { shard: 3, path: folder } });
        expect(disk.list(folder)).not.toContain(journalName);
      } else expect(room).toBeGreaterThan(300);
      expect([opened.log.failed, opened.failures]).toEqual([false, []]);
      entriesByHand(disk);
      disk.setFreeBytes(1 << 20);
      appended.push(addAppend(opened.log, appended.length));
      await commit(opened);
      await opened.log.erase(positionsOf(erased), nextTurn);
      expectErased(disk, appended, erased);
      opened.log.close();
      expect(openLog(disk).replayed.length).toBe(appended.length);
    }
  });

  it("failing at any step: a typed error, the log stops, and once it is opened again the same can be asked for", async () => {
    for (const code of ["EIO", "ENOSPC"]) {
      let steps = 1;
      for (let failsAt = 1; failsAt <= steps; failsAt++) {
        const { disk, appended, erased } = await severalBatches();
        steps = 0;
        let armed = false;
        let failed = false;
        const failing = steppingDisk(disk, (what, writePart) => {
          if (!armed || ++steps !== failsAt) return;
          failed = true;
          if (what === "sync") disk.failNextSync(code);
          else {
            if (what === "write") writePart(0.5);
            throw Object.assign(new Error(`${what} failed`), { code });
          }
        });
        const opened = openLog(failing, { eraseJournalBytes: 300 });
        armed = true;
        const { thrown } = await outcomeOf(opened.log.erase(positionsOf(erased), nextTurn));
        armed = false;
        expect(failed).toBe(thrown !== undefined);
        if (!failed) break;
        steps = Number.POSITIVE_INFINITY;
        const expected = { code: code === "EIO" ? "SHARD_STOPPED" : "DISK_FULL" };
        expect(thrown).toMatchObject(expected);
        if (code === "EIO") expect(opened.failures).toMatchObject([expected]);
        if (opened.log.failed) {
          await expect(opened.log.erase(positionsOf(erased), nextTurn)).rejects.toMatchObject(expected);
        }
        opened.log.close();
        disk.dropCleanPages();
        const again = openLog(disk, { eraseJournalBytes: 300, knownEnd: opened.log.durableEnd });
        entriesByHand(disk);
        await again.log.erase(positionsOf(erased), nextTurn);
        expectErased(disk, appended, erased);
        disk.crash("nothing");
        expectErased(disk, appended, erased);
      }
      expect(steps).toBeGreaterThan(20);
    }
  });

  it("P2: while a group is on its way: the group is not reported, and the log fails when its sync has returned", async () => {
    const { disk, appended, erased } = await severalBatches();
    const opened = openLog(disk);
    disk.holdSyncs();
    const erasing = outcomeOf(opened.log.erase(positionsOf(erased), nextTurn));
    await nextTurn();
    disk.returnNextSync();
    disk.failNextSync();
    await nextTurn();
    // It is whole on the disk in the end; only nobody may be told so.
    appended.push(addAppend(opened.log, appended.length));
    opened.log.flush();
    disk.returnNextSync();
    expect((await erasing).thrown).toMatchObject({ code: "SHARD_STOPPED", cause: { code: "EIO" } });
    expect([opened.log.inFlight, opened.log.failed, opened.failures.length]).toEqual([true, false, 0]);
    addAppend(opened.log, 100);
    await expect(opened.log.erase([], nextTurn)).rejects.toMatchObject({ code: "SHARD_STOPPED" });
    disk.returnNextSync();
    expect([opened.log.inFlight, opened.log.failed, opened.failures.length]).toEqual([false, true, 1]);
    expect(opened.durable).toEqual([]);
    opened.log.close();
    disk.crash("nothing");
    openLog(disk, { knownEnd: opened.log.durableEnd });
    expectErased(disk, appended, erased);
  });

  it("reading an entry: told as damage at its place, and the log goes on", async () => {
    const { disk, appended } = await severalBatches();
    let fails = false;
    const failing = changedDisk(disk, {
      open(file, mode) {
        const handle = disk.open(file, mode);
        return {
          ...handle,
          read(into, at) {
            if (fails) throw Object.assign(new Error("EIO: cannot read"), { code: "EIO" });
            return handle.read(into, at);
          },
        };
      },
    });
    const { log } = openLog(failing);
    fails = true;
    const facts = { file: first, offset: appended[1]!.position, problem: expect.stringContaining("EIO: cannot read") };
    await expect(log.erase([appended[1]!.position], nextTurn)).rejects.toMatchObject({ code: "LOG_DAMAGED", facts });
    fails = false;
    await log.erase([appended[1]!.position], nextTurn);
    expectErased(disk, appended, [appended[1]!]);
  });
});

describe("closing during an erasure", () => {
  it("or any other end of it leaves no file open", async () => {
    let open = 0;
    const counted = (disk: Disk) =>
      changedDisk(disk, {
        open(file, mode) {
          const handle = disk.open(file, mode);
          open++;
          const close = () => {
            open--;
            handle.close();
          };
          return { ...handle, close };
        },
      });
    for (const end of ["finished", "closed", "full", "failed"] as const) {
      const disk = new SimulatedDisk();
      const appended = await writeAppends(disk, [5, 5], { segmentBytes: 600 });
      const { log } = openLog(counted(disk), { clock: hurriedClock(), eraseJournalBytes: 500 });
      if (end === "full") disk.setFreeBytes(100);
      let turns = 0;
      const outcome = await outcomeOf(
        log.erase(positionsOf(appended), async () => {
          if (++turns !== 15) return;
          if (end === "closed") log.close();
          if (end === "failed") disk.failNextWrite();
        }),
      );
      expect(outcome.thrown === undefined).toBe(end === "finished");
      if (end !== "closed") log.close();
      expect(open, end).toBe(0);
    }
  });

  it("ends it in any of its pauses, and the next opening finishes the batch that was begun", async () => {
    for (let pauses = 0; pauses < 12; pauses++) {
      const disk = new SimulatedDisk();
      const appended = await writeAppends(disk, [5, 5], { segmentBytes: 600 });
      const { log } = openLog(disk, { clock: hurriedClock(), eraseJournalBytes: 500 });
      let left = pauses;
      const erasing = log.erase(positionsOf(appended), async () => {
        if (left-- === 0) log.close();
      });
      await expect(erasing).rejects.toMatchObject({ code: "CLOSED", facts: { what: "the log of shard 3" } });
      const again = openLog(disk);
      entriesByHand(disk);
      await again.log.erase(positionsOf(appended), nextTurn);
      expectErased(disk, appended, appended);
      await expect(log.erase([], nextTurn)).rejects.toMatchObject({ code: "CLOSED" });
    }
  });
});
