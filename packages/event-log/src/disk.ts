// Disk: the port through which the log touches storage. `nodeDisk` is the real one; testkit has one that tears, drops,
// flips, fails and runs full.
import fs from "node:fs";
import path from "node:path";
import { invariant } from "@heddle/kernel/internal";

export interface DiskFile {
  /** Writes `bytes[from, to)` at an offset, at once and whole, or throws (code `ENOSPC` when the disk is full). */
  write(bytes: Uint8Array, from: number, to: number, at: number): void;
  /**
   * Writes `bytes[from, to)` at an offset, whole, makes them durable, then calls back from a later turn, once. Until then the bytes stay as
   * they are. What was written otherwise and not synced stays so. After an error any part may be there, durable or not.
   */
  writeThrough(bytes: Uint8Array, from: number, to: number, at: number, done: (error: Error | null) => void): void;
  /** Makes everything written so far durable (`fdatasync`), then calls back from a later turn, once. */
  sync(done: (error: Error | null) => void): void;
  /** The same, but returns only when it is done; throws when it fails. */
  syncNow(): void;
  /** Fills `into` from an offset and returns the bytes read: fewer only at the end of the file. */
  read(into: Uint8Array, at: number): number;
  size(): number;
  truncate(length: number): void;
  close(): void;
}

export interface Disk {
  /** Makes a folder, with those above it, and makes their names durable. Nothing happens to one that is there. */
  makeFolder(folder: string): void;
  /** Names of the files in a folder, in no order. */
  list(folder: string): string[];
  open(file: string, mode: "read" | "write" | "create"): DiskFile;
  remove(file: string): void;
  /** Makes names created, renamed or removed in a folder durable. */
  syncFolder(folder: string): void;
  /** Bytes that a user without privileges can still write. */
  freeBytes(folder: string): number;
}

export const nodeDisk: Disk = {
  makeFolder(folder) {
    const wanted = path.resolve(folder);
    const topmost = fs.mkdirSync(wanted, { recursive: true });
    // A new folder is a name in the one above it: until that is synced too, a power cut can take all that lies below.
    // The nearest is synced in any case, because whoever made the folder may have died before this.
    const top = path.dirname(topmost ?? wanted);
    for (let above = path.dirname(wanted); ; above = path.dirname(above)) {
      nodeDisk.syncFolder(above);
      if (above === top || above === path.dirname(above)) break;
    }
  },
  list: (folder) => fs.readdirSync(folder),
  open: (file, mode) => new NodeFile(file, mode),
  remove: (file) => fs.unlinkSync(file),
  syncFolder(folder) {
    const fd = fs.openSync(folder, "r");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  freeBytes(folder) {
    const facts = fs.statfsSync(path.resolve(folder));
    return facts.bavail * facts.bsize;
  },
};

class NodeFile implements DiskFile {
  readonly #file: string;
  readonly #fd: number;
  readonly #isWritable: boolean;
  /** The same file, opened so that a write returns when it is durable. */
  #throughFd: number | undefined;

  constructor(file: string, mode: "read" | "write" | "create") {
    this.#file = file;
    this.#fd = fs.openSync(file, { read: "r", write: "r+", create: "wx+" }[mode]);
    this.#isWritable = mode !== "read";
  }

  write(bytes: Uint8Array, from: number, to: number, at: number): void {
    let written = from;
    // A write may be cut short (a signal, a nearly full disk): the next call then goes on or gives the error.
    while (written < to) written += fs.writeSync(this.#fd, bytes, written, to - written, at + written - from);
  }

  // One task for libuv's threads, where `write` and `sync` are work for this thread and a task: see decision 21.
  writeThrough(bytes: Uint8Array, from: number, to: number, at: number, done: (error: Error | null) => void): void {
    invariant(this.#isWritable, "disk/opened-for-writing", { file: this.#file });
    this.#throughFd ??= fs.openSync(this.#file, fs.constants.O_WRONLY | fs.constants.O_DSYNC);
    fs.write(this.#throughFd, bytes, from, to - from, at, (error, written) => {
      if (error !== null || written === to - from) done(error);
      else this.writeThrough(bytes, from + written, to, at + written, done);
    });
  }

  sync(done: (error: Error | null) => void): void {
    fs.fdatasync(this.#fd, done);
  }

  syncNow(): void {
    fs.fdatasyncSync(this.#fd);
  }

  read(into: Uint8Array, at: number): number {
    let filled = 0;
    while (filled < into.length) {
      const got = fs.readSync(this.#fd, into, filled, into.length - filled, at + filled);
      if (got === 0) break;
      filled += got;
    }
    return filled;
  }

  size(): number {
    return fs.fstatSync(this.#fd).size;
  }

  truncate(length: number): void {
    fs.ftruncateSync(this.#fd, length);
  }

  close(): void {
    fs.closeSync(this.#fd);
    if (this.#throughFd !== undefined) fs.closeSync(this.#throughFd);
  }
}
