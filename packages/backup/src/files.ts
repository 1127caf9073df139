// Files: writing so that a crash leaves either nothing or all of it, and a lock that dies with its process.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

export function syncFolder(folder: string): void {
  const descriptor = fs.openSync(folder, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** What a file that is not there yet is called while it is written. */
export const unfinishedSuffix = ".new";

/** Writes beside, syncs, and renames: there is never half of a file under its name. */
export function writeWhole(file: string, text: string): void {
  const beside = `${file}${unfinishedSuffix}`;
  writeSynced(beside, Buffer.from(text), "w");
  fs.renameSync(beside, file);
  syncFolder(path.dirname(file));
}

/** Writes a file and syncs it; its name is the caller's to sync. */
export function writeSynced(file: string, bytes: Uint8Array, flags: "w" | "wx"): void {
  const descriptor = fs.openSync(file, flags);
  try {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(descriptor, bytes, at, bytes.length - at);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/**
 * Takes a lock that the system gives up when the process dies; undefined when another one has it.
 * SQLite's exclusive lock, as the data folder's is: a process id in a file means nothing between containers.
 */
export function takeLock(file: string): (() => void) | undefined {
  const database = new DatabaseSync(file);
  try {
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF; BEGIN EXCLUSIVE;");
  } catch (error) {
    database.close();
    if (/locked|busy/i.test((error as Error).message)) return undefined;
    throw error;
  }
  return () => database.close();
}
