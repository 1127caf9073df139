// Tree walk: follows every page of one of LMDB's trees, page by page, and says what LMDB would stumble over.
//
// A page begins with a header (data-file.ts), then come the offsets of its nodes (2 bytes each, counted from the end of
// the header), `lower` bytes of them; the nodes fill the page from `upper` to its end. A node is
//   0 data length, or in a branch the child page's number (4)   4 flags, or its top bits (2)   6 key length (2)   8 key
// and in a leaf the data follows the key: bytes, the record of a table, or the place of an overflow page. The key of a
// branch's node says that it is above every key of the child before and not above any of its own child; the first node's
// key says nothing.
//
// A walk is a generator that stops after each page, so that whoever drives it can do so in turns. The pages must not
// change meanwhile.
import fs from "node:fs";
import {
  type Meta,
  pageFlags,
  pageHeaderBytes,
  readTreeRecord,
  type TreeRecord,
  treeRecordBytes,
} from "./data-file.ts";

export const nodeHeaderBytes = 8;
const overflowRecordBytes = 24;
const nodeFlags = { overflow: 0x01, table: 0x02 } as const;
/** Levels of a tree; LMDB's cursors have no more. */
const depthMax = 32;

export class TreeProblem extends Error {
  override readonly name = "TreeProblem";
}

/** Page numbers that were met. */
export class PageSet {
  readonly #bits: Uint8Array;

  constructor(pages: number) {
    this.#bits = new Uint8Array(Math.ceil(pages / 8));
  }

  has(page: number): boolean {
    return (this.#bits[page >>> 3]! & (1 << (page & 7))) !== 0;
  }

  add(page: number): void {
    this.#bits[page >>> 3]! |= 1 << (page & 7);
  }

  /** Of a set that has room for no more pages than this one. */
  addAll(pages: PageSet): void {
    for (const [i, bits] of pages.#bits.entries()) this.#bits[i]! |= bits;
  }
}

/** A page of a tree, in a buffer that is used again for the next page of its level. */
export interface TreePage {
  readonly number: number;
  readonly bytes: Buffer;
  readonly isBranch: boolean;
  /** Where its nodes begin, in the order of their keys, and where the last byte of each ends that is in use. */
  readonly nodes: readonly number[];
  readonly nodeEnds: readonly number[];
}

/** The lowest and the highest key below a page. */
export interface KeyEdges {
  readonly first: Buffer;
  readonly last: Buffer;
}

/** Looks at what a walk meets. */
export interface TreeVisitor {
  /** A page; a branch only after everything below it, with the keys of each child. */
  page(page: TreePage, children: readonly KeyEdges[]): void;
  /** A value on pages of its own. */
  overflow(firstPage: number, pages: number, valueBytes: number): void;
}

export class TreeWalk {
  readonly #fd: number;
  readonly #meta: Meta;
  readonly #met: PageSet;
  readonly #known: PageSet | undefined;
  readonly #visitor: TreeVisitor;
  // A buffer for each level, because a branch is gone on with after its child.
  readonly #levels: Buffer[] = [];
  readonly #header = Buffer.alloc(pageHeaderBytes);
  readonly #aside: Buffer;
  /** Pages that the file has, whole; those that it lacks nobody may use. */
  readonly #pages: number;
  #entries = 0;
  #leftOut = false;

  /** Adds every page to `met`. Below a page that is in `known` nothing is looked at: it is as it was found there. */
  constructor(fd: number, meta: Meta, met: PageSet, visitor: TreeVisitor = onlyLooking, known?: PageSet) {
    this.#aside = Buffer.alloc(meta.pageBytes);
    this.#pages = Math.min(meta.lastPage + 1, Math.floor(fs.fstatSync(fd).size / meta.pageBytes));
    this.#fd = fd;
    this.#meta = meta;
    this.#met = met;
    this.#visitor = visitor;
    this.#known = known;
  }

  /** Errors: {@link TreeProblem}. */
  *tree({ root, depth, entries }: TreeRecord, level = 0): Generator<void, void> {
    if (root === undefined) return;
    if (depth < 1 || depth > depthMax) throw new TreeProblem(`a tree says that it has ${depth} levels`);
    const before = this.#entries;
    this.#entries = 0;
    yield* this.#page(root, depth, level);
    if (this.#entries !== entries && !this.#leftOut) {
      throw new TreeProblem(`a tree has ${this.#entries} entries, it says ${entries}`);
    }
    this.#entries = before;
  }

  *#page(number: number, height: number, level: number): Generator<void, KeyEdges> {
    if (this.#known?.has(number)) {
      this.#leftOut = true;
      return { first: this.#edgeKey(number, height, 0), last: this.#edgeKey(number, height, -1) };
    }
    this.#meet(number, 1);
    const page = this.#readPage(number, height, this.#levelBuffer(level));
    const edges = page.isBranch ? yield* this.#branch(page, height, level) : yield* this.#leaf(page, level);
    yield;
    return edges;
  }

  *#branch(page: TreePage, height: number, level: number): Generator<void, KeyEdges> {
    const children: KeyEdges[] = [];
    for (const node of page.nodes) {
      children.push(yield* this.#page(childOf(page.bytes, node), height - 1, level + 1));
    }
    this.#visitor.page(page, children);
    return { first: children[0]!.first, last: children[children.length - 1]!.last };
  }

  *#leaf(page: TreePage, level: number): Generator<void, KeyEdges> {
    const { bytes, nodes } = page;
    for (const node of nodes) {
      this.#entries++;
      const length = bytes.readUInt32LE(node);
      const flags = bytes.readUInt16LE(node + 4);
      const data = node + nodeHeaderBytes + bytes.readUInt16LE(node + 6);
      if (flags === nodeFlags.overflow) this.#overflow(bytes, data, length);
      else if (flags === nodeFlags.table) yield* this.tree(readTreeRecord(bytes, data), level + 1);
    }
    this.#visitor.page(page, []);
    return { first: Buffer.from(keyOf(bytes, nodes[0]!)), last: Buffer.from(keyOf(bytes, nodes[nodes.length - 1]!)) };
  }

  #overflow(page: Buffer, data: number, length: number): void {
    const first = Number(page.readBigUInt64LE(data));
    const pages = Number(page.readBigUInt64LE(data + 16));
    // LMDB leaves a value its pages when it becomes shorter within one transaction.
    if (pages < Math.ceil((length + pageHeaderBytes) / page.length)) {
      throw new TreeProblem(`a value of ${length} bytes takes ${pages} pages`);
    }
    this.#meet(first, pages);
    const header = this.#read(first, this.#header);
    if (header.readUInt16LE(18) !== pageFlags.overflow || header.readUInt32LE(20) !== pages) {
      throw new TreeProblem(`page ${first} is not the start of a long value`);
    }
    this.#visitor.overflow(first, pages, length);
  }

