// Data file: looks at LMDB's file before LMDB does.
//
// lmdb ends the whole process with a segmentation fault when LMDB refuses to open an environment, whatever the reason,
// and LMDB believes what the first pages of its file say: a page beyond the file's end is a bus error. So what can be
// seen from outside is looked at here first, and becomes an error that can be caught.
//
// The two first pages are LMDB's meta pages, written in turn; the one with the higher transaction counts. Numbers are
// in the machine's byte order, little-endian on every platform that Node runs on.
//
//   0 page header: page number (8), transaction (8), padding (2), flags (2), bounds (4)
//  24 magic (4), version (4), address (8), map size (8)
//  48 free pages: page size (4), flags (2), depth (2), counts (32), root (8)
//  96 tables, in the same form
// 144 last page (8), transaction (8)
import fs from "node:fs";

const magic = 0xbeefc0de;
const dataVersion = 2;
const metaFlag = 0x08;
const treeFlags = 0x01 | 0x02;
const noPage = 0xffff_ffff_ffff_ffffn;
const metaBytes = 160;
const pageBytesMax = 65_536;

interface Meta {
  readonly pageBytes: number;
  readonly lastPage: bigint;
  readonly tableRoot: bigint;
  readonly transaction: bigint;
}

/** What is wrong with LMDB's file; undefined when nothing can be seen. Throws the system's error if it cannot be read. */
export function dataFileProblem(file: string, access: "r" | "r+"): string | undefined {
  const fd = fs.openSync(file, access);
  try {
    if (fs.fstatSync(fd).size === 0) return "it is empty";
    const first = readMeta(fd, 0);
    if (typeof first === "string") return first;
    const second = readMeta(fd, first.pageBytes);
    if (typeof second === "string") return second;
    const meta = second.transaction > first.transaction ? second : first;
    if (meta.pageBytes !== first.pageBytes) return "its first pages do not agree";
    return lengthProblem(fd, meta) ?? rootProblem(fd, meta);
  } finally {
    fs.closeSync(fd);
  }
}

function readMeta(fd: number, offset: number): Meta | string {
  const bytes = readAt(fd, offset, metaBytes);
  if (bytes === undefined) return "it is cut off within its first pages";
  const isMeta = (bytes.readUInt16LE(18) & metaFlag) !== 0 && bytes.readUInt32LE(24) === magic;
  if (!isMeta) return "it is not an LMDB file";
  const version = bytes.readUInt32LE(28) & 0xffff;
  if (version !== dataVersion) return `it is of LMDB's format ${version}, wanted ${dataVersion}`;
  const pageBytes = bytes.readUInt32LE(48);
  const isSize = pageBytes >= 512 && pageBytes <= pageBytesMax && (pageBytes & (pageBytes - 1)) === 0;
  if (!isSize) return `its pages have ${pageBytes} bytes`;
  return {
    pageBytes,
    lastPage: bytes.readBigUInt64LE(144),
    tableRoot: bytes.readBigUInt64LE(136),
    transaction: bytes.readBigUInt64LE(152),
  };
}

// By LMDB's own words the file may rightly be shorter, when its last pages are free. That was not seen in 8,000 random
// commits, and costs a rebuild that was not needed. The length is read after the meta pages, because a writer in another
// process grows the file before it writes them.
function lengthProblem(fd: number, meta: Meta): string | undefined {
  const found = BigInt(fs.fstatSync(fd).size);
  const needed = (meta.lastPage + 1n) * BigInt(meta.pageBytes);
  return found < needed ? `it is cut off: it has ${found} bytes, its pages take ${needed}` : undefined;
}

function rootProblem(fd: number, meta: Meta): string | undefined {
  if (meta.tableRoot === noPage) return undefined;
  if (meta.tableRoot > meta.lastPage) return "its root lies beyond its last page";
  const header = readAt(fd, Number(meta.tableRoot) * meta.pageBytes, 24);
  if (header === undefined) return "its root lies beyond its end";
  const isRoot = header.readBigUInt64LE(0) === meta.tableRoot && (header.readUInt16LE(18) & treeFlags) !== 0;
  return isRoot ? undefined : "its root is overwritten";
}

function readAt(fd: number, offset: number, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  return fs.readSync(fd, bytes, 0, length, offset) === length ? bytes : undefined;
}
