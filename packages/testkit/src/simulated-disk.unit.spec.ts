// The simulated disk: the contract that all disks keep, and each fault that it can show. What the log makes of these
// faults is tested in event-log.
import type { DiskFile } from "@heddle/event-log/internal";
import { describe, expect, it } from "vitest";
import { diskContract } from "../../../test/contract/disk-contract.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const folder = "/data";
const file = "/data/a.log";

describe("simulated disk: as any disk", () => {
  diskContract(() => ({ disk: new SimulatedDisk(), folder: "/data/new" }));
});

function newFile(seed = 1) {
  const disk = new SimulatedDisk({ seed });
  disk.makeFolder(folder);
  const opened = disk.open(file, "create");
  disk.syncFolder(folder);
  const write = (value: number, at: number, length = 1) =>
    opened.write(new Uint8Array(length).fill(value), 0, length, at);
  return { disk, opened, write, bytes: () => [...disk.readFile(file)] };
}

describe("simulated disk: crash", () => {
  it("leaves what was synced", () => {
    for (let seed = 0; seed < 50; seed++) {
      const { disk, opened, write, bytes } = newFile(seed);
      write(1, 0, 2000);
      opened.syncNow();
      write(2, 2000, 3000);
      disk.crash();
      expect(bytes().slice(0, 2000)).toEqual(new Array(2000).fill(1));
      expect(
        bytes()
          .slice(2000)
          .every((byte) => byte === 2 || byte === 0),
      ).toBe(true);
    }
  });

  it("leaves nothing, all, or any subset of the sectors that were not synced, as the seed chooses", () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 400; seed++) {
      const { disk, opened, write, bytes } = newFile(seed);
      write(1, 0, 4 * 512);
      opened.syncNow();
      write(2, 0, 4 * 512);
      disk.crash();
      const after = bytes();
      expect(after.every((byte, i) => byte === after[i - (i % 512)])).toBe(true);
      seen.add([0, 1, 2, 3].map((sector) => after[sector * 512]).join(""));
    }
    expect(seen.size).toBe(16);
  });

  it("leaves of a sector that was written more than once one of its states, and no mixture", () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const { disk, write, bytes } = newFile(seed);
      write(1, 0, 100);
      write(2, 50, 100);
      disk.crash();
      seen.add(`${bytes()[0] ?? "-"}${bytes()[50] ?? "-"}${bytes()[149] ?? "-"}`);
    }
    // Not there, only zeros, one write of the two, both.
    expect([...seen].sort()).toEqual(["---", "000", "11-", "110", "122"]);
  });

  it("leaves a new or removed name in doubt until the folder was synced", () => {
    const created = new Set<number>();
    const removed = new Set<number>();
    for (let seed = 0; seed < 50; seed++) {
      const disk = new SimulatedDisk({ seed });
      disk.makeFolder(folder);
      disk.open(file, "create").syncNow();
      disk.crash();
      created.add(disk.list(folder).length);
      disk.writeFile(file, new Uint8Array(3));
      disk.remove(file);
      disk.crash();
      removed.add(disk.list(folder).length);
      disk.writeFile(file, new Uint8Array(3));
      disk.remove(file);
      disk.syncFolder(folder);
      disk.crash();
      expect(disk.list(folder)).toEqual([]);
    }
    expect([created, removed]).toEqual([new Set([0, 1]), new Set([0, 1])]);
  });

  it("leaves nothing or everything when told so", () => {
    for (const survival of ["nothing", "everything"] as const) {
      const { disk, write, bytes } = newFile();
      write(1, 0, 5000);
      disk.crash(survival);
      expect(bytes().length).toBe(survival === "nothing" ? 0 : 5000);
    }
  });

  it("makes files that were open useless, and syncs under way never return", async () => {
    const { disk, opened, write } = newFile();
    write(1, 0);
    let returned = false;
    opened.sync(() => {
      returned = true;
    });
    disk.crash();
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(returned).toBe(false);
    expect(() => write(2, 0)).toThrow("the process that opened /data/a.log is gone");
    expect(() => opened.read(new Uint8Array(1), 0)).toThrow();
  });
});

