// Goal: a restore gives all, a moment, or one entity; says what was erased since; and writes over nothing.
import fs from "node:fs";
import path from "node:path";
import { type EntryView, entityOfEntry, entryFlags, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { isHeddleError } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { backUp } from "./back-up.ts";
import { logFolderOf } from "./data-facts.ts";
import { entityEvents } from "./entity-events.ts";
import { KeyStore } from "./key-store.ts";
import { restoreBackup, restoreShard } from "./restore.ts";
import { filesOf, logFilesOf, recordEndsOf, Source, type SourceOptions, scratchFolder } from "./source.spec-support.ts";

function rig(options: SourceOptions = {}) {
  const folder = scratchFolder();
  const source = new Source(path.join(folder, "data"), options);
  const backup = path.join(folder, "backup");
  const keys = path.join(folder, "keys.sqlite");
  return { folder, source, options: { data: source.data, backup, keys }, restored: path.join(folder, "restored") };
}

async function write(source: Source, groups: number): Promise<void> {
  for (let group = 0; group < groups; group++) {
    for (const name of ["a", "b", "c", "d"]) source.add(`account/${name}`, [{ n: group, text: `text of ${name}` }]);
    await source.flush();
  }
}

function entriesOf(data: string, shard = 0): EntryView[] {
  const log = new LogReader(nodeDisk, logFolderOf(data, shard));
  const entries: EntryView[] = [];
  log.scan(0, (entry) => entries.push({ ...entry, bytes: entry.bytes.slice() }));
  log.close();
  return entries;
}

/** One shard's log as one array of bytes: a position is an index in it. */
function logOf(data: string, shard: number): Buffer {
  const files = filesOf(logFolderOf(data, shard));
  return Buffer.concat(
    [...files.keys()]
      .filter((file) => file.endsWith(".log"))
      .sort()
      .map((file) => files.get(file)!),
  );
}

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
}

describe("restore to a moment", () => {
  it("by time: each shard up to the first record that holds anything later", async () => {
    const { folder, source, options } = rig({ shardCount: 2, segmentBytes: 700 });
    await write(source, 12);
    await backUp(options);
    source.close();
    const last = Math.max(...[0, 1].map((shard) => recordEndsOf(source.data, shard).at(-1)!.time));
    for (let time = 1_700_000_000_000; time <= last + 1; time += 3) {
      const data = path.join(folder, `restored-${time}`);
      const { positions } = await restoreBackup({ ...options, data, until: { time } });
      for (let shard = 0; shard < 2; shard++) {
        const ends = recordEndsOf(source.data, shard).filter((record) => record.time <= time);
        expect(positions[shard]).toBe(ends.at(-1)?.end ?? 0);
        expect(logOf(data, shard).equals(logOf(source.data, shard).subarray(0, positions[shard]!))).toBe(true);
      }
    }
  });

  it("by positions: those that an earlier run gave, out of the newest run", async () => {
    const { source, options, restored } = rig({ shardCount: 3 });
    await write(source, 5);
    const { positions } = await backUp(options);
    await write(source, 9);
    await backUp(options);
    source.close();
    expect((await restoreBackup({ ...options, data: restored, until: { positions } })).positions).toEqual(positions);
    for (let shard = 0; shard < 3; shard++) {
      expect(logOf(restored, shard).equals(logOf(source.data, shard).subarray(0, positions[shard]!))).toBe(true);
    }
  });

  it("is refused for positions where no record ended, and beyond the backup", async () => {
    const { source, options, restored } = rig();
    await write(source, 5);
    const { positions } = await backUp(options);
    source.close();
    for (const [position, problem] of [
      [positions[0]! - 8, `shard 0: no record ends at position ${positions[0]! - 8}`],
      [positions[0]! + 8, `shard 0 has no position ${positions[0]! + 8}: its log is there up to ${positions[0]}`],
      [-1, "shard 0 has no position -1"],
    ] as const) {
      const error = await errorOf(restoreBackup({ ...options, data: restored, until: { positions: [position] } }));
      expect(error).toMatchObject({ code: "BACKUP_REFUSED", facts: { problem: expect.stringContaining(problem) } });
    }
    expect(fs.readdirSync(path.dirname(restored)).filter((name) => name.startsWith("restored"))).toEqual([]);
  });
});

