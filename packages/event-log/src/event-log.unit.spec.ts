// The log while it runs: when a group counts as durable, what a failure does, where groups go, reading single entries.
// Method: the simulated disk, with syncs that return when the test says so. Recovery is tested in recovery.unit.spec.ts,
// everything together under random schedules in event-log.model.unit.spec.ts.
import { InvariantViolation } from "@heddle/kernel/internal";
import { SimulatedDisk } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import type { DurableGroup } from "./event-log.ts";
import { recordHeaderBytes, segmentHeaderBytes } from "./layout.ts";
import {
  add,
  commit,
  entriesOf,
  folder,
  openLog,
  readAll,
  writeGroups,
  writtenAs,
} from "./log-under-test.spec-support.ts";

const first = `${folder}/0000000000000000.log`;

function openHeld(options: Parameters<typeof openLog>[1] = {}) {
  const disk = new SimulatedDisk();
  const opened = openLog(disk, options);
  disk.holdSyncs();
  return { disk, ...opened };
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("P2, L1: acknowledged means durable", () => {
  it("reports a group durable only after its sync has returned", () => {
    const { disk, log, durable } = openHeld();
    add(log, 0);
    add(log, 1);
    log.flush();
    expect([durable.length, log.durableEnd, log.inFlight, disk.syncsWaiting]).toEqual([0, 0, true, 1]);
    disk.returnNextSync();
    const bytes = disk.readFile(first).length - segmentHeaderBytes;
    const record = disk.readFile(first).subarray(segmentHeaderBytes);
    const { memory } = durable[0]!;
    const end = segmentHeaderBytes + bytes;
    expect(durable).toEqual([{ end, entries: 2, events: 3, bytes, record, memory, tookUs: 0 }]);
    expect([log.durableEnd, log.inFlight]).toEqual([segmentHeaderBytes + bytes, false]);
  });

  it("lends the bytes of the group that became durable, also after the next one was sent from within the report", () => {
    const { disk, log } = openHeld();
    const lent: Uint8Array[] = [];
    log.onDurable = ({ record }) => {
      log.flush();
      lent.push(record.slice());
    };
    for (let n = 0; n < 5; n++) {
      add(log, n, 50 + 500 * n);
      log.flush();
      add(log, 100 + n, 70);
      disk.returnNextSync();
      disk.returnNextSync();
    }
    expect(lent.length).toBe(10);
    expect(Buffer.concat(lent)).toEqual(Buffer.from(disk.readFile(first).subarray(segmentHeaderBytes)));
  });

  it("leaves the bytes of a durable group alone until it is given back, and then uses their memory again", () => {
    const { disk, log } = openHeld();
    const lent: DurableGroup[] = [];
    log.onDurable = (group) => lent.push(group);
    const go = (n: number) => {
      add(log, n, 100 + n);
      log.flush();
      disk.returnNextSync();
    };
    for (let n = 0; n < 5; n++) go(n);
    const written = Buffer.from(disk.readFile(first).subarray(segmentHeaderBytes));
    expect(Buffer.concat(lent.map(({ record }) => record))).toEqual(written);
    const memories = new Set(lent.map(({ memory }) => memory));
    expect(memories.size).toBe(5);
    for (const group of lent.splice(0)) log.giveBack(group);
    for (let n = 5; n < 9; n++) go(n);
    // One had been taken for the group to come before any was given back.
    expect(lent.filter(({ memory }) => memories.has(memory)).length).toBe(3);
  });

  it("reports nothing however long the sync is held, and what is not reported may vanish", async () => {
    const { disk, log, durable } = openHeld();
    add(log, 0);
    log.flush();
    for (let turn = 0; turn < 10; turn++) await nextTurn();
    expect(durable).toEqual([]);
    disk.crash("nothing");
    expect(readAll(disk).entries).toEqual([]);
  });

  it("keeps what was reported through a power cut that takes everything unsynced", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const written = add(opened.log, 0);
    await commit(opened);
    disk.crash("nothing");
    expect(openLog(disk).replayed).toEqual([written]);
  });

  it("writes a group first, then syncs it, then reports it", () => {
    const { disk, log } = openHeld();
    log.onDurable = () => disk.trace.push("reported");
    add(log, 0);
    log.flush();
    disk.returnNextSync();
    const name = "0000000000000000.log";
    expect(disk.trace).toEqual([
      `create ${name}`,
      `write ${name} 0+64`,
      `sync ${name}`,
      `synced ${name}`,
      "sync folder shard-3",
      `write ${name} 64+96`,
      `sync ${name}`,
      `synced ${name}`,
      "reported",
    ]);
  });

  it("makes the names of a new log's folders durable before anything is reported", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { folder: "/a/b/c" });
    add(opened.log, 0);
    await commit(opened);
    disk.crash("nothing");
    expect(readAll(disk, "/a/b/c").records).toBe(1);
  });

  it("measures the time from the write to the return of the sync", () => {
    let now = 100;
    const { disk, log, durable } = openHeld({ clock: { now: () => 5, monotonic: () => now } });
    add(log, 0);
    log.flush();
    now = 100.25;
    disk.returnNextSync();
    expect(durable[0]?.tookUs).toBe(250);
  });
});

