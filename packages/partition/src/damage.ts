// What LMDB and the file system say, as Heddle's errors.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { ExtentsBroken } from "./extents.ts";
import { MalformedValue } from "./varint.ts";

export const dataFile = "data.mdb";

export interface Place {
  readonly folder: string;
  readonly shard: number;
}

/** The environment would grow beyond its bound. */
export class CeilingReached extends Error {
  override readonly name = "CeilingReached";

  constructor(bytes: number, bytesMax: number) {
    super(`the partition has ${bytes} bytes, its bound is ${bytesMax}`);
  }
}

const { ENOSPC, EDQUOT, EFBIG, EIO, EACCES, EPERM, EROFS } = os.constants.errno;
const noRoom: readonly unknown[] = [ENOSPC, EDQUOT, EFBIG];
const noRight: readonly unknown[] = [EACCES, EPERM, EROFS];

/** LMDB's own codes for pages that make no sense: MDB_PAGE_NOTFOUND, _CORRUPTED, _PANIC, _VERSION_MISMATCH, _INVALID,
 * _INCOMPATIBLE, _BAD_TXN (a transaction that met one of the others before). */
const lmdbDamage: readonly unknown[] = [-30797, -30796, -30795, -30794, -30793, -30784, -30782];

/** Below this much room a failed write is taken to have failed for want of it. */
const scarceBytes = 64 * 1024 * 1024;

export function damaged(folder: string, problem: string, cause?: unknown): HeddleError<"PARTITION_DAMAGED"> {
  return new HeddleError("PARTITION_DAMAGED", { folder, problem }, { cause });
}

/** An error of opening or reading. What is not known here is given back as it came. */
export function asReadError(error: unknown, { folder, shard }: Place): unknown {
  if (error instanceof MalformedValue || error instanceof ExtentsBroken) return damaged(folder, error.message, error);
  const code = codeOf(error);
  if (lmdbDamage.includes(code)) return damaged(folder, messageOf(error), error);
  if (noRight.includes(code)) {
    return new HeddleError("DATA_FOLDER_UNWRITABLE", { folder, message: messageOf(error) }, { cause: error });
  }
  if (noRoom.includes(code)) return diskFull(folder, shard, error);
  return error;
}

/** Reads from LMDB, with its errors as those of {@link asReadError}. */
export function reading<T>(place: Place, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw asReadError(error, place);
  }
}

/**
 * An error of a failed transaction. Nothing may be on its way to the disk.
 *
 * LMDB says "input/output error" for a write that was cut short, which is what a full disk first does, so that one
 * needs a second look at the disk.
 */
export function asWriteError(error: unknown, { folder, shard }: Place): HeddleError {
  if (error instanceof HeddleError) return error;
  const code = codeOf(error);
  if (error instanceof CeilingReached || noRoom.includes(code)) return diskFull(folder, shard, error);
  if (code === EIO && isFull(folder)) return diskFull(folder, shard, error);
  return damaged(folder, `a write failed: ${messageOf(error)}`, error);
}

/** lmdb gives a generic error whose `commitError` is a promise that rejects with the cause. */
export async function causeOfFailedCommit(error: unknown): Promise<unknown> {
  if (typeof error !== "object" || error === null || !("commitError" in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}

function diskFull(folder: string, shard: number, cause: unknown): HeddleError<"DISK_FULL"> {
  return new HeddleError("DISK_FULL", { shard, path: path.join(folder, dataFile) }, { cause });
}

function isFull(folder: string): boolean {
  try {
    const facts = fs.statfsSync(folder);
    return facts.bavail * facts.bsize < scarceBytes || !canGrow(path.join(folder, dataFile));
  } catch {
    return false;
  }
}

// Tries what LMDB tried: a quota or a limit on the size of files does not show in the file system's own figures.
function canGrow(file: string): boolean {
  const bytes = new Uint8Array(64 * 1024);
  const fd = fs.openSync(file, "r+");
  try {
    const size = fs.fstatSync(fd).size;
    try {
      return fs.writeSync(fd, bytes, 0, bytes.length, size) === bytes.length;
    } catch {
      return false;
    } finally {
      fs.ftruncateSync(fd, size);
    }
  } finally {
    fs.closeSync(fd);
  }
}

function codeOf(error: unknown): unknown {
  if (typeof error !== "object" || error === null) return undefined;
  if ("errno" in error && typeof error.errno === "number") return Math.abs(error.errno);
  return "code" in error ? error.code : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
