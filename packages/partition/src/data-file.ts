// Data file: looks at LMDB's file before LMDB does.
//
// lmdb ends the whole process with a segmentation fault when LMDB refuses to open an environment, whatever the reason,
// and LMDB believes what stands in its file: a page beyond the end is a bus error, a page of garbage often an abort. So
// what can be seen from outside is looked at here, and becomes an error that can be caught.
//
// The two first pages are LMDB's meta pages, written in turn; the one with the higher transaction counts. Numbers are
// in the machine's byte order, little-endian on every platform that Node runs on.
//
//   0 page header: page number (8), transaction (8), padding (2), flags (2), bounds (4)
//  24 magic (4), version (4), address (8), map size (8)
//  48 free pages: page size (4), flags (2), depth (2), counts of pages (24), entries (8), root (8)
//  96 tables, in the same form
// 144 last page (8), transaction (8)
import fs from "node:fs";

const magic = 0xbeefc0de;
const dataVersion = 2;
const metaBytes = 160;
const pageBytesMax = 65_536;

export const pageHeaderBytes = 24;
export const treeRecordBytes = 48;
export const pageFlags = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;

/** Where a tree begins, and what it says of itself. */
export interface TreeRecord {
  readonly depth: number;
  readonly entries: number;
  /** Undefined for an empty tree. */
  readonly root: number | undefined;
}

export interface Meta {
  readonly pageBytes: number;
  readonly lastPage: number;
  readonly transaction: bigint;
  readonly freePages: TreeRecord;
  readonly tables: TreeRecord;
}

/** The meta page that counts, or what is wrong with the first pages. */
export function newestMeta(fd: number): Meta | string {
  const metas = bothMetas(fd);
  return typeof metas === "string" ? metas : metas[0];
}

/** Both meta pages, the one that counts first; or what is wrong with them. */
export function bothMetas(fd: number): readonly [Meta, Meta] | string {
  if (fs.fstatSync(fd).size === 0) return "it is empty";
  const first = readMeta(fd, 0);
  if (typeof first === "string") return first;
  const second = readMeta(fd, first.pageBytes);
  if (typeof second === "string") return second;
  if (second.pageBytes !== first.pageBytes) return "its first pages do not agree";
  return second.transaction > first.transaction ? [second, first] : [first, second];
}

export function readTreeRecord(bytes: Buffer, at: number): TreeRecord {
  const root = bytes.readBigUInt64LE(at + 40);
  return {
    depth: bytes.readUInt16LE(at + 6),
    entries: Number(bytes.readBigUInt64LE(at + 32)),
    root: root === 0xffff_ffff_ffff_ffffn ? undefined : Number(root),
  };
}

function readMeta(fd: number, offset: number): Meta | string {
  const bytes = Buffer.alloc(metaBytes);
  if (fs.readSync(fd, bytes, 0, metaBytes, offset) < metaBytes) return "it is cut off within its first pages";
  const isMeta = (bytes.readUInt16LE(18) & pageFlags.meta) !== 0 && bytes.readUInt32LE(24) === magic;
  if (!isMeta) return "it is not an LMDB file";
  const version = bytes.readUInt32LE(28) & 0xffff;
  if (version !== dataVersion) return `it is of LMDB's format ${version}, wanted ${dataVersion}`;
  const pageBytes = bytes.readUInt32LE(48);
  const isSize = pageBytes >= 512 && pageBytes <= pageBytesMax && (pageBytes & (pageBytes - 1)) === 0;
  if (!isSize) return `its pages have ${pageBytes} bytes`;
  return {
    pageBytes,
    lastPage: Number(bytes.readBigUInt64LE(144)),
    transaction: bytes.readBigUInt64LE(152),
    freePages: readTreeRecord(bytes, 48),
    tables: readTreeRecord(bytes, 96),
  };
}

/** Bytes of the file up to the last page that a meta page knows of. */
export function lengthOf(meta: Meta): number {
  return (meta.lastPage + 1) * meta.pageBytes;
}

/**
 * Says so when the file is shorter than that. It may rightly be, by pages that were taken and given back within one
 * transaction: they are free and were never written. Whether all that is missing is free, a walk over the trees can tell.
 * The length is read after the meta pages, because a writer in another process grows the file before it writes them.
 */
export function lengthProblem(fd: number, meta: Meta): string | undefined {
  const found = fs.fstatSync(fd).size;
  const needed = lengthOf(meta);
  return found < needed ? `it is cut off: it has ${found} bytes, its pages take ${needed}` : undefined;
}

export function rootProblem(fd: number, { tables, lastPage, pageBytes }: Meta): string | undefined {
  if (tables.root === undefined) return undefined;
  if (tables.root > lastPage) return "its root lies beyond its last page";
  const header = Buffer.alloc(pageHeaderBytes);
  fs.readSync(fd, header, 0, pageHeaderBytes, tables.root * pageBytes);
  const isTree = (header.readUInt16LE(18) & (pageFlags.branch | pageFlags.leaf)) !== 0;
  const isRoot = header.readBigUInt64LE(0) === BigInt(tables.root) && isTree;
  return isRoot ? undefined : "its root is overwritten";
}
