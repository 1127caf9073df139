// Segments: the files of one shard's log, in order, and reading from them.
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import type { Disk, DiskFile } from "./disk.ts";
import {
  baseOfName,
  decodeSegmentHeader,
  type SegmentHeader,
  segmentHeaderBytes,
  segmentHeaderProblem,
} from "./layout.ts";

export interface Segment extends SegmentHeader {
  readonly file: string;
  /** Bytes in the file, header included. Grows while it is the last one. */
  length: number;
}

/** Files kept open for reading, beyond the one being written. */
const openFilesMax = 32;

export class Segments {
  readonly list: Segment[];
  readonly #disk: Disk;
  readonly #open = new Map<number, DiskFile>();

  constructor(disk: Disk, list: Segment[]) {
    this.#disk = disk;
    this.list = list;
  }

  get last(): Segment | undefined {
    return this.list.at(-1);
  }

  /** The log's end: the position of the next byte. */
  get end(): number {
    return this.last === undefined ? 0 : this.last.base + this.last.length;
  }

  /** The segment that holds a position, or undefined when the log does not reach there. */
  at(position: number): Segment | undefined {
    let low = 0;
    let high = this.list.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const segment = this.list[middle]!;
      if (position < segment.base) high = middle - 1;
      else if (position >= segment.base + segment.length) low = middle + 1;
      else return segment;
    }
    return undefined;
  }

  /** Reads from a segment's file; returns the bytes read. */
  read(segment: Segment, into: Uint8Array, offset: number): number {
    return this.#fileOf(segment).read(into, offset);
  }

  /** How long a segment's file is now. */
  size(segment: Segment): number {
    return this.#fileOf(segment).size();
  }

  close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }

  #fileOf(segment: Segment): DiskFile {
    let file = this.#open.get(segment.base);
    if (file === undefined) {
      file = this.#disk.open(segment.file, "read");
      if (this.#open.size >= openFilesMax) {
        const [oldest, closing] = this.#open.entries().next().value!;
        closing.close();
        this.#open.delete(oldest);
      }
      this.#open.set(segment.base, file);
    }
    return file;
  }
}

export interface FoundSegments {
  readonly segments: Segment[];
  /** A file that was being made when the process died, or that is being made now by another one. */
  readonly unfinished: string | undefined;
}

/**
 * Finds the segments of a folder and checks that they join without a gap.
 *
 * A last file no longer than its header, whose header was not written whole, was being made when the process died: it
 * is left out and named in `unfinished`. Errors: `LOG_DAMAGED` for any other header that does not hold, or a gap.
 */
export function findSegments(disk: Disk, folder: string): FoundSegments {
  const names = disk.list(folder).filter((name) => baseOfName(name) !== undefined);
  names.sort();
  const segments: Segment[] = [];
  let end = 0;
  for (const [index, name] of names.entries()) {
    const file = path.join(folder, name);
    const damaged = (problem: string) => new HeddleError("LOG_DAMAGED", { file, offset: 0, problem });
    const base = baseOfName(name)!;
    // Before the header is looked at: a file begun beyond a gap shows that what was in the gap is missing.
    if (base !== end) throw damaged(`it begins at position ${base}, what stands before it ends at ${end}`);
    const { length, bytes } = readStart(disk, file);
    const problem = segmentHeaderProblem(bytes);
    if (problem !== undefined) {
      if (index === names.length - 1 && length <= segmentHeaderBytes) return { segments, unfinished: file };
      throw damaged(problem);
    }
    const header = decodeSegmentHeader(bytes);
    if (typeof header === "string") throw damaged(header);
    if (header.base !== base) throw damaged(`its header says base ${header.base}`);
    segments.push({ ...header, file, length });
    end = base + length;
  }
  return { segments, unfinished: undefined };
}

// The length is asked first: beside a writer it then never counts bytes that the header was read too early for.
function readStart(disk: Disk, file: string): { length: number; bytes: Uint8Array } {
  const opened = disk.open(file, "read");
  try {
    const length = opened.size();
    const bytes = new Uint8Array(segmentHeaderBytes);
    const read = opened.read(bytes, 0);
    return { length: Math.max(length, read), bytes: bytes.subarray(0, read) };
  } finally {
    opened.close();
  }
}