describe("simulated disk: killed process", () => {
  it("keeps the page cache, which a later power cut still takes", () => {
    const { disk, write, bytes } = newFile();
    write(1, 0);
    disk.killProcess();
    expect(bytes()).toEqual([1]);
    disk.crash("nothing");
    expect(bytes()).toEqual([]);
  });
});

describe("simulated disk: write-through", () => {
  const through = (opened: DiskFile, value: number, at: number) => {
    const ends: (string | undefined | null)[] = [];
    opened.writeThrough(Uint8Array.of(value), 0, 1, at, (error) => {
      ends.push(error && (error as NodeJS.ErrnoException).code);
    });
    return ends;
  };

  it("is durable when it has returned, and nothing else is that was written and not synced", () => {
    const { disk, opened, write, bytes } = newFile();
    disk.holdSyncs();
    write(1, 0);
    const ends = through(opened, 2, 1);
    write(3, 2);
    expect([bytes(), ends]).toEqual([[1, 2, 3], []]);
    disk.returnNextSync();
    expect(ends).toEqual([null]);
    disk.crash("nothing");
    expect(bytes()).toEqual([0, 2]);
  });

  it("is durable with the cuts before it", () => {
    const { disk, opened, write, bytes } = newFile();
    write(1, 0, 4);
    opened.syncNow();
    opened.truncate(1);
    disk.holdSyncs();
    through(opened, 2, 2);
    disk.returnNextSync();
    disk.crash("nothing");
    expect(bytes()).toEqual([1, 0, 2]);
  });

  it("fails as a write or as a sync does, in a later turn", () => {
    const { disk, opened, bytes } = newFile();
    disk.holdSyncs();
    disk.failNextWrite("ENOSPC");
    const notWritten = through(opened, 1, 0);
    disk.failNextSync("EIO");
    const notSynced = through(opened, 2, 1);
    expect([notWritten, notSynced]).toEqual([[], []]);
    disk.returnNextSync();
    disk.returnNextSync();
    expect([notWritten, notSynced]).toEqual([["ENOSPC"], ["EIO"]]);
    expect(bytes()).toEqual([0, 2]);
    disk.crash("everything");
    expect(bytes()).toEqual([]);
  });
});

describe("simulated disk: sync", () => {
  it("covers what was written before it began, not what came while it was held", () => {
    const { disk, opened, write, bytes } = newFile();
    disk.holdSyncs();
    write(1, 0);
    const results: unknown[] = [];
    opened.sync((error) => results.push(error));
    write(2, 1);
    expect(results).toEqual([]);
    expect(disk.returnNextSync()).toBe(true);
    expect(results).toEqual([null]);
    expect(disk.returnNextSync()).toBe(false);
    disk.crash("nothing");
    expect(bytes()).toEqual([1]);
  });

  it("is not done while it is held: a crash may still take the data", () => {
    const { disk, opened, write, bytes } = newFile();
    disk.holdSyncs();
    write(1, 0);
    opened.sync(() => {});
    disk.crash("nothing");
    expect(bytes()).toEqual([]);
  });

  it("returns held syncs in order once they are let go", async () => {
    const { disk, opened } = newFile();
    disk.holdSyncs();
    const order: number[] = [];
    const last = new Promise<void>((resolve) => {
      opened.sync(() => order.push(1));
      opened.sync(() => {
        order.push(2);
        resolve();
      });
    });
    expect(disk.syncsWaiting).toBe(2);
    disk.releaseSyncs();
    await last;
    expect(order).toEqual([1, 2]);
  });

  it("tells a failure once and takes the data for clean: the next sync succeeds and saves nothing", async () => {
    const { disk, opened, write, bytes } = newFile();
    write(1, 0);
    opened.syncNow();
    write(2, 0, 3);
    disk.failNextSync();
    const first = await new Promise<Error | null>((resolve) => opened.sync(resolve));
    const second = await new Promise<Error | null>((resolve) => opened.sync(resolve));
    expect([first, second]).toEqual([expect.objectContaining({ code: "EIO" }), null]);
    expect(bytes()).toEqual([2, 2, 2]);
    disk.crash("everything");
    expect(bytes()).toEqual([1]);
  });

  it("throws the same failure where the caller waits for it", () => {
    const { disk, opened, write, bytes } = newFile();
    write(1, 0);
    disk.failNextSync("ENOSPC");
    expect(() => opened.syncNow()).toThrow(expect.objectContaining({ code: "ENOSPC" }));
    opened.syncNow();
    disk.crash("everything");
    expect(bytes()).toEqual([]);
  });

  it("leaves pages of a failed sync readable until the cache drops them", () => {
    const { disk, opened, write, bytes } = newFile();
    write(1, 0);
    opened.syncNow();
    write(2, 0, 2);
    disk.failNextSync();
    expect(() => opened.syncNow()).toThrow();
    write(3, 2);
    disk.dropCleanPages();
    expect(bytes()).toEqual([1, 0, 3]);
  });
});

