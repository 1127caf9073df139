// ScrubPages: zeroes what no row of an SQLite file needs any more, where it lies (P6).
//
// The format (sqlite.org/fileformat2): the file is pages; a page of a tree has a header, pointers to its cells, unallocated room,
// and the cells, with free blocks among them. `secure_delete` zeroes free blocks and free pages; copies of cells that a split
// moved away stay in the unallocated room. Numbers are big-endian.
//
// To be called while no connection of this process has the file open, and its write-ahead log is empty.
import fs from "node:fs";

const magic = "SQLite format 3\0";
const fileHeaderBytes = 100;
/** Pages read at once. */
const pagesAtOnce = 256;

const treePages = { innerIndex: 2, innerTable: 5, leafIndex: 10, leafTable: 13 } as const;

/** Zeroes the free room of all pages, and syncs what it changed. Gives the number of changed pages. */
export function scrubPages(file: string): number {
  const descriptor = fs.openSync(file, "r+");
  try {
    const header = Buffer.alloc(fileHeaderBytes);
    if (fs.readSync(descriptor, header, 0, fileHeaderBytes, 0) < fileHeaderBytes) return 0;
    if (header.toString("latin1", 0, 16) !== magic) throw new Error("it is no SQLite file");
    const stored = header.readUInt16BE(16);
    const pageBytes = stored === 1 ? 65_536 : stored;
    const usableBytes = pageBytes - header[20]!;
    const free = freePages(descriptor, header, pageBytes, usableBytes);
    return scrubAll(descriptor, pageBytes, usableBytes, free);
  } finally {
    fs.closeSync(descriptor);
  }
}

function scrubAll(descriptor: number, pageBytes: number, usableBytes: number, free: FreePages): number {
  const buffer = Buffer.alloc(pageBytes * pagesAtOnce);
  let changed = 0;
  for (let first = 1; ; first += pagesAtOnce) {
    const read = fs.readSync(descriptor, buffer, 0, buffer.length, (first - 1) * pageBytes);
    for (let i = 0; (i + 1) * pageBytes <= read; i++) {
      const page = buffer.subarray(i * pageBytes, (i + 1) * pageBytes);
      if (!scrubPage(page, first + i, usableBytes, free)) continue;
      fs.writeSync(descriptor, page, 0, pageBytes, (first + i - 1) * pageBytes);
      changed++;
    }
    if (read < buffer.length) break;
  }
  if (changed > 0) fs.fdatasyncSync(descriptor);
  return changed;
}

interface FreePages {
  /** Pages that list free ones, with the number that each lists. */
  readonly trunks: ReadonlyMap<number, number>;
  readonly leaves: ReadonlySet<number>;
}

function freePages(descriptor: number, header: Buffer, pageBytes: number, usableBytes: number): FreePages {
  const trunks = new Map<number, number>();
  const leaves = new Set<number>();
  const page = Buffer.alloc(pageBytes);
  for (let trunk = header.readUInt32BE(32); trunk !== 0 && !trunks.has(trunk); trunk = page.readUInt32BE(0)) {
    if (fs.readSync(descriptor, page, 0, pageBytes, (trunk - 1) * pageBytes) < pageBytes) break;
    const count = Math.min(page.readUInt32BE(4), usableBytes / 4 - 2);
    trunks.set(trunk, count);
    for (let i = 0; i < count; i++) leaves.add(page.readUInt32BE(8 + 4 * i));
  }
  return { trunks, leaves };
}

function scrubPage(page: Buffer, number: number, usableBytes: number, free: FreePages): boolean {
  if (free.leaves.has(number)) return zero(page, 0, page.length);
  const listed = free.trunks.get(number);
  if (listed !== undefined) return zero(page, 8 + 4 * listed, page.length);
  const at = number === 1 ? fileHeaderBytes : 0;
  const type = page[at]!;
  const isInner = type === treePages.innerIndex || type === treePages.innerTable;
  // Anything else is the rest of a long row, which is whole.
  if (!isInner && type !== treePages.leafIndex && type !== treePages.leafTable) return false;
  const cells = page.readUInt16BE(at + 3);
  const pointersEnd = at + (isInner ? 12 : 8) + 2 * cells;
  const contentStart = page.readUInt16BE(at + 5) || 65_536;
  // A page of a long row may begin like a tree's: what does not add up is left alone.
  if (pointersEnd > contentStart || contentStart > usableBytes) return false;
  for (let cell = 0; cell < cells; cell++) {
    const pointer = page.readUInt16BE(pointersEnd - 2 * (cells - cell));
    if (pointer < contentStart || pointer >= usableBytes) return false;
  }
  let changed = zero(page, pointersEnd, contentStart);
  let block = page.readUInt16BE(at + 1);
  while (block >= contentStart && block + 4 <= usableBytes) {
    const bytes = page.readUInt16BE(block + 2);
    if (block + bytes > usableBytes) break;
    changed = zero(page, block + 4, block + bytes) || changed;
    const next = page.readUInt16BE(block);
    if (next <= block) break;
    block = next;
  }
  return changed;
}

function zero(page: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    if (page[at] === 0) continue;
    page.fill(0, at, to);
    return true;
  }
  return false;
}
