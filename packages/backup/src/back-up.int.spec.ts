// Goal: a run has the log up to a known position, copies only what is new, and refuses what it does not belong to.
// Restoring is tested in round-trip, restore and erasure; crashes in crash.
import fs from "node:fs";
import path from "node:path";
import { isHeddleError } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { type BackUpOptions, backUp, backUpShard } from "./back-up.ts";
import { readBackup } from "./backup-folder.ts";
import { logFolderOf } from "./data-facts.ts";
import { KeyStore } from "./key-store.ts";
import { runsIn } from "./manifest.ts";
import { readSegmentFile } from "./open-segment.ts";
import { restoreBackup } from "./restore.ts";
import { filesOf, filesWith, logFilesOf, Source, type SourceOptions, scratchFolder } from "./source.spec-support.ts";

interface Rig {
  readonly folder: string;
  readonly source: Source;
  readonly options: Pick<BackUpOptions, "data" | "backup" | "keys">;
  readonly restored: string;
}

function rig(options: SourceOptions = {}): Rig {
  const folder = scratchFolder();
  const source = new Source(path.join(folder, "data"), options);
  return {
    folder,
    source,
    options: { data: source.data, backup: path.join(folder, "backup"), keys: path.join(folder, "keys.sqlite") },
    restored: path.join(folder, "restored"),
  };
}

async function write(source: Source, groups: number, text = "planted-marker"): Promise<void> {
  for (let group = 0; group < groups; group++) {
    for (const name of ["a", "b", "c", "d", "e"]) source.add(`account/${name}`, [{ text: `${text} ${group}` }]);
    await source.flush();
  }
}

async function refusalOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (isHeddleError(error, "BACKUP_REFUSED") || isHeddleError(error, "KEYS_UNAVAILABLE")) return error.facts.problem;
  throw error ?? new Error("nothing was refused");
}

describe("P2: a run beside a writer", () => {
  it("has each shard up to the end of a record, and restores to what the log was there", async () => {
    const { source, options, restored } = rig({ shardCount: 3, segmentBytes: 5_000 });
    await write(source, 30);
    let writing = true;
    let groups = 0;
    const writer = (async () => {
      while (writing) {
        await write(source, 1, "written meanwhile");
        groups++;
      }
    })();
    const before = groups;
    const made = await backUp(options);
    const during = groups - before;
    writing = false;
    await writer;
    source.close();
    expect(during).toBeGreaterThan(0);
    await restoreBackup({ ...options, data: restored });
    const source_ = filesOf(source.data);
    for (const [file, bytes] of filesOf(restored)) {
      if (file.endsWith(".log")) expect(source_.get(file)!.subarray(0, bytes.length).equals(bytes), file).toBe(true);
    }
    for (let shard = 0; shard < 3; shard++) {
      const files = fs.readdirSync(logFolderOf(restored, shard)).sort();
      const last = files.at(-1)!;
      const end = Number(last.slice(0, 16)) + fs.statSync(path.join(logFolderOf(restored, shard), last)).size;
      expect(end).toBe(made.positions[shard]);
    }
  });

  it("leaves out what stands behind the last whole record, as a group that is being written does", async () => {
    const { source, options, restored } = rig();
    await write(source, 5);
    const whole = logFilesOf(source.data);
    const { positions } = source;
    source.close();
    const last = Object.keys(whole).sort().at(-1)!;
    fs.appendFileSync(path.join(source.data, last), Buffer.from("HREC and no more"));
    expect((await backUp(options)).positions).toEqual(positions);
    await restoreBackup({ ...options, data: restored });
    expect(logFilesOf(restored)).toEqual(whole);
  });

  it("refuses a log that is damaged, and leaves the backup as it was", async () => {
    const { source, options } = rig();
    await write(source, 3);
    await backUp(options);
    await write(source, 20);
    source.close();
    const file = path.join(source.data, Object.keys(logFilesOf(source.data)).sort().at(-2)!);
    const bytes = fs.readFileSync(file);
    bytes[700]! ^= 1;
    fs.writeFileSync(file, bytes);
    await expect(backUp(options)).rejects.toMatchObject({ code: "LOG_DAMAGED", facts: { file } });
    expect(readBackup(options.backup).run).toBe(1);
  });

  it("tells how far it is, in bytes of log", async () => {
    const { source, options } = rig();
    await write(source, 20);
    source.close();
    const told: number[] = [];
    const made = await backUp(options, ({ doneBytes, totalBytes }) => {
      expect(totalBytes).toBe(source.positions[0]);
      told.push(doneBytes);
    });
    expect(told[0]).toBe(0);
    expect(told.at(-1)).toBe(made.logBytes);
    expect(told).toEqual([...told].sort((a, b) => a - b));
  });

  it("can give its shards to others as plain data", async () => {
    const { source, options, restored } = rig({ shardCount: 2 });
    await write(source, 10);
    source.close();
    await backUp({
      ...options,
      runTasks: (tasks, onBytes) => Promise.all(tasks.map((task) => backUpShard(structuredClone(task), onBytes))),
    });
    await restoreBackup({ ...options, data: restored });
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
  });
});