describe("P6: what was erased since", () => {
  it("stays erased, with a tombstone later than any it had; everything else is whole", async () => {
    const { source, options, restored } = rig({ segmentBytes: 900 });
    await write(source, 8);
    const { positions } = await backUp(options);
    const keys = KeyStore.open(options.keys, { create: false });
    const erasure = await source.erase("account/b");
    keys.erase([erasure]);
    keys.close();
    source.close();
    const now = erasure.tombstone.time - 5;
    const clock = { now: () => now, monotonic: () => 0 };
    expect(await restoreBackup({ ...options, data: restored, clock })).toMatchObject({ closed: 1, positions });
    expect(logOf(restored, 0).subarray(0, positions[0]).equals(logOf(source.data, 0).subarray(0, positions[0]))).toBe(
      true,
    );
    const added = entriesOf(restored).filter(({ position }) => position >= positions[0]!);
    expect(added).toMatchObject([
      { flags: entryFlags.tombstone, firstSeq: 9, eventCount: 1, time: erasure.tombstone.time + 1 },
    ]);
    expect(entityOfEntry(added[0]!)).toBe("account/b");
  });

  it("is not given back by a restore to a moment before its tombstone, nor by an old copy of the key store", async () => {
    const { folder, source, options, restored } = rig();
    await write(source, 4);
    const { positions } = await backUp(options);
    const copy = path.join(folder, "copy.sqlite");
    fs.copyFileSync(options.keys, copy);
    await source.erase("account/b");
    await backUp(options);
    source.close();
    expect(await restoreBackup({ ...options, data: restored, keys: copy, until: { positions } })).toMatchObject({
      closed: 1,
    });
    expect(logOf(restored, 0).includes("text of b")).toBe(false);
    expect(logOf(restored, 0).includes("text of a")).toBe(true);
  });

  it("begins a life of its own in the restored folder, which further backups keep", async () => {
    const { folder, source, options, restored } = rig();
    await write(source, 4);
    await backUp(options);
    const keys = KeyStore.open(options.keys, { create: false });
    keys.erase([await source.erase("account/b")]);
    // A second life in the source, erased as well: its sequences are those that the restored entity goes on with.
    await write(source, 4);
    keys.erase([await source.erase("account/b")]);
    keys.close();
    source.close();
    await restoreBackup({ ...options, data: restored });
    const again = new Source(restored);
    again.now = entriesOf(restored).at(-1)!.time;
    again.add("account/b", ["new life of b"]);
    await again.flush();
    again.close();
    const second = { ...options, data: restored, backup: path.join(folder, "backup-of-restored") };
    expect(await backUp(second)).toMatchObject({ leftOut: 0 });
    const twice = path.join(folder, "restored-twice");
    await restoreBackup({ ...second, data: twice });
    expect(logFilesOf(twice)).toEqual(logFilesOf(restored));
    expect(logOf(twice, 0).includes("new life of b")).toBe(true);
  });

  it("makes a restore fail when it happens while the restore runs", async () => {
    const { source, options, restored } = rig();
    await write(source, 10);
    await backUp(options);
    const keys = KeyStore.open(options.keys, { create: false });
    const erasure = await source.erase("account/b");
    source.close();
    const error = await errorOf(
      restoreBackup({ ...options, data: restored }, ({ doneBytes }) => {
        if (doneBytes > 0) keys.erase([erasure]);
      }),
    );
    keys.close();
    expect(error).toMatchObject({ code: "BACKUP_REFUSED" });
    expect(fs.existsSync(restored)).toBe(false);
  });
});

