// DataFolder: what one node keeps on disk, and the lock that gives it to one process.
//
//   heddle.json               format, context, shard count: fixed when the folder is made
//   lock                      an SQLite file whose exclusive lock the running process holds
//   shards/0000/log           segments of the shard's event log: the truth
//   shards/0000/partition     its LMDB index: can be made anew from the log
//   projections/projections.sqlite  rows of its projections: can be made anew from the logs
//   readers/readers.sqlite    how far consumer groups and the publisher are, and what they still have to erase
//   keys/keys.sqlite          the keys of its backups, unless the operator keeps them elsewhere
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HeddleError } from "@heddle/kernel";

export const dataFormat = 2;

export interface DataFolderFacts {
  readonly format: number;
  readonly context: string;
  readonly shardCount: number;
  readonly createdMs: number;
}

export function logFolderOf(data: string, shard: number): string {
  return path.join(shardFolder(data, shard), "log");
}

export function partitionFolderOf(data: string, shard: number): string {
  return path.join(shardFolder(data, shard), "partition");
}

/** The key store, where nothing else is asked for. */
export function keysFileOf(data: string): string {
  return path.join(data, "keys", "keys.sqlite");
}

/** Rows of the projections that the node keeps itself. */
export function projectionsFileOf(data: string): string {
  return path.join(data, "projections", "projections.sqlite");
}

/** What readers over all entities keep. */
export function readersFileOf(data: string): string {
  return path.join(data, "readers", "readers.sqlite");
}

function shardFolder(data: string, shard: number): string {
  return path.join(data, "shards", String(shard).padStart(4, "0"));
}

/**
 * What a data folder says of itself; undefined when there is none yet.
 * Errors: `DATA_FOLDER_VERSION`, `DATA_FOLDER_UNWRITABLE` when it cannot be read or makes no sense.
 */
export function readDataFolder(data: string): DataFolderFacts | undefined {
  let text: string;
  try {
    text = fs.readFileSync(path.join(data, "heddle.json"), "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unusable(data, cause);
  }
  let facts: Partial<DataFolderFacts>;
  try {
    facts = JSON.parse(text) as Partial<DataFolderFacts>;
  } catch (cause) {
    throw new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message: "heddle.json is not JSON" }, { cause });
  }
  if (facts.format !== dataFormat) {
    throw new HeddleError("DATA_FOLDER_VERSION", { folder: data, found: Number(facts.format), supported: dataFormat });
  }
  if (!Number.isSafeInteger(facts.shardCount) || typeof facts.context !== "string") {
    throw new HeddleError("DATA_FOLDER_UNWRITABLE", {
      folder: data,
      message: "heddle.json lacks shardCount or context",
    });
  }
  return facts as DataFolderFacts;
}

export interface OpenDataFolder {
  readonly facts: DataFolderFacts;
  /** Gives the folder free. */
  release(): void;
}

/**
 * Takes a data folder for this process, making it first if it is not there.
 *
 * `wanted.shardCount` undefined: whatever the folder has, `defaultShardCount` for a new one.
 * Errors: `DATA_FOLDER_IN_USE`, `DATA_FOLDER_MISMATCH`, `DATA_FOLDER_VERSION`, `DATA_FOLDER_UNWRITABLE`.
 */
export function openDataFolder(
  data: string,
  wanted: { context: string; shardCount: number | undefined; defaultShardCount: number; nowMs: number },
): OpenDataFolder {
  try {
    fs.mkdirSync(data, { recursive: true });
    fs.accessSync(data, fs.constants.W_OK);
  } catch (cause) {
    throw unusable(data, cause);
  }
  const release = lock(data);
  try {
    const facts = readDataFolder(data) ?? make(data, wanted);
    const mismatch = (setting: string, found: string, asked: string) =>
      new HeddleError("DATA_FOLDER_MISMATCH", { folder: data, setting, found, wanted: asked });
    if (wanted.shardCount !== undefined && wanted.shardCount !== facts.shardCount) {
      throw mismatch("shard count", String(facts.shardCount), String(wanted.shardCount));
    }
    if (wanted.context !== facts.context) throw mismatch("context", facts.context, wanted.context);
    return { facts, release };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Takes the folder's lock without looking at what is in it. Errors: `DATA_FOLDER_IN_USE`, `DATA_FOLDER_UNWRITABLE`.
 *
 * The lock is SQLite's exclusive file lock: the kernel gives it up when the process dies, however it dies, and it holds
 * between containers that share a volume, which a process id in a file does not.
 */
export function lock(data: string): () => void {
  const file = path.join(data, "lock");
  let database: DatabaseSync;
  try {
    // A file that may not be written SQLite opens for reading only, and then locks nobody out. Not opened to find out:
    // closing it would drop the lock that this process may have on it already.
    if (fs.existsSync(file)) fs.accessSync(file, fs.constants.W_OK);
    database = new DatabaseSync(file);
  } catch (cause) {
    throw unusable(data, cause);
  }
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; BEGIN EXCLUSIVE;");
  } catch (cause) {
    database.close();
    if (/locked|busy/i.test((cause as Error).message))
      throw new HeddleError("DATA_FOLDER_IN_USE", { folder: data }, { cause });
    throw unusable(data, cause);
  }
  return () => database.close();
}

function make(
  data: string,
  wanted: { context: string; shardCount: number | undefined; defaultShardCount: number; nowMs: number },
) {
  const facts: DataFolderFacts = {
    format: dataFormat,
    context: wanted.context,
    shardCount: wanted.shardCount ?? wanted.defaultShardCount,
    createdMs: wanted.nowMs,
  };
  const file = path.join(data, "heddle.json");
  try {
    // Written beside and renamed, so that a crash leaves either no folder description or a whole one.
    const descriptor = fs.openSync(`${file}.new`, "w");
    fs.writeSync(descriptor, `${JSON.stringify(facts, undefined, 2)}\n`);
    fs.fsyncSync(descriptor);
    fs.closeSync(descriptor);
    fs.renameSync(`${file}.new`, file);
    const folder = fs.openSync(data, "r");
    fs.fsyncSync(folder);
    fs.closeSync(folder);
  } catch (cause) {
    throw unusable(data, cause);
  }
  return facts;
}

function unusable(data: string, cause: unknown): HeddleError {
  return new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message: (cause as Error).message }, { cause });
}