describe("simulated disk: full", () => {
  it("cuts short the write that does not fit, and takes it again when there is room", () => {
    const { disk, opened, write, bytes } = newFile();
    write(1, 0, 4);
    disk.setFreeBytes(3);
    expect(disk.freeBytes(folder)).toBe(3);
    expect(() => write(2, 2, 9)).toThrow(expect.objectContaining({ code: "ENOSPC" }));
    expect(bytes()).toEqual([1, 1, 2, 2, 2, 2, 2]);
    expect(() => write(3, 0, 7)).not.toThrow();
    opened.truncate(4);
    expect(disk.freeBytes(folder)).toBe(3);
    disk.setFreeBytes(100);
    write(2, 4, 9);
    expect(bytes().length).toBe(13);
  });
});

describe("simulated disk: damage", () => {
  it("flips exactly one bit, for good", () => {
    const { disk, opened, write, bytes } = newFile();
    write(0b1010, 0, 3);
    disk.flipBit(file, 1, 1);
    expect(bytes()).toEqual([0b1010, 0b1000, 0b1010]);
    opened.syncNow();
    disk.crash();
    expect(bytes()).toEqual([0b1010, 0b1000, 0b1010]);
  });

  it("cuts a file, for good", () => {
    const { disk, write, bytes } = newFile();
    write(1, 0, 3);
    disk.cutFile(file, 1);
    disk.crash();
    expect(bytes()).toEqual([1]);
  });

  it("fails one write when told so, which writes nothing", () => {
    const { disk, write, bytes } = newFile();
    disk.failNextWrite();
    expect(() => write(1, 0)).toThrow(expect.objectContaining({ code: "EIO" }));
    expect(bytes()).toEqual([]);
    write(2, 0);
    expect(bytes()).toEqual([2]);
  });
});

describe("simulated disk: seen from outside", () => {
  it("counts writes and syncs and tells their order", async () => {
    const { disk, opened, write } = newFile();
    write(1, 0, 3);
    await new Promise((resolve) => opened.sync(resolve));
    opened.truncate(1);
    disk.remove(file);
    expect(disk.counters).toEqual({ writes: 1, writtenBytes: 3, syncs: 1, folderSyncs: 1 });
    expect(disk.trace).toEqual([
      "create a.log",
      "sync folder data",
      "write a.log 0+3",
      "sync a.log",
      "synced a.log",
      "truncate a.log 1",
      "remove a.log",
    ]);
  });

  it("does the same again under the same seed", () => {
    const run = (seed: number) => {
      const { disk, write, bytes } = newFile(seed);
      for (let i = 0; i < 20; i++) write(i, i * 300, 400);
      disk.crash();
      return { bytes: bytes(), trace: disk.trace };
    };
    expect(run(5)).toEqual(run(5));
    expect(run(5).bytes).not.toEqual(run(6).bytes);
  });

  it("copies to a second disk that goes its own way", () => {
    const { disk, write, bytes } = newFile();
    write(1, 0);
    const copied = disk.copy();
    copied.flipBit(file, 0, 7);
    expect([bytes(), [...copied.readFile(file)]]).toEqual([[1], [129]]);
  });
});
