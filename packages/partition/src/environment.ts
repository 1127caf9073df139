// Environment: opens and makes the LMDB environment of a partition, and refuses one that cannot be right.
//
// E1. A folder without a whole environment counts as new. While one is made, a marker file says so; what a crash leaves
//     behind is thrown away at the next opening, because no checkpoint can have been in it.
// E2. Every commit is synced before it counts (`overlappingSync: false`). The overlapping mode would let commits become
//     durable out of step with what lmdb tells us: after a failed one `flushed` never settles, and after a power cut in
//     a container that keeps its boot id it may open unsynced pages. Checkpoints are rare and off-thread; they can wait.
// E3. What can be seen to be wrong is refused before LMDB sees it (tree-check.ts), because lmdb crashes the process when
//     an environment does not open.
// Not promised: to find every damage at the opening. LMDB keeps no checksums of its tree: a page of garbage in the middle
// shows when it is read, or crashes the process, or hides what it held. `checkPartitionFile` finds all of these.
import fs from "node:fs";
import path from "node:path";
import { open, type RootDatabase } from "lmdb";
import { asReadError, damaged, dataFile, type Place } from "./damage.ts";
import type { Table } from "./table.ts";
import { dataFileProblem, treeProblem } from "./tree-check.ts";
import { openValue, ValueWriter } from "./value-writer.ts";
import { writeNumber } from "./values.ts";

/** Version of everything in the environment: tables, keys, values. */
const formatVersion = 6;

/** The environment's files may grow to this. Address space, not disk or memory: a process has room for 400 such maps. */
export const defaultBytesMax = 256 * 2 ** 30;

const lockFile = "lock.mdb";
const unfinishedMarker = "unfinished";

export interface Tables {
  readonly root: RootDatabase<Uint8Array, Uint8Array>;
  readonly meta: Table;
  readonly heads: Table;
  readonly extents: Table;
  readonly snapshots: Table;
  readonly appendIds: Table;
  readonly idRuns: Table;
  readonly sessions: Table;
  readonly filter: Table;
  readonly catalogue: Table;
  readonly erasures: Table;
  readonly alarms: Table;
}

const tableCount = 11;
/** Bytes of a new environment, several times over. */
const roomToBegin = 256 * 1024;

/** Keys of the meta table. */
export const metaKeys = {
  format: Buffer.from("format"),
  covered: Buffer.from("covered"),
  cleanEnd: Buffer.from("clean-end"),
  scrubs: Buffer.from("scrubs"),
  transactions: Buffer.from("transactions"),
} as const;

interface Stats {
  readonly lastPageNumber: number;
  readonly root: { readonly pageSize: number };
}

/** Bytes that the environment's pages take, used or free. */
export function sizeOf(root: Tables["root"]): number {
  const stats = root.getStats() as Stats;
  return (stats.lastPageNumber + 1) * stats.root.pageSize;
}

/** Opens for writing; makes the environment if there is none. Errors: `PARTITION_DAMAGED`, `DATA_FOLDER_UNWRITABLE`. */
export function openForWriting(place: Place, bytesMax: number, crashPoint: (name: string) => void): Tables {
  try {
    fs.mkdirSync(place.folder, { recursive: true });
    const marker = path.join(place.folder, unfinishedMarker);
    if (fs.existsSync(marker)) removeFiles(place.folder);
    if (fs.existsSync(path.join(place.folder, dataFile))) return openExisting(place, bytesMax);

    makeMarker(marker);
    syncFolder(place.folder);
    const tables = openTables(place, { bytesMax });
    crashPoint("partition:making");
    tables.meta.putSync(metaKeys.format, writeNumber(new ValueWriter(), metaKeys.format, formatVersion));
    syncFolder(place.folder);
    crashPoint("partition:made");
    fs.unlinkSync(marker);
    syncFolder(place.folder);
    return tables;
  } catch (error) {
    throw asReadError(error, place);
  }
}

/** Opens for reading beside a process that may be writing. Errors: `PARTITION_DAMAGED`, also when there is nothing. */
export function openForReading(place: Place): Tables {
  try {
    const { folder } = place;
    if (fs.existsSync(path.join(folder, unfinishedMarker)) || !fs.existsSync(path.join(folder, dataFile))) {
      throw damaged(folder, "there is no partition in this folder");
    }
    return openExisting(place, undefined);
  } catch (error) {
    throw asReadError(error, place);
  }
}

