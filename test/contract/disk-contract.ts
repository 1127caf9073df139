// What every Disk owes the log. Each disk supplies only its making; see the callers for what it can do beyond.
import path from "node:path";
import type { Disk, DiskFile } from "@heddle/event-log/internal";
import { afterEach, beforeEach, expect, it } from "vitest";

/** A disk, and a folder on it that does not exist yet. */
export interface DiskUnderTest {
  readonly disk: Disk;
  readonly folder: string;
  readonly cleanUp?: () => void;
}

export function diskContract(makeDisk: () => DiskUnderTest): void {
  let made: DiskUnderTest;
  let disk: Disk;
  let folder: string;
  let file: string;
  const opened: DiskFile[] = [];

  beforeEach(() => {
    made = makeDisk();
    ({ disk, folder } = made);
    file = path.join(folder, "a.log");
    disk.makeFolder(folder);
  });
  afterEach(() => {
    for (const each of opened.splice(0)) each.close();
    made.cleanUp?.();
  });

  const open = (mode: "read" | "write" | "create", name = file): DiskFile => {
    const each = disk.open(name, mode);
    opened.push(each);
    return each;
  };
  const bytes = (...values: number[]) => Uint8Array.from(values);
  const contents = (of: DiskFile) => {
    const into = new Uint8Array(of.size());
    expect(of.read(into, 0)).toBe(into.length);
    return [...into];
  };

  it("makes a folder together with those above it, and leaves one that is there alone", () => {
    const deep = path.join(folder, "b", "c");
    disk.makeFolder(deep);
    open("create", path.join(deep, "x"));
    disk.makeFolder(deep);
    expect(disk.list(deep)).toEqual(["x"]);
  });

  it("lists the files of a folder, and only those that are there", () => {
    expect(disk.list(folder)).toEqual([]);
    open("create");
    open("create", path.join(folder, "b.log"));
    expect(disk.list(folder).sort()).toEqual(["a.log", "b.log"]);
    disk.remove(file);
    expect(disk.list(folder)).toEqual(["b.log"]);
  });

  it("refuses a folder or file that does not exist, by the code ENOENT", () => {
    const missing = path.join(folder, "missing");
    const enoent = expect.objectContaining({ code: "ENOENT" });
    expect(() => disk.list(missing)).toThrow(enoent);
    expect(() => disk.syncFolder(missing)).toThrow(enoent);
    expect(() => disk.remove(missing)).toThrow(enoent);
    expect(() => disk.open(missing, "read")).toThrow(enoent);
    expect(() => disk.open(missing, "write")).toThrow(enoent);
    expect(() => disk.open(path.join(missing, "x"), "create")).toThrow(enoent);
  });

  it("creates a file empty, and never over one that is there", () => {
    expect(open("create").size()).toBe(0);
    expect(() => disk.open(file, "create")).toThrow(expect.objectContaining({ code: "EEXIST" }));
  });

  it("writes the named range of the bytes at the named offset", () => {
    const writer = open("create");
    writer.write(bytes(9, 1, 2, 3, 9), 1, 4, 0);
    writer.write(bytes(7), 0, 1, 1);
    expect(contents(writer)).toEqual([1, 7, 3]);
  });

  it("does not keep the bytes that it was lent", () => {
    const writer = open("create");
    const lent = bytes(1, 2, 3);
    writer.write(lent, 0, 3, 0);
    lent.fill(0);
    expect(contents(writer)).toEqual([1, 2, 3]);
  });

  it("fills with zeros what was passed over", () => {
    const writer = open("create");
    writer.write(bytes(5), 0, 1, 4);
    expect(contents(writer)).toEqual([0, 0, 0, 0, 5]);
  });

  it("reads as much as there is and says how much that was", () => {
    const writer = open("create");
    writer.write(bytes(1, 2, 3), 0, 3, 0);
    const into = new Uint8Array(4).fill(8);
    expect(writer.read(into, 1)).toBe(2);
    expect([...into]).toEqual([2, 3, 8, 8]);
    expect(writer.read(into, 3)).toBe(0);
    expect(writer.read(into, 30)).toBe(0);
  });

  it("shows what one opening wrote to every other at once", () => {
    const writer = open("create");
    const reader = open("read");
    writer.write(bytes(1, 2), 0, 2, 0);
    expect(contents(reader)).toEqual([1, 2]);
    open("write").write(bytes(3), 0, 1, 2);
    expect(contents(reader)).toEqual([1, 2, 3]);
  });

  it("cuts a file, and what was cut off reads as zeros when the file grows again", () => {
    const writer = open("create");
    writer.write(bytes(1, 2, 3, 4), 0, 4, 0);
    writer.truncate(2);
    expect(contents(writer)).toEqual([1, 2]);
    writer.write(bytes(5), 0, 1, 3);
    expect(contents(writer)).toEqual([1, 2, 0, 5]);
  });

  it("refuses a write or a cut through an opening that only reads", () => {
    open("create").write(bytes(1), 0, 1, 0);
    const reader = open("read");
    expect(() => reader.write(bytes(2), 0, 1, 0)).toThrow();
    expect(() => reader.truncate(0)).toThrow();
    expect(contents(reader)).toEqual([1]);
  });

  it("keeps a removed file for those who have it open", () => {
    const writer = open("create");
    writer.write(bytes(1), 0, 1, 0);
    disk.remove(file);
    expect(contents(writer)).toEqual([1]);
  });

  it("calls back after a sync in a later turn, once, without an error", async () => {
    const writer = open("create");
    writer.write(bytes(1), 0, 1, 0);
    const calls: (Error | null)[] = [];
    const called = new Promise<void>((resolve) =>
      writer.sync((error) => {
        calls.push(error);
        resolve();
      }),
    );
    expect(calls).toEqual([]);
    await called;
    // A second call would come with the syncs that follow.
    await new Promise<void>((resolve) => writer.sync(() => resolve()));
    expect(calls).toEqual([null]);
  });

  it("writes the named range through, and calls back in a later turn, once, without an error", async () => {
    const writer = open("create");
    writer.write(bytes(1, 1), 0, 2, 0);
    const calls: (Error | null)[] = [];
    const through = (values: Uint8Array, from: number, to: number, at: number) =>
      new Promise<void>((resolve) =>
        writer.writeThrough(values, from, to, at, (error) => {
          calls.push(error);
          resolve();
        }),
      );
    const first = through(bytes(9, 2, 3, 9), 1, 3, 1);
    expect(calls).toEqual([]);
    await first;
    expect(contents(writer)).toEqual([1, 2, 3]);
    await through(bytes(4), 0, 1, 5);
    expect(contents(open("read"))).toEqual([1, 2, 3, 0, 0, 4]);
    expect(calls).toEqual([null, null]);
  });

  it("refuses to write through an opening that only reads", async () => {
    open("create").write(bytes(1), 0, 1, 0);
    const reader = open("read");
    const written = () =>
      new Promise<void>((resolve, reject) =>
        reader.writeThrough(bytes(2), 0, 1, 0, (error) => (error === null ? resolve() : reject(error))),
      );
    await expect((async () => written())()).rejects.toThrow();
    expect(contents(reader)).toEqual([1]);
  });

  it("syncs a file at once when asked to wait, and a folder", () => {
    const writer = open("create");
    writer.write(bytes(1), 0, 1, 0);
    writer.syncNow();
    disk.syncFolder(folder);
    expect(contents(writer)).toEqual([1]);
  });

  it("tells how many bytes are free", () => {
    expect(disk.freeBytes(folder)).toBeGreaterThan(0);
    expect(Number.isFinite(disk.freeBytes(folder))).toBe(true);
  });
}