describe("P2: mode os", () => {
  it("does not sync groups, reports them in a later turn, and says which mode it is", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { durability: "os" });
    expect(opened.log.durability).toBe("os");
    add(opened.log, 0);
    await commit(opened);
    const { syncs } = disk.counters;
    add(opened.log, 1);
    opened.log.flush();
    expect(opened.durable.length).toBe(1);
    await nextTurn();
    expect(opened.durable.length).toBe(2);
    expect(disk.counters.syncs).toBe(syncs);
  });

  it("loses nothing when only the process dies", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[20], [30], [40]], { durability: "os", segmentBytes: 200 });
    disk.killProcess();
    expect(openLog(disk, { knownEnd: groups.at(-1)!.end }).replayed).toEqual(entriesOf(groups));
  });

  it("makes a segment durable before it begins the next, so that a power cut leaves no hole", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[20], [30], [40]], { durability: "os", segmentBytes: 1 });
    disk.crash("nothing");
    expect(openLog(disk).replayed).toEqual(entriesOf(groups.slice(0, 2)));
  });
});

describe("L2: commit groups", () => {
  it("fills the next group while one is under way, and never has two under way", () => {
    const { disk, log, durable } = openHeld();
    add(log, 0);
    log.flush();
    add(log, 1);
    add(log, 2);
    const before = disk.counters.writes;
    log.flush();
    log.flush();
    expect([disk.syncsWaiting, disk.counters.writes, log.fillingEntries]).toEqual([1, before, 2]);
    disk.returnNextSync();
    expect([durable.length, disk.syncsWaiting]).toEqual([1, 0]);
    log.flush();
    expect([disk.syncsWaiting, log.fillingEntries]).toEqual([1, 0]);
    disk.returnNextSync();
    expect(durable.map((group) => group.entries)).toEqual([1, 2]);
  });

  it("takes one write and one sync for a group, however many entries it holds", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    add(opened.log, 0);
    await commit(opened);
    const before = { ...disk.counters };
    for (let n = 1; n <= 1000; n++) add(opened.log, n);
    await commit(opened);
    expect(disk.counters.writes - before.writes).toBe(1);
    expect(disk.counters.syncs - before.syncs).toBe(1);
    expect(disk.counters.folderSyncs).toBe(before.folderSyncs);
  });

  it("may be flushed from within the report of the group before", () => {
    const { disk, log, durable } = openHeld();
    log.onDurable = (group) => {
      durable.push(group);
      log.flush();
    };
    add(log, 0);
    log.flush();
    add(log, 1);
    disk.returnNextSync();
    expect(disk.syncsWaiting).toBe(1);
    disk.returnNextSync();
    expect(durable.length).toBe(2);
  });

  it("sends no empty group", () => {
    const { disk, log } = openHeld();
    log.flush();
    expect([log.inFlight, log.fillingBytes, disk.list(folder)]).toEqual([false, 0, []]);
  });

  it("tells before a group is written where each of its entries will lie", async () => {
    const disk = new SimulatedDisk();
    const written: unknown[] = [];
    const { log } = openLog(disk, { segmentBytes: 300 });
    disk.holdSyncs();
    for (let n = 0; n < 20; n++) {
      written.push(add(log, n, 10 + n));
      if (n % 3 === 0) log.flush();
      written.push(add(log, 100 + n, 10 + n));
      disk.returnNextSync();
    }
    log.flush();
    disk.returnNextSync();
    log.flush();
    disk.returnNextSync();
    expect([log.inFlight, log.fillingEntries]).toEqual([false, 0]);
    expect(readAll(disk).entries).toEqual(written);
  });

  it("grows for entries of any size, and gives up a reservation that was not used", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    opened.log.reserve(1 << 20);
    const small = add(opened.log, 0, 1);
    opened.log.reserve(100);
    const large = add(opened.log, 1, 300_000);
    await commit(opened);
    expect(readAll(disk).entries).toEqual([small, large]);
  });

  it("refuses a body that is longer than its room, and a room beyond all bounds", () => {
    const { log } = openHeld();
    const header = add(log, 0);
    expect(() => log.add(header, 1 << 20)).toThrow(InvariantViolation);
    expect(() => log.reserve(2 ** 30)).toThrow(InvariantViolation);
  });

  it("says how many bytes and entries the open group has", () => {
    const { log } = openHeld();
    expect([log.fillingBytes, log.fillingEntries]).toEqual([0, 0]);
    add(log, 0, 20);
    add(log, 1, 30);
    expect([log.fillingBytes, log.fillingEntries]).toEqual([recordHeaderBytes + 48 + 20 + 48 + 30, 2]);
  });
});

