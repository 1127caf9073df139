// nodeDisk against the contract that all disks keep, on the machine's own file system.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { diskContract } from "../../../test/contract/disk-contract.ts";
import { nodeDisk } from "./disk.ts";

/** O_DSYNC, as Linux writes it in /proc. */
const dsync = 0o10000;

/** Flags of all descriptors that this process has of a file. */
function flagsOf(file: string): number[] {
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      if (fs.readlinkSync(`/proc/self/fd/${fd}`) !== file) return [];
      const [, flags] = /^flags:\s*([0-7]+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))!;
      return [Number.parseInt(flags!, 8)];
    } catch {
      return []; // The descriptor by which the folder was read.
    }
  });
}

describe("nodeDisk", () => {
  diskContract(() => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-disk-"));
    const cleanUp = () => fs.rmSync(root, { recursive: true });
    return { disk: nodeDisk, folder: path.join(root, "data"), cleanUp };
  });

  it("P2: writes through a descriptor that syncs each write, opened once, and closes it", async () => {
    const root = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "heddle-disk-"));
    const name = path.join(root, "a.log");
    const opened = nodeDisk.open(name, "create");
    const through = (at: number) =>
      new Promise<Error | null>((resolve) => opened.writeThrough(Uint8Array.of(1, 2), 0, 2, at, resolve));
    expect([await through(0), await through(2)]).toEqual([null, null]);
    // In no order: a number that was free again may be lower.
    expect(
      flagsOf(name)
        .map((flags) => (flags & dsync) !== 0)
        .sort(),
    ).toEqual([false, true]);
    opened.close();
    expect(flagsOf(name)).toEqual([]);
    fs.rmSync(root, { recursive: true });
  });
});