describe("restore of one entity", () => {
  it("yields its entries in order, as they stand in the log, up to a moment if asked", async () => {
    const { source, options } = rig({ shardCount: 2, segmentBytes: 600 });
    await write(source, 6);
    source.addRestored("account/c");
    await source.flush();
    await backUp(options);
    source.close();
    const expected = [0, 1]
      .flatMap((shard) => entriesOf(source.data, shard))
      .filter((entry) => entityOfEntry(entry) === "account/c");
    const bodyOf = ({ bytes, bodyFrom, bodyTo }: EntryView) =>
      Buffer.from(bytes.subarray(bodyFrom, bodyTo)).toString("hex");
    const shown = (entry: EntryView) => ({
      seq: entry.firstSeq,
      time: entry.time,
      flags: entry.flags,
      body: bodyOf(entry),
    });
    const given = [...entityEvents({ ...options, entity: "account/c" })].map(shown);
    expect(given).toEqual(expected.map(shown));
    expect(given.length).toBe(7);
    const until = { time: expected[2]!.time + 2 };
    expect([...entityEvents({ ...options, entity: "account/c", until })].map(({ firstSeq }) => firstSeq)).toEqual([
      1, 2, 3,
    ]);
    expect([...entityEvents({ ...options, entity: "account/nobody" })]).toEqual([]);
  });

  it("P6: yields erased entries as such, tombstone and next life after them", async () => {
    const { source, options } = rig();
    await write(source, 2);
    await backUp(options);
    const keys = KeyStore.open(options.keys, { create: false });
    keys.erase([await source.erase("account/c")]);
    keys.close();
    await write(source, 1);
    await backUp(options);
    source.close();
    const flags = [...entityEvents({ ...options, entity: "account/c" })].map((entry) => entry.flags);
    expect(flags).toEqual([entryFlags.erased, entryFlags.erased, entryFlags.tombstone, 0]);
  });

  it("P7: refuses what is no entity id, and a key store that does not know the entity", async () => {
    const { folder, source, options } = rig();
    source.add("account/a", [1]);
    await source.flush();
    await backUp(options);
    const old = path.join(folder, "old.sqlite");
    fs.copyFileSync(options.keys, old);
    source.add("account/late", [1]);
    await source.flush();
    await backUp(options);
    source.close();
    const codeOf = (keys: string, entity: string) => {
      try {
        return [...entityEvents({ ...options, keys, entity })].length;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(codeOf(options.keys, "late")).toBe("INVALID_ENTITY_ID");
    expect(codeOf(old, "account/late")).toBe("KEYS_UNAVAILABLE");
    expect(codeOf(old, "account/a")).toBe(1);
  });
});

describe("P7: a restore", () => {
  it("goes into a folder that is not there or empty, and touches no other", async () => {
    const { folder, source, options, restored } = rig();
    await write(source, 2);
    await backUp(options);
    source.close();
    const code = "DATA_FOLDER_UNWRITABLE";
    const below = path.join(options.keys, "restored");
    expect(await errorOf(restoreBackup({ ...options, data: below }))).toMatchObject({ code });
    fs.mkdirSync(restored);
    fs.writeFileSync(path.join(restored, "letter.txt"), "mine");
    expect(await errorOf(restoreBackup({ ...options, data: restored }))).toMatchObject({ code });
    expect(filesOf(restored).get("letter.txt")!.toString()).toBe("mine");
    fs.renameSync(restored, `${restored}.restoring`);
    expect(await errorOf(restoreBackup({ ...options, data: restored }))).toMatchObject({ code });
    expect(filesOf(`${restored}.restoring`).get("letter.txt")!.toString()).toBe("mine");
    fs.rmSync(`${restored}.restoring`, { recursive: true });
    fs.mkdirSync(restored);
    await restoreBackup({ ...options, data: restored });
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
    expect(fs.readdirSync(restored).sort()).toEqual(["heddle.json", "shards"]);
    expect(fs.readdirSync(folder)).not.toContain("restored.restoring");
  });

  it("makes a folder of the same context and shards with an identity of its own", async () => {
    const { source, options, restored } = rig({ shardCount: 2 });
    await write(source, 2);
    await backUp(options);
    source.close();
    await restoreBackup({ ...options, data: restored });
    const described = (data: string) => JSON.parse(fs.readFileSync(path.join(data, "heddle.json"), "utf8")) as object;
    expect(described(restored)).toMatchObject(described(source.data));
    expect(described(restored)).toHaveProperty("id");
  });

  it("says how many entities an old copy of the key store does not know, and leaves nothing", async () => {
    const { folder, source, options, restored } = rig();
    source.add("account/a", [1]);
    await source.flush();
    await backUp(options);
    const old = path.join(folder, "old.sqlite");
    fs.copyFileSync(options.keys, old);
    for (let i = 0; i < 5; i++) source.add(`account/late-${i}`, [1]);
    await source.flush();
    await backUp(options);
    source.close();
    const error = await errorOf(restoreBackup({ ...options, keys: old, data: restored }));
    if (!isHeddleError(error, "KEYS_UNAVAILABLE")) throw error;
    expect(error.facts.problem).toContain("for 5 entities of the backup");
    expect(fs.readdirSync(folder).filter((name) => name.startsWith("restored"))).toEqual([]);
  });

  it("can give its shards to others as plain data", async () => {
    const { source, options, restored } = rig({ shardCount: 2 });
    await write(source, 10);
    source.close();
    await backUp(options);
    await restoreBackup({
      ...options,
      data: restored,
      runTasks: (tasks, onBytes) => Promise.all(tasks.map((task) => restoreShard(structuredClone(task), onBytes))),
    });
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
  });
});