describe("L3: a failed sync", () => {
  function failSync(code?: string) {
    const held = openHeld();
    const reported = add(held.log, 0);
    held.log.flush();
    held.disk.returnNextSync();
    const lost = add(held.log, 1);
    held.disk.failNextSync(code);
    held.log.flush();
    add(held.log, 2);
    held.disk.returnNextSync();
    return { ...held, reported, lost };
  }

  it("is reported once, with its cause, and nothing of the group counts as durable", () => {
    const { log, durable, failures, disk } = failSync();
    expect(durable.length).toBe(1);
    expect(failures.length).toBe(1);
    expect(failures[0]).toMatchObject({
      code: "SHARD_STOPPED",
      facts: { shard: 3, reason: `the log could not be written: EIO: syncing ${first} failed` },
      cause: { code: "EIO" },
    });
    expect([log.failed, log.inFlight, log.durableEnd]).toEqual([true, false, durable[0]!.end]);
    expect(disk.syncsWaiting).toBe(0);
  });

  it("is never tried again: later flushes write nothing, sync nothing, report nothing", async () => {
    const { log, durable, failures, disk } = failSync();
    const before = { ...disk.counters };
    log.flush();
    log.flush();
    disk.returnNextSync();
    await nextTurn();
    expect(disk.counters).toEqual(before);
    expect([durable.length, failures.length]).toEqual([1, 1]);
  });

  it("lets nothing more in", () => {
    const { log } = failSync();
    expect(() => add(log, 3)).toThrow("L3/no-add-after-failure");
  });

  it("leaves durable entries readable, so that reads go on", () => {
    const { log, reported, lost } = failSync();
    expect(writtenAs(log.read(reported.position))).toEqual(reported);
    expect(() => log.read(lost.position)).toThrow("log/read-durable-only");
  });

  it("P5: leaves after a power cut exactly the groups that were reported durable", () => {
    const { disk, reported, durable } = failSync();
    disk.crash();
    const opened = openLog(disk, { knownEnd: durable[0]!.end });
    expect(opened.replayed).toEqual([reported]);
  });

  it("P5: what a recovery found in the page cache only is durable once the log is open", () => {
    for (const dies of [true, false]) {
      const { disk, log, reported, lost } = failSync();
      if (dies) disk.killProcess();
      else log.close();
      const opened = openLog(disk, { knownEnd: log.durableEnd });
      expect(opened.replayed).toEqual([reported, lost]);
      disk.crash("nothing");
      expect(openLog(disk, { knownEnd: opened.log.durableEnd }).replayed).toEqual([reported, lost]);
    }
  });

  it("counts as a full disk when that is the reason, because some disks only notice then", () => {
    for (const code of ["ENOSPC", "EDQUOT"]) {
      expect(failSync(code).failures[0]).toMatchObject({ code: "DISK_FULL", facts: { shard: 3, path: folder } });
    }
  });

  it("of a new segment's header stops the log just so", () => {
    const { disk, log, durable, failures } = openHeld();
    add(log, 0);
    disk.failNextSync();
    log.flush();
    expect([failures.length, durable.length, log.failed]).toEqual([1, 0, true]);
    log.close();
    const opened = openLog(disk);
    disk.crash("nothing");
    expect(openLog(disk, { knownEnd: opened.log.durableEnd }).replayed).toEqual([]);
  });
});