  /** The first (0) or the last (-1) key below a page that the walk does not enter. */
  #edgeKey(page: number, pageHeight: number, side: 0 | -1): Buffer {
    let number = page;
    for (let height = pageHeight; ; height--) {
      const { bytes, nodes } = this.#readPage(number, height, this.#aside);
      const node = nodes.at(side)!;
      if (height === 1) return Buffer.from(keyOf(bytes, node));
      number = childOf(bytes, node);
    }
  }

  #meet(first: number, pages: number): void {
    if (first < 2 || first + pages > this.#pages) throw new TreeProblem(`page ${first} does not exist`);
    for (let number = first; number < first + pages; number++) {
      if (this.#met.has(number)) throw new TreeProblem(`page ${number} is used twice`);
      this.#met.add(number);
    }
  }

  #readPage(number: number, height: number, into: Buffer): TreePage {
    const bytes = this.#read(number, into);
    const isBranch = height > 1;
    if (bytes.readUInt16LE(18) !== (isBranch ? pageFlags.branch : pageFlags.leaf)) {
      throw new TreeProblem(`page ${number} is not of the kind it should be`);
    }
    const lower = bytes.readUInt16LE(20);
    const upper = bytes.readUInt16LE(22);
    const room = bytes.length - pageHeaderBytes;
    if (lower === 0 || lower % 2 !== 0 || lower > upper || upper > room) {
      throw new TreeProblem(`page ${number} has impossible bounds`);
    }
    const nodes: number[] = [];
    const nodeEnds: number[] = [];
    for (let at = 0; at < lower; at += 2) {
      const offset = bytes.readUInt16LE(pageHeaderBytes + at);
      if (offset < upper || offset + nodeHeaderBytes > room) {
        throw new TreeProblem(`page ${number} has a node outside of it`);
      }
      const node = pageHeaderBytes + offset;
      const end = isBranch ? branchNodeEnd(bytes, node) : leafNodeEnd(bytes, node);
      if (end === undefined) throw new TreeProblem(`page ${number} has a node of no known kind`);
      if (end > bytes.length) throw new TreeProblem(`page ${number} has data outside of it`);
      nodes.push(node);
      nodeEnds.push(end);
    }
    return { number, bytes, isBranch, nodes, nodeEnds };
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

const onlyLooking: TreeVisitor = { page: () => {}, overflow: () => {} };

function childOf(branch: Buffer, node: number): number {
  return branch.readUInt32LE(node) + branch.readUInt16LE(node + 4) * 2 ** 32;
}

/** A view of a node's key. */
export function keyOf(page: Buffer, node: number): Buffer {
  const from = node + nodeHeaderBytes;
  return page.subarray(from, from + page.readUInt16LE(node + 6));
}

function branchNodeEnd(page: Buffer, node: number): number {
  return node + nodeHeaderBytes + page.readUInt16LE(node + 6);
}

function leafNodeEnd(page: Buffer, node: number): number | undefined {
  const length = page.readUInt32LE(node);
  const flags = page.readUInt16LE(node + 4);
  const keyLength = page.readUInt16LE(node + 6);
  const data = node + nodeHeaderBytes + keyLength;
  if (keyLength === 0) return undefined;
  if (flags === nodeFlags.overflow) return data + overflowRecordBytes;
  return flags === 0 || (flags === nodeFlags.table && length === treeRecordBytes) ? data + length : undefined;
}
