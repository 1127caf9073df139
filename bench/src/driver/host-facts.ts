// What a figure depends on besides the code: the machine, its disk, its Node.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

export interface HostFacts {
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly platform: string;
  readonly node: string;
  readonly fileSystem: FileSystemFacts;
  /** Of the last minute, when the run began: others at work on the machine show here. */
  readonly loadAverage: number;
}

/** Of the folder that the data lies in. The folder's own name is left out: it says nothing to another reader. */
export interface FileSystemFacts {
  /** As the kernel calls it, such as ext4; unknown where it does not tell. */
  readonly type: string;
  readonly device: string;
  readonly freeBytes: number;
}

export function hostFacts(folder: string): HostFacts {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()}`,
    platform: `${os.platform()}-${os.arch()}`,
    node: process.version,
    fileSystem: fileSystemOf(folder),
    loadAverage: Number(os.loadavg()[0]!.toFixed(2)),
  };
}

function fileSystemOf(folder: string): FileSystemFacts {
  const { bavail, bsize } = fs.statfsSync(folder);
  const mount = findMount(fs.realpathSync(folder), readMounts());
  return { type: mount?.type ?? "unknown", device: mount?.device ?? "unknown", freeBytes: bavail * bsize };
}

export interface Mount {
  readonly device: string;
  readonly point: string;
  readonly type: string;
}

function readMounts(): string {
  try {
    return fs.readFileSync("/proc/mounts", "utf8");
  } catch {
    // Only Linux has it; elsewhere the type stays unknown.
    return "";
  }
}

/** The mount that holds a folder: the longest mount point that is above it; of equal ones the last, which hides the rest. */
export function findMount(folder: string, mounts: string): Mount | undefined {
  let found: Mount | undefined;
  for (const line of mounts.split("\n")) {
    const [device, rawPoint, type] = line.split(" ");
    if (device === undefined || rawPoint === undefined || type === undefined) continue;
    // The kernel writes spaces and the like as octal.
    const point = rawPoint.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const holds = folder === point || folder.startsWith(point.endsWith(path.sep) ? point : point + path.sep);
    if (holds && (found === undefined || point.length >= found.point.length)) found = { device, point, type };
  }
  return found;
}

/** A file system that lives in memory: a sync costs nothing there and keeps nothing. */
export function isInMemory({ type }: FileSystemFacts): boolean {
  return type === "tmpfs" || type === "ramfs";
}