describe("incremental runs", () => {
  it("copy the segments that are new and the one that grew, and no others", async () => {
    const { source, options, restored } = rig();
    await write(source, 20);
    const one = await backUp(options);
    const files = filesOf(options.backup);
    await write(source, 2);
    const two = await backUp(options);
    source.close();
    const segments = Object.keys(logFilesOf(source.data)).length;
    expect(one.filesWritten).toBeGreaterThan(4);
    const before = readBackup(options.backup, 1).shards[0]!.segments;
    const after = readBackup(options.backup, 2).shards[0]!.segments;
    expect(after.length).toBe(segments);
    const isKept = ({ base, length }: (typeof after)[0]) =>
      before.some((had) => had.base === base && had.length === length);
    const fresh = after.filter((segment) => !isKept(segment));
    expect(fresh.length).toBeLessThanOrEqual(segments - before.length + 1);
    expect(two.filesWritten).toBe(fresh.length);
    expect(two.logBytesRead).toBe(fresh.reduce((all, { length }) => all + length, 0));
    expect(after.slice(0, before.length - 1)).toEqual(before.slice(0, -1));
    for (const [file, bytes] of files)
      if (file.endsWith(".seg")) expect(filesOf(options.backup).get(file)).toEqual(bytes);
    await restoreBackup({ ...options, data: restored });
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
  });

  it("copy nothing when nothing was written, and are a run all the same", async () => {
    const { source, options } = rig();
    await write(source, 8);
    await backUp(options);
    const again = await backUp(options);
    source.close();
    expect(again).toMatchObject({ run: 2, filesWritten: 0, bytesWritten: 0, logBytesRead: 0 });
    expect(runsIn(options.backup)).toEqual([1, 2]);
  });

  it("keep as many runs as asked for, and no file that none of them needs", async () => {
    const { source, options, restored } = rig();
    for (let run = 0; run < 6; run++) {
      await write(source, 1);
      await backUp({ ...options, keepRuns: 2 });
    }
    source.close();
    expect(runsIn(options.backup)).toEqual([5, 6]);
    const named = runsIn(options.backup).flatMap((run) => readBackup(options.backup, run).shards[0]!.segments);
    const files = [...filesOf(options.backup).keys()].filter((file) => file.endsWith(".seg"));
    expect(files.length).toBe(new Set(named.map(({ base, run }) => `${base} ${run}`)).size);
    await restoreBackup({ ...options, data: restored, run: 5 });
    expect(Object.keys(logFilesOf(restored)).length).toBeGreaterThan(0);
  });

  it("know the life of an entity whose tombstone lies in a segment that is not read again", async () => {
    const { source, options, restored } = rig();
    await write(source, 3);
    await source.erase("account/a");
    await write(source, 20, "second life");
    await backUp(options);
    await write(source, 20, "second life");
    await backUp(options);
    source.close();
    expect(readBackup(options.backup).shards[0]!.tombstones).toMatchObject([{ entity: "account/a", seq: 4 }]);
    await restoreBackup({ ...options, data: restored });
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
  });
});

describe("P6: what a backup shows", () => {
  it("is no payload, metadata, id, event type or aggregate, in no file, at no time", async () => {
    const { source, options } = rig({ shardCount: 2, segmentBytes: 20_000 });
    const marker = "planted-marker";
    for (let group = 0; group < 10; group++) {
      source.add(`account/${group % 3}`, [{ text: marker.repeat(40), group }], {
        id: `id-${group}-${marker}`,
        metadata: { trace: marker },
      });
      await source.flush();
    }
    expect(filesWith(source.data, marker).length).toBe(2);
    await backUp(options, () => expect(filesWith(options.backup, marker)).toEqual([]));
    await write(source, 5);
    await backUp(options);
    source.close();
    for (const text of [marker, "Noted", "Account"]) {
      expect(filesWith(options.backup, text)).toEqual([]);
      // What is compressed would hide it.
      for (const { shard, segments } of readBackup(options.backup).shards) {
        for (const segment of segments) {
          const skeleton = Buffer.from(readSegmentFile(options.backup, shard, segment).skeleton());
          expect([skeleton.includes("account/"), skeleton.includes(text)]).toEqual([true, false]);
        }
      }
    }
  });
});