/**
 * Deletes a partition, so that the next opening makes a new one and the log is read from its start. It must be closed
 * everywhere: LMDB goes on writing to files without a name.
 */
export function destroyPartition(folder: string): void {
  fs.rmSync(folder, { recursive: true, force: true });
}

/**
 * What is wrong with a partition's file; undefined when LMDB can read all of it, or when there is none. For a doctor:
 * LMDB aborts the process on some damage, and passes over other damage without a word. Reads about half a gigabyte a
 * second, and must not run beside a writer. What it does not look at are the values: reading them checks those.
 */
export function checkPartitionFile(folder: string): string | undefined {
  const file = path.join(folder, dataFile);
  return fs.existsSync(file) ? treeProblem(file) : undefined;
}

function openExisting(place: Place, bytesMax: number | undefined): Tables {
  const problem = dataFileProblem(path.join(place.folder, dataFile), bytesMax === undefined ? "r" : "r+");
  if (problem !== undefined) throw damaged(place.folder, `${dataFile}: ${problem}`);
  const lock = path.join(place.folder, lockFile);
  if (bytesMax !== undefined && fs.existsSync(lock)) fs.closeSync(fs.openSync(lock, "r+"));
  const tables = openTables(place, bytesMax === undefined ? "read-only" : { bytesMax });
  try {
    checkFormat(tables.meta, place.folder);
    return tables;
  } catch (error) {
    void tables.root.close();
    throw error;
  }
}

function openTables({ folder }: Place, access: { readonly bytesMax: number } | "read-only"): Tables {
  const readOnly = access === "read-only";
  const root = open<Uint8Array, Uint8Array>({
    path: folder,
    noSubdir: false, // lmdb takes a folder with a dot in its name for a file otherwise.
    encoding: "binary",
    keyEncoding: "binary",
    maxDbs: tableCount,
    overlappingSync: false,
    readOnly,
    // Whole from the start, with room for the transaction that goes beyond the bound: lmdb grows a map that is too
    // small by itself, while readers use it, and keeps the old ones.
    ...(readOnly ? {} : { mapSize: pageAligned(access.bytesMax + 4 * 2 ** 30) }),
    // LMDB's 126 reader slots are plenty: the shard takes one, a doctor or an audit beside it another.
    // The kernel's read-ahead stays on. It wastes reads once a partition is larger than memory, and it makes the first
    // minutes after a start on a cold cache many times faster, which more users will see.
  });
  try {
    const table = (name: string): Table => {
      const found = root.openDB<Uint8Array, Uint8Array>({ name, encoding: "binary", keyEncoding: "binary" });
      // Typed as always there; a reader gets undefined for one that nobody made.
      if ((found as Table | undefined) === undefined) throw damaged(folder, `the table ${name} is missing`);
      return found;
    };
    return {
      root,
      meta: table("meta"),
      heads: table("heads"),
      extents: table("extents"),
      snapshots: table("snapshots"),
      appendIds: table("append-ids"),
      idRuns: table("id-runs"),
      sessions: table("sessions"),
      filter: table("filter"),
      catalogue: table("catalogue"),
      erasures: table("erasures"),
      alarms: table("alarms"),
    };
  } catch (error) {
    void root.close();
    throw error;
  }
}

function checkFormat(meta: Table, folder: string): void {
  const stored = meta.get(metaKeys.format);
  if (stored === undefined) throw damaged(folder, "it holds no format version");
  const found = openValue(metaKeys.format, stored).unsigned();
  if (found !== formatVersion) {
    throw damaged(folder, `it has format version ${found}, this program knows ${formatVersion}`);
  }
}

// On a full disk LMDB would fail to open, and end the process with it: so the room is asked for first, in a way that can
// fail, and given back.
function makeMarker(marker: string): void {
  const fd = fs.openSync(marker, "w");
  try {
    fs.writeFileSync(fd, new Uint8Array(roomToBegin));
    fs.fsyncSync(fd);
    fs.ftruncateSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function removeFiles(folder: string): void {
  for (const file of [dataFile, lockFile]) fs.rmSync(path.join(folder, file), { force: true });
  syncFolder(folder);
  fs.rmSync(path.join(folder, unfinishedMarker));
}

function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function pageAligned(bytes: number): number {
  const page = 64 * 1024; // The largest page of any platform.
  return Math.ceil(bytes / page) * page;
}