describe("L3: a failed write", () => {
  it("stops the log like a failed sync", () => {
    const { disk, log, failures } = openHeld();
    add(log, 0);
    log.flush();
    disk.returnNextSync();
    disk.failNextWrite();
    add(log, 1);
    log.flush();
    disk.returnNextSync();
    expect(failures).toMatchObject([{ code: "SHARD_STOPPED" }]);
    expect([log.failed, log.inFlight, disk.syncsWaiting]).toEqual([true, false, 0]);
    expect(() => add(log, 2)).toThrow("L3/no-add-after-failure");
  });
});

describe("full disk", () => {
  it("P5: stops the log in the middle of a group, and leaves only whole groups once it is opened again", async () => {
    for (let room = 0; room < 200; room++) {
      const disk = new SimulatedDisk();
      const opened = openLog(disk);
      const kept = add(opened.log, 0);
      await commit(opened);
      const size = disk.readFile(first).length;
      disk.setFreeBytes(room);
      const unsure = add(opened.log, 1);
      await commit(opened);
      if (room < 96) {
        expect(opened.failures).toMatchObject([
          { code: "DISK_FULL", facts: { shard: 3, path: folder }, retryable: true },
        ]);
        expect(disk.readFile(first).length).toBe(size + room);
        expect(writtenAs(opened.log.read(kept.position))).toEqual(kept);
      } else expect(opened.failures).toEqual([]);
      opened.log.close();
      disk.setFreeBytes(1000);
      const again = openLog(disk, { knownEnd: opened.log.durableEnd });
      expect(again.replayed).toEqual(room < 96 ? [kept] : [kept, unsure]);
      const next = add(again.log, 2);
      await commit(again);
      expect(readAll(disk).entries).toEqual([...again.replayed, next]);
    }
  });

  it("stops the log where a new segment does not fit, and it can be opened again without room", async () => {
    for (const room of [0, 10, 63, 64, 100]) {
      const disk = new SimulatedDisk();
      const opened = openLog(disk, { segmentBytes: 1 });
      const kept = add(opened.log, 0);
      await commit(opened);
      disk.setFreeBytes(room);
      add(opened.log, 1);
      await commit(opened);
      expect(opened.failures).toMatchObject([{ code: "DISK_FULL" }]);
      opened.log.close();
      const again = openLog(disk, { segmentBytes: 1, knownEnd: opened.log.durableEnd });
      expect(again.replayed).toEqual([kept]);
      disk.setFreeBytes(1000);
      const next = add(again.log, 2);
      await commit(again);
      expect(readAll(disk).entries).toEqual([kept, next]);
    }
  });
});

describe("segments", () => {
  it("begin where the one before ends, and take no further group once they are long enough", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { segmentBytes: 300 });
    for (let n = 0; n < 12; n++) {
      add(opened.log, n);
      await commit(opened);
    }
    const { segments } = opened.log;
    expect(segments.length).toBe(4);
    let end = 0;
    for (const segment of segments) {
      expect(segment).toMatchObject({ base: end, shard: 3, length: disk.readFile(segment.file).length });
      expect(segment.file).toBe(`${folder}/${String(end).padStart(16, "0")}.log`);
      // Three groups of 96 bytes behind a header of 64.
      expect(segment.length).toBe(64 + 3 * 96);
      end += segment.length;
    }
    expect(opened.log.durableEnd).toBe(end);
  });

  it("have each a salt of their own", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { segmentBytes: 1 });
    for (let n = 0; n < 5; n++) {
      add(opened.log, n);
      await commit(opened);
    }
    expect(new Set(opened.log.segments.map((segment) => segment.salt)).size).toBe(5);
  });

  it("are durable in name and header before the first group goes into them", async () => {
    const disk = new SimulatedDisk();
    await writeGroups(disk, [[20], [20]], { segmentBytes: 1 });
    const second = "0000000000000160.log";
    expect(disk.trace.slice(disk.trace.indexOf(`create ${second}`))).toEqual([
      `create ${second}`,
      `write ${second} 0+64`,
      `sync ${second}`,
      `synced ${second}`,
      "sync folder shard-3",
      `write ${second} 64+96`,
      `sync ${second}`,
      `synced ${second}`,
    ]);
  });

  it("hold one group whole, however long it is", async () => {
    const disk = new SimulatedDisk();
    const groups = await writeGroups(disk, [[5000], [10], [5000]], { segmentBytes: 100 });
    expect(disk.list(folder).length).toBe(3);
    expect(readAll(disk).entries).toEqual(entriesOf(groups));
  });
});

