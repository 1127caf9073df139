// MachineFacts: what a figure or a fault has to be read beside.
import fs from "node:fs";
import os from "node:os";

export interface MachineFacts {
  readonly node: string;
  /** Such as `linux 6.1.0 x64`. */
  readonly system: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Of the folder, such as `ext4`. */
  readonly fileSystem: string;
  readonly freeBytes: number;
}

/** Errors: whatever the system says of a folder that is not there. */
export function machineFacts(folder: string): MachineFacts {
  const { type, bavail, bsize } = fs.statfsSync(folder);
  return {
    node: process.version,
    system: `${os.platform()} ${os.release()} ${os.arch()}`,
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    fileSystem: fileSystems.get(type >>> 0) ?? `unknown (0x${(type >>> 0).toString(16)})`,
    freeBytes: bavail * bsize,
  };
}

/** File systems whose syncs do not mean what a log needs, with what that costs. */
export const weakFileSystems: ReadonlyMap<string, string> = new Map([
  ["tmpfs", "it is memory: nothing in it survives a restart of the machine"],
  ["ramfs", "it is memory: nothing in it survives a restart of the machine"],
  ["nfs", "LMDB's locks and maps are not safe on network file systems"],
  ["smb", "LMDB's locks and maps are not safe on network file systems"],
  ["9p", "LMDB's locks and maps are not safe on network file systems"],
]);

/** Linux's magic numbers (statfs(2)); other systems count differently and get `unknown`. */
const fileSystems: ReadonlyMap<number, string> = new Map([
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x2fc12fc1, "zfs"],
  [0xf2f52010, "f2fs"],
  [0x794c7630, "overlayfs"],
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
  [0x6969, "nfs"],
  [0xff534d42, "smb"],
  [0x01021997, "9p"],
  [0x65735546, "fuse"],
]);