describe("P7: a run refuses", () => {
  it("a folder that is not empty and no backup, and one inside of the data folder", async () => {
    const { folder, source, options } = rig();
    await write(source, 1);
    source.close();
    const other = path.join(folder, "other");
    fs.mkdirSync(other);
    fs.writeFileSync(path.join(other, "letter.txt"), "mine");
    expect(await refusalOf(backUp({ ...options, backup: other }))).toBe("it is not empty, and it is no backup");
    expect(fs.readdirSync(other)).toEqual(["letter.txt"]);
    expect(await refusalOf(backUp({ ...options, backup: path.join(source.data, "deep", "backup") }))).toContain(
      "inside the data folder",
    );
    expect(fs.existsSync(path.join(source.data, "deep"))).toBe(false);
    await expect(backUp({ ...options, data: other })).rejects.toMatchObject({ code: "DATA_FOLDER_UNWRITABLE" });
  });

  it("the backup of another data folder, and of another log under the same name", async () => {
    const { folder, source, options } = rig();
    await write(source, 5);
    source.close();
    await backUp(options);
    const other = new Source(path.join(folder, "other"), { context: "shop" });
    await write(other, 5);
    other.close();
    expect(await refusalOf(backUp({ ...options, data: other.data }))).toBe(
      "it belongs to the data folder bank of 1700000000000, not to shop of 1700000000000",
    );
    const twin = new Source(path.join(folder, "twin"), { log: { random: { safeInteger: () => 4 } } });
    await write(twin, 5);
    twin.close();
    expect(await refusalOf(backUp({ ...options, data: twin.data }))).toBe(
      "the log of shard 0 is not the one that was backed up: segment 0 differs",
    );
    expect(readBackup(options.backup).run).toBe(1);
  });

  it("a log that ends before the backup's, and a restored folder, whose log is another from here on", async () => {
    const { source, options, restored } = rig();
    await write(source, 5);
    await backUp(options);
    source.close();
    await restoreBackup({ ...options, data: restored });
    expect(await refusalOf(backUp({ ...options, data: restored }))).toContain("it belongs to the data folder bank of");
    const last = Object.keys(logFilesOf(source.data)).sort().at(-1)!;
    fs.truncateSync(path.join(source.data, last), 64);
    expect(await refusalOf(backUp(options))).toContain("but the backup has it up to");
  });

  it("another key store than the one that the backup was made with, and none", async () => {
    const { folder, source, options } = rig();
    await write(source, 5);
    source.close();
    await backUp(options);
    const second = { ...options, backup: path.join(folder, "backup-2"), keys: path.join(folder, "other.sqlite") };
    expect(await refusalOf(backUp(second))).toBe("there is no such file");
    KeyStore.open(second.keys, { create: true }).close();
    expect(await refusalOf(backUp(second))).toContain("says that this data folder's keys are in");
    // As after the loss of a key store: a new one serves new backups, and no old one.
    fs.unlinkSync(path.join(source.data, "keystore.id"));
    await backUp(second);
    expect(await refusalOf(backUp({ ...options, keys: second.keys }))).toContain("the backup was made with");
    fs.renameSync(second.keys, path.join(folder, "gone"));
    expect(await refusalOf(backUp(second))).toBe("there is no such file");
    expect(fs.existsSync(second.keys)).toBe(false);
  });

  it("a folder that cannot be made or written", async () => {
    const { folder, source, options } = rig();
    await write(source, 1);
    source.close();
    const file = path.join(folder, "letter.txt");
    fs.writeFileSync(file, "mine");
    expect(await refusalOf(backUp({ ...options, backup: file }))).toContain("EEXIST");
    expect(await refusalOf(backUp({ ...options, backup: path.join(file, "backup") }))).toContain("ENOTDIR");
    fs.mkdirSync(path.join(options.backup, "lock"), { recursive: true });
    expect(await refusalOf(backUp(options))).toContain("unable to open");
  });

  it("a backup that another process is writing into", async () => {
    const { source, options } = rig();
    await write(source, 5);
    source.close();
    let second: Promise<string> | undefined;
    await backUp(options, () => {
      second ??= refusalOf(backUp(options));
    });
    expect(await second).toBe("another process is writing into it");
  });
});