describe("reading one entry", () => {
  const bodies = [1, 20, 400, 463, 464, 465, 512, 513, 5000, 100_000];

  it("brings any durable entry, short or long, in any segment", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { segmentBytes: 1000 });
    const written = [];
    for (const [n, bodyBytes] of bodies.entries()) {
      written.push(add(opened.log, n, bodyBytes), add(opened.log, 100 + n, 7));
      await commit(opened);
    }
    expect(opened.log.segments.length).toBeGreaterThan(3);
    for (const entry of written.toReversed()) expect(writtenAs(opened.log.read(entry.position))).toEqual(entry);
  });

  it("goes on over more segments than are kept open", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk, { segmentBytes: 1 });
    const written = [];
    for (let n = 0; n < 80; n++) {
      written.push(add(opened.log, n));
      await commit(opened);
    }
    for (let round = 0; round < 2; round++) {
      for (const entry of written) expect(writtenAs(opened.log.read(entry.position))).toEqual(entry);
    }
  });

  it("gives bytes that belong to the caller", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    const written = add(opened.log, 0);
    await commit(opened);
    const view = opened.log.read(written.position);
    view.bytes.fill(0);
    expect(writtenAs(opened.log.read(written.position))).toEqual(written);
  });

  it("P5: refuses an entry with any one bit flipped, header or body, naming file and offset", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    add(opened.log, 0);
    const written = add(opened.log, 1, 30);
    add(opened.log, 2);
    await commit(opened);
    for (let offset = written.position; offset < written.position + 48 + 30; offset++) {
      for (let bit = 0; bit < 8; bit++) {
        disk.flipBit(first, offset, bit);
        expect(() => opened.log.read(written.position)).toThrow(
          expect.objectContaining({
            code: "LOG_DAMAGED",
            facts: expect.objectContaining({ file: first, offset: written.position }),
          }),
        );
        disk.flipBit(first, offset, bit);
      }
    }
    expect(writtenAs(opened.log.read(written.position))).toEqual(written);
  });

  it("refuses a place where no entry begins", async () => {
    const disk = new SimulatedDisk();
    const opened = openLog(disk);
    add(opened.log, 0, 600);
    await commit(opened);
    for (let position = 0; position < opened.log.durableEnd; position++) {
      if (position === segmentHeaderBytes + recordHeaderBytes) continue;
      expect(() => opened.log.read(position)).toThrow(expect.objectContaining({ code: "LOG_DAMAGED" }));
    }
  });

  it("refuses what is not durable yet, and anything beyond the end", () => {
    const { disk, log } = openHeld();
    const written = add(log, 0);
    log.flush();
    expect(() => log.read(written.position)).toThrow("log/read-durable-only");
    disk.returnNextSync();
    expect(writtenAs(log.read(written.position))).toEqual(written);
    expect(() => log.read(log.durableEnd)).toThrow("log/read-durable-only");
  });
});

describe("closing", () => {
  it("drops the group that still fills, and nothing goes in or out afterwards", () => {
    const { disk, log } = openHeld();
    const written = add(log, 0);
    log.flush();
    disk.returnNextSync();
    add(log, 1);
    log.close();
    const before = { ...disk.counters };
    log.flush();
    expect(disk.counters).toEqual(before);
    expect(() => add(log, 2)).toThrow("log/open");
    expect(() => log.read(written.position)).toThrow("log/open");
    expect(openLog(disk).replayed).toEqual([written]);
  });

  it("is refused while a group is under way", () => {
    const { disk, log } = openHeld();
    add(log, 0);
    log.flush();
    expect(() => log.close()).toThrow("log/close-idle");
    disk.returnNextSync();
    log.close();
  });
});
