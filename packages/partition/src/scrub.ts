// Scrub: overwrites with zeros what LMDB's file holds of values and keys that were removed or replaced (P6).
//
// LMDB frees pages without clearing them, shifts nodes within a page and leaves their old bytes, and keeps the keys of
// removed entries in branch pages, where they say which child to turn to. A compacting copy would keep the latter two.
// So the file is scrubbed in place, while nobody writes to it:
//
// S1. Only bytes are written that no reader looks at: pages in neither tree of the two meta pages, and in a page that is
//     in a tree what lies between its nodes, or behind a long value (what lies between two such places of a page is written
//     as it is). A crash at any instruction, or a write that is torn, changes nothing for whoever opens the file after it,
//     at either meta page.
// S2. A branch's key is cut: the bytes behind those that tell it from the last key below it and the first key above it
//     become zeros. Whatever of them is on disk after a crash, the key still lies between the two. What stays is a beginning
//     that it shares with one of them, and one byte.
// S3. What is zero already is not written. A second scrub of the same file writes nothing.
//
// After it no byte of what was removed comes back with a later commit either: LMDB reads what it copies from the file, it
// copies the used parts of a page only, and clears the memory of a new page (it is not opened with `noMemInit`).
// Not touched: the meta pages. They hold numbers.
// Not promised: to survive a disk that loses a sector which it was writing when the power failed, with what stood there
// before; the partition can be derived from the log. Nor to reach what a copying file system or the disk itself keeps of
// blocks that were overwritten.
import fs from "node:fs";
import { promisify } from "node:util";
import { asWriteError, damaged, type Place } from "./damage.ts";
import { bothMetas, type Meta } from "./data-file.ts";
import { HoleZeroer } from "./holes.ts";
import { PageSet, TreeProblem, TreeWalk } from "./tree-walk.ts";
import { isZero, ZeroWriter } from "./zero-writer.ts";

/** What one turn does: about a millisecond of the shard's thread. */
const walkedPagesPerTurn = 128;
const freePagesPerTurn = 256;
/** Pages that are read at a time where they are free. */
const chunkPages = 64;
/** Written bytes after which the disk is waited for: the system would otherwise stop the thread when it has too many. */
const unsyncedBytesMax = 32 * 1024 * 1024;
/** LMDB's two meta pages. */
const firstPage = 2;

const datasync = promisify(fs.fdatasync);

export interface ScrubResult {
  /** Pages in no tree that were cleared. */
  readonly pagesZeroed: number;
  /** Pages in a tree of which unused bytes were cleared. */
  readonly holesZeroed: number;
}

export interface ScrubOptions {
  readonly place: Place;
  readonly file: string;
  /** Ends a turn. When it rejects, the scrub ends with its error; what is done so far is done. */
  readonly nextTurn: () => Promise<void>;
  readonly crashPoint: (name: string) => void;
}

/**
 * Scrubs a data file and syncs it. No transaction may be written meanwhile, and none read that is older than the older meta
 * page.
 *
 * Errors: `PARTITION_DAMAGED`; `DISK_FULL` on a file system that cannot overwrite in place; those of `nextTurn`.
 */
export async function scrubDataFile(options: ScrubOptions): Promise<ScrubResult> {
  const { file, place } = options;
  try {
    const fd = fs.openSync(file, "r+");
    try {
      return await new Scrub(fd, options).run();
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    if (error instanceof TreeProblem) throw damaged(place.folder, error.message, error);
    throw error instanceof Error && "errno" in error ? asWriteError(error, place) : error;
  }
}

/** The transaction of the older meta page: a reader of an earlier one may still look at pages that are free by now. */
export function oldestTransaction(file: string): bigint {
  const fd = fs.openSync(file, "r");
  try {
    return metasOf(fd)[1].transaction;
  } finally {
    fs.closeSync(fd);
  }
}

class Scrub {
  readonly #fd: number;
  readonly #options: ScrubOptions;
  readonly #newest: Meta;
  readonly #older: Meta;
  readonly #writer: ZeroWriter;

  constructor(fd: number, options: ScrubOptions) {
    this.#fd = fd;
    this.#options = options;
    [this.#newest, this.#older] = metasOf(fd);
    this.#writer = new ZeroWriter(fd, this.#newest.pageBytes, options.crashPoint);
  }

  async run(): Promise<ScrubResult> {
    const { nextTurn, crashPoint } = this.#options;
    const inUse = new PageSet(Math.max(this.#newest.lastPage, this.#older.lastPage) + 1);
    const newestPages = new PageSet(this.#newest.lastPage + 1);
    const holes = new HoleZeroer(this.#writer, this.#newest.pageBytes);
    await this.#walk(this.#newest, [newestPages, undefined], holes);
    const olderPages = new PageSet(this.#older.lastPage + 1);
    await this.#walk(this.#older, [olderPages, newestPages], holes);
    inUse.addAll(newestPages);
    inUse.addAll(olderPages);
    crashPoint("partition:scrub-walked");
    await nextTurn();
    const pagesZeroed = await this.#clearFreePages(inUse);
    await datasync(this.#fd);
    return { pagesZeroed, holesZeroed: holes.count };
  }

  async #walk(meta: Meta, [met, known]: [PageSet, PageSet | undefined], holes: HoleZeroer): Promise<void> {
    let left = walkedPagesPerTurn;
    for (const tree of [meta.freePages, meta.tables]) {
      // Page numbers sort as numbers, and tell nobody anything.
      holes.cutsKeys = tree === meta.tables;
      for (const _page of new TreeWalk(this.#fd, meta, met, holes, known).tree(tree)) {
        if (--left > 0) continue;
        left = walkedPagesPerTurn;
        await this.#endTurn();
      }
    }
  }

  async #clearFreePages(inUse: PageSet): Promise<number> {
    const { pageBytes } = this.#newest;
    const pages = Math.ceil(fs.fstatSync(this.#fd).size / pageBytes);
    const chunk = Buffer.alloc(chunkPages * pageBytes);
    let cleared = 0;
    let left = freePagesPerTurn;
    for (let from = firstPage; from < pages; from += chunkPages) {
      const to = Math.min(from + chunkPages, pages);
      const free: number[] = [];
      for (let page = from; page < to; page++) if (!inUse.has(page)) free.push(page);
      if (free.length > 0) cleared += this.#clearThose(free, from, chunk);
      // Pages in use cost next to nothing here.
      left -= free.length + 1;
      if (left > 0) continue;
      left = freePagesPerTurn;
      await this.#endTurn();
    }
    return cleared;
  }

  #clearThose(free: readonly number[], from: number, chunk: Buffer): number {
    const { pageBytes } = this.#newest;
    const found = fs.readSync(this.#fd, chunk, 0, chunk.length, from * pageBytes);
    let cleared = 0;
    for (const page of free) {
      const at = (page - from) * pageBytes;
      const end = Math.min(at + pageBytes, found);
      if (isZero(chunk, at, end)) continue;
      this.#writer.zeros(page * pageBytes, end - at);
      cleared++;
    }
    return cleared;
  }

  async #endTurn(): Promise<void> {
    if (this.#writer.unsyncedBytes > unsyncedBytesMax) {
      this.#writer.unsyncedBytes = 0;
      await datasync(this.#fd);
    }
    await this.#options.nextTurn();
  }
}

function metasOf(fd: number): readonly [Meta, Meta] {
  const metas = bothMetas(fd);
  if (typeof metas === "string") throw new TreeProblem(metas);
  return metas;
}
