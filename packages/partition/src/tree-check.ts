// Tree check: follows every page of LMDB's trees and says what LMDB would stumble over.
//
// For a doctor: of 200 pages overwritten with garbage LMDB aborted the process on a third, and on some others left out
// what had stood there without a word. What stands in values is not looked at; reading them checks that (values.ts).
//
// A page begins with a header (data-file.ts), then come the offsets of its nodes (2 bytes each, counted from the end of
// the header), `lower` bytes of them; the nodes fill the page from `upper` to its end. A node is
//   0 data length, or in a branch the child page's number (4)   4 flags, or its top bits (2)   6 key length (2)   8 key
// and in a leaf the data follows the key: bytes, the record of a table, or the place of an overflow page.
import fs from "node:fs";
import {
  type Meta,
  newestMeta,
  pageFlags,
  pageHeaderBytes,
  readTreeRecord,
  type TreeRecord,
  treeRecordBytes,
} from "./data-file.ts";

const nodeHeaderBytes = 8;
const overflowRecordBytes = 24;
const nodeFlags = { overflow: 0x01, table: 0x02 } as const;
/** Levels of a tree; LMDB's cursors have no more. */
const depthMax = 32;

class TreeProblem extends Error {}

/**
 * What is wrong with the file; undefined when LMDB can read all of it. Reads every page that is in use, about half a
 * gigabyte a second. Only for a file that nobody writes to: a writer uses pages again that this still follows.
 */
export function treeProblem(file: string): string | undefined {
  const fd = fs.openSync(file, "r");
  try {
    const meta = newestMeta(fd);
    if (typeof meta === "string") return meta;
    const walk = new TreeWalk(fd, meta);
    walk.tree(meta.freePages);
    walk.tree(meta.tables);
    return undefined;
  } catch (error) {
    if (error instanceof TreeProblem) return error.message;
    throw error;
  } finally {
    fs.closeSync(fd);
  }
}

class TreeWalk {
  readonly #fd: number;
  readonly #meta: Meta;
  readonly #seen: Uint8Array;
  // A buffer for each level, because a branch is gone on with after its child.
  readonly #levels: Buffer[] = [];
  readonly #header = Buffer.alloc(pageHeaderBytes);
  #entries = 0;

  constructor(fd: number, meta: Meta) {
    this.#fd = fd;
    this.#meta = meta;
    this.#seen = new Uint8Array(Math.ceil((meta.lastPage + 1) / 8));
  }

  tree({ root, depth, entries }: TreeRecord, level = 0): void {
    if (root === undefined) return;
    if (depth < 1 || depth > depthMax) throw new TreeProblem(`a tree says that it has ${depth} levels`);
    const before = this.#entries;
    this.#entries = 0;
    this.#page(root, depth, level);
    if (this.#entries !== entries) throw new TreeProblem(`a tree has ${this.#entries} entries, it says ${entries}`);
    this.#entries = before;
  }

  #page(number: number, height: number, level: number): void {
    this.#visit(number, 1);
    const page = this.#read(number, this.#levelBuffer(level));
    const kind = height > 1 ? pageFlags.branch : pageFlags.leaf;
    if (page.readUInt16LE(18) !== kind) throw new TreeProblem(`page ${number} is not of the kind it should be`);
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    const room = page.length - pageHeaderBytes;
    if (lower === 0 || lower % 2 !== 0 || lower > upper || upper > room) {
      throw new TreeProblem(`page ${number} has impossible bounds`);
    }
    for (let at = 0; at < lower; at += 2) {
      const node = page.readUInt16LE(pageHeaderBytes + at);
      if (node < upper || node + nodeHeaderBytes > room)
        throw new TreeProblem(`page ${number} has a node outside of it`);
      if (height > 1) this.#child(number, page, pageHeaderBytes + node, height, level);
      else this.#leaf(number, page, pageHeaderBytes + node, level);
    }
  }

  #child(number: number, page: Buffer, node: number, height: number, level: number): void {
    if (node + nodeHeaderBytes + page.readUInt16LE(node + 6) > page.length) {
      throw new TreeProblem(`page ${number} has a key outside of it`);
    }
    this.#page(page.readUInt32LE(node) + page.readUInt16LE(node + 4) * 2 ** 32, height - 1, level + 1);
  }

  #leaf(number: number, page: Buffer, node: number, level: number): void {
    this.#entries++;
    const length = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const keyLength = page.readUInt16LE(node + 6);
    const data = node + nodeHeaderBytes + keyLength;
    const inPage = flags === nodeFlags.overflow ? overflowRecordBytes : length;
    if (keyLength === 0 || data + inPage > page.length) throw new TreeProblem(`page ${number} has data outside of it`);
    if (flags === nodeFlags.overflow) this.#overflow(page, data, length);
    else if (flags === nodeFlags.table && length === treeRecordBytes) this.tree(readTreeRecord(page, data), level + 1);
    else if (flags !== 0) throw new TreeProblem(`page ${number} has a node of no known kind`);
  }

  #overflow(page: Buffer, data: number, length: number): void {
    const first = Number(page.readBigUInt64LE(data));
    const pages = Number(page.readBigUInt64LE(data + 16));
    if (pages !== Math.ceil((length + pageHeaderBytes) / page.length)) {
      throw new TreeProblem(`a value of ${length} bytes takes ${pages} pages`);
    }
    this.#visit(first, pages);
    const header = this.#read(first, this.#header);
    if (header.readUInt16LE(18) !== pageFlags.overflow || header.readUInt32LE(20) !== pages) {
      throw new TreeProblem(`page ${first} is not the start of a long value`);
    }
  }

  #visit(first: number, pages: number): void {
    if (first < 2 || first + pages - 1 > this.#meta.lastPage) throw new TreeProblem(`page ${first} does not exist`);
    for (let number = first; number < first + pages; number++) {
      const bit = 1 << (number & 7);
      if ((this.#seen[number >>> 3]! & bit) !== 0) throw new TreeProblem(`page ${number} is used twice`);
      this.#seen[number >>> 3]! |= bit;
    }
  }

  #read(number: number, into: Buffer): Buffer {
    fs.readSync(this.#fd, into, 0, into.length, number * this.#meta.pageBytes);
    if (into.readBigUInt64LE(0) !== BigInt(number)) throw new TreeProblem(`page ${number} says it is another`);
    return into;
  }

  #levelBuffer(level: number): Buffer {
    const known = this.#levels[level];
    if (known !== undefined) return known;
    const made = Buffer.alloc(this.#meta.pageBytes);
    this.#levels[level] = made;
    return made;
  }
}
