// The log on the machine's own file system: the order of its calls, cuts at every byte, and several lives of one log.
// Everything that the machine cannot be made to do (torn sectors, failed syncs, power cuts) is tested on the simulated
// disk in recovery.unit.spec.ts and event-log.model.unit.spec.ts.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Disk, type DiskFile, nodeDisk } from "./disk.ts";
import { segmentHeaderBytes } from "./layout.ts";
import {
  add,
  changedDisk,
  commit,
  entriesOf,
  openLog,
  readAll,
  writeGroups,
  writtenAs,
} from "./log-under-test.spec-support.ts";

let folder: string;
beforeEach(() => {
  folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "heddle-log-")), "shard-3");
});
afterEach(() => fs.rmSync(path.dirname(folder), { recursive: true }));

/** nodeDisk, a list of the calls that went to it, and the files that are open now. */
function watchedDisk() {
  const calls: string[] = [];
  const openFiles = new Set<DiskFile>();
  const watchedFile = (file: DiskFile): DiskFile => ({
    write(bytes, from, to, at) {
      file.write(bytes, from, to, at);
      calls.push("write");
    },
    writeThrough(bytes, from, to, at, done) {
      calls.push("write-through begins");
      file.writeThrough(bytes, from, to, at, (error) => {
        calls.push("write-through returns");
        done(error);
      });
    },
    sync(done) {
      calls.push("sync begins");
      file.sync((error) => {
        calls.push("sync returns");
        done(error);
      });
    },
    syncNow() {
      file.syncNow();
      calls.push("synced");
    },
    read: (into, at) => file.read(into, at),
    size: () => file.size(),
    truncate: (length) => file.truncate(length),
    close() {
      file.close();
      openFiles.delete(file);
    },
  });
  const disk: Disk = {
    ...nodeDisk,
    open(name, mode) {
      const file = nodeDisk.open(name, mode);
      openFiles.add(file);
      return watchedFile(file);
    },
    syncFolder(name) {
      nodeDisk.syncFolder(name);
      calls.push("folder synced");
    },
  };
  return { disk, calls, openFiles };
}

describe("P2: real files", () => {
  it("a group is written, then synced, then reported; meanwhile the next one fills", async () => {
    const { disk, calls } = watchedDisk();
    const opened = openLog(disk, { folder });
    const report = opened.log.onDurable;
    opened.log.onDurable = (group) => {
      calls.push(`reported ${group.entries}`);
      report(group);
    };
    add(opened.log, 0);
    const durable = commit(opened);
    add(opened.log, 1);
    add(opened.log, 2);
    opened.log.flush();
    await durable;
    await commit(opened);
    opened.log.close();
    expect(calls).toEqual([
      ...["write", "synced", "folder synced"],
      ...["write-through begins", "write-through returns", "reported 1"],
      ...["write-through begins", "write-through returns", "reported 2"],
    ]);
  });

  it("mode os: a group is written, then reported, and no sync is asked for", async () => {
    const { disk, calls } = watchedDisk();
    const opened = openLog(disk, { folder, durability: "os" });
    add(opened.log, 0);
    await commit(opened);
    calls.length = 0;
    add(opened.log, 1);
    await commit(opened);
    expect(calls).toEqual(["write"]);
    opened.log.close();
  });
});

describe("P5: real files", () => {
  it("a log cut at every byte of its last two records opens as a prefix that ends where a record ended", async () => {
    const groups = await writeGroups(nodeDisk, [[400], [30, 40], [9], [50, 1]], { folder, segmentBytes: 450 });
    const files = fs.readdirSync(folder).sort();
    expect(files.length).toBe(2);
    const last = path.join(folder, files[1]!);
    const base = Number(files[1]!.slice(0, 16));
    const whole = fs.readFileSync(last);
    const end = groups.at(-1)!.end;
    for (let cut = groups.at(-3)!.end; cut <= end; cut++) {
      fs.writeFileSync(last, whole.subarray(0, cut - base));
      const kept = groups.filter((group) => group.end <= cut);
      const told = readAll(nodeDisk, folder);
      expect([told.entries, told.tail?.offset]).toEqual([
        entriesOf(kept),
        cut === kept.at(-1)!.end ? undefined : kept.at(-1)!.end - base,
      ]);
      if (cut < end) {
        expect(() => openLog(nodeDisk, { folder, knownEnd: end })).toThrow(
          expect.objectContaining({ code: "LOG_DAMAGED", facts: expect.objectContaining({ file: last }) }),
        );
        expect(fs.statSync(last).size).toBe(cut - base);
      }
      const { log, replayed } = openLog(nodeDisk, { folder });
      expect(replayed).toEqual(entriesOf(kept));
      expect(fs.statSync(last).size).toBe(kept.at(-1)!.end - base);
      log.close();
    }
  });

  it("a log lives many lives: each goes on where the one before ended, across segments", async () => {
    const written = [];
    for (let life = 0; life < 12; life++) {
      const opened = openLog(nodeDisk, {
        folder,
        segmentBytes: 2000,
        knownEnd: written.length === 0 ? 0 : segmentHeaderBytes,
      });
      expect(opened.replayed).toEqual(written);
      for (let n = 0; n < 3; n++) {
        written.push(add(opened.log, written.length, 1 + ((written.length * 137) % 1500)));
        await commit(opened);
      }
      for (const entry of written) expect(writtenAs(opened.log.read(entry.position))).toEqual(entry);
      opened.log.close();
    }
    expect(fs.readdirSync(folder).length).toBeGreaterThan(5);
  });

  it("files that the log opens are closed again, also when it refuses to open and when a segment cannot be made", async () => {
    const { disk, openFiles } = watchedDisk();
    await writeGroups(disk, [[100], [100]], { folder, segmentBytes: 1 });
    expect(openFiles.size).toBe(0);
    expect(() => openLog(disk, { folder, knownEnd: 10_000 })).toThrow();
    readAll(disk, folder);
    expect(openFiles.size).toBe(0);
    const noRoom = () => {
      throw Object.assign(new Error("no room"), { code: "ENOSPC" });
    };
    const opened = openLog(changedDisk(disk, { syncFolder: noRoom }), { folder, segmentBytes: 1 });
    add(opened.log, 9);
    await commit(opened);
    expect(opened.failures).toMatchObject([{ code: "DISK_FULL" }]);
    opened.log.close();
    expect(openFiles.size).toBe(0);
  });
});
