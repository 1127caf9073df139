// TailReader: whole records of a log, read beside the node that writes it, by readers who follow its end.
//
// Differs from LogReader in that it goes on as the log grows, reads into memory that it uses again, and is told how far the log
// is durable: it never sees what could still be taken back, so that nothing here can be a torn tail.
//
// T1. Every record that it gives was held against its checksum. What an erasure is overwriting just then gets a second look.
// T2. One run lies in one segment, and begins and ends with whole records.
// T3. New segments are found by their names, which say where they begin: the folder is listed once.
// Not promised: that bytes which were read before an erasure are as they are after it. Whoever keeps them must be told.
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import type { Disk } from "./disk.ts";
import {
  baseOfName,
  decodeSegmentHeader,
  type EntryView,
  entryHeaderBytes,
  entryLengthAt,
  readEntry,
  recordChecksumHolds,
  recordEntryCount,
  recordHeaderBytes,
  recordLengthAt,
  segmentHeaderBytes,
  segmentHeaderProblem,
  segmentName,
} from "./layout.ts";
import type { LogReaderOptions } from "./log-reader.ts";
import { readEntryAt } from "./read-entry.ts";
import { SecondLook } from "./second-look.ts";
import { type Segment, Segments } from "./segments.ts";

/** Whole records of one segment, one after another. */
export interface TailRun {
  /** As it was asked for. The first record's own position is larger where a segment begins in between. */
  readonly from: number;
  /** Where to read on: the position behind the last record. */
  readonly to: number;
  /** The records and nothing else. Lent until the next read. */
  readonly bytes: Uint8Array;
  /** Of their segment: the checksum of each record starts from it. */
  readonly salt: number;
}

/** Memory that stays taken between reads; one long record may take more for as long as it is looked at. */
const keptBytesMax = 4 << 20;

export class TailReader {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #segments: Segments;
  readonly #secondLook: SecondLook;
  #buffer = new Uint8Array();

  constructor(disk: Disk, folder: string, options: LogReaderOptions = {}) {
    this.#disk = disk;
    this.#folder = folder;
    this.#segments = new Segments(disk, []);
    this.#secondLook = new SecondLook(disk, folder, options.pause);
  }

  /**
   * Reads records from a position on, which is 0, or the `to` of an earlier run: at least one, and more until about
   * `bytesMax` bytes. Undefined when none lies before `end`, up to which the log must be durable.
   * Errors: `LOG_DAMAGED`, also for a position at which no record begins.
   */
  read(from: number, end: number, bytesMax: number): TailRun | undefined {
    for (let at = from; at < end; ) {
      const segment = this.#segmentAt(at, end);
      const offset = Math.max(segmentHeaderBytes, at - segment.base);
      const limit = Math.min(segment.length, end - segment.base);
      if (at > segment.base && at < segment.base + segmentHeaderBytes) {
        throw damaged(segment.file, at - segment.base, "there is no record where one must begin");
      }
      if (offset < limit) return this.#readRun(from, segment, offset, limit, bytesMax);
      // Nothing but a header: what follows stands in the next one.
      if (segment.base + segment.length >= end) return undefined;
      at = segment.base + segment.length;
    }
    return undefined;
  }

  /** Whether a run can begin at a position below `end`: for those that come from outside. Errors: `LOG_DAMAGED`. */
  beginsAt(position: number, end: number): boolean {
    const segment = this.#segmentAt(position, end);
    const offset = position - segment.base;
    if (offset === 0) return true;
    if (offset < segmentHeaderBytes || offset % 8 !== 0) return false;
    const header = new Uint8Array(recordHeaderBytes);
    const read = this.#segments.read(segment, header, offset);
    return typeof recordLengthAt(header, 0, read, position) === "number";
  }

  /** The entry at a position below `end`, with bytes of its own. Errors: `LOG_DAMAGED`, also where no entry begins. */
  entryAt(position: number, end: number): EntryView {
    this.#segmentAt(position, end);
    return readEntryAt(this.#segments, position, this.#secondLook);
  }

  /** Where the segment begins that holds a position below `end`: reading can begin there. */
  segmentBase(position: number, end: number): number {
    return this.#segmentAt(position, end).base;
  }

  close(): void {
    this.#segments.close();
  }

  #readRun(from: number, segment: Segment, offset: number, limit: number, bytesMax: number): TailRun {
    let bytes = this.#fill(segment, offset, Math.min(limit - offset, Math.max(bytesMax, recordHeaderBytes)));
    const first = this.#lengthAt(bytes, 0, segment, offset, limit);
    if (first > bytes.length) bytes = this.#fill(segment, offset, first);
    let used = 0;
    while (bytes.length - used >= recordHeaderBytes) {
      const length = this.#lengthAt(bytes, used, segment, offset + used, limit);
      if (used + length > bytes.length) break;
      this.#check(bytes, used, length, segment, offset + used);
      used += length;
    }
    return { from, to: segment.base + offset + used, bytes: bytes.subarray(0, used), salt: segment.salt };
  }

  #fill(segment: Segment, offset: number, length: number): Uint8Array {
    if (this.#buffer.length < length || this.#buffer.length > keptBytesMax) this.#buffer = new Uint8Array(length);
    const bytes = this.#buffer.subarray(0, length);
    const read = this.#segments.read(segment, bytes, offset);
    if (read < length) {
      throw damaged(segment.file, offset, `the file ends too early: wanted ${length} bytes, found ${read}`);
    }
    return bytes;
  }

  // An erasure leaves a record's header as it is, but for its checksum.
  #lengthAt(bytes: Uint8Array, at: number, segment: Segment, offset: number, limit: number): number {
    const length = recordLengthAt(bytes, at, bytes.length - at, segment.base + offset);
    if (typeof length === "string") throw damaged(segment.file, offset, length);
    if (length > limit - offset) {
      throw damaged(segment.file, offset, `a record claims ${length} bytes, ${limit - offset} are durable`);
    }
    return length;
  }

  #check(bytes: Uint8Array, at: number, length: number, segment: Segment, offset: number): void {
    const holds = () => recordChecksumHolds(bytes, at, length, segment.salt);
    if (holds()) return;
    const record = bytes.subarray(at, at + length);
    const readAgain = () => void this.#segments.read(segment, record, offset);
    if (this.#secondLook.settles(segment, segment.base + offset, record, readAgain, holds)) return;
    throw damaged(segment.file, offset, "a record's checksum does not match");
  }

  // --- Segments ---

  // The segment that holds a position below `end`, or whose header stands there.
  #segmentAt(position: number, end: number): Segment {
    const { list } = this.#segments;
    if (list.length === 0) this.#list();
    for (;;) {
      const found = this.#segments.at(position);
      if (found !== undefined) return found;
      const last = this.#segments.last;
      if (last === undefined) {
        list.push(this.#open(0));
        continue;
      }
      invariant(position >= last.base, "T3/segments-join", { position, base: last.base });
      if (!this.#grow(last, end)) list.push(this.#open(last.base + last.length));
    }
  }

  // The folder is looked into once, so that a reader who begins late need not walk through all segments.
  #list(): void {
    const bases = this.#disk.list(this.#folder).map(baseOfName);
    const known = bases.filter((base) => base !== undefined).sort((a, b) => a - b);
    // The newest may be one that is being made: it is opened when the log is durable beyond its start.
    for (const [index, base] of known.slice(0, -1).entries()) {
      this.#segments.list.push({ ...this.#open(base), length: known[index + 1]! - base });
    }
  }

  /**
   * Takes note of what is durable of the last segment that is known. False when that is all there will be: the log goes on in
   * the next one.
   *
   * The file may be longer than what is durable, by a group under way, which a failed write can cut again; so its length says
   * how long the segment is only once the log is durable beyond it.
   */
  #grow(last: Segment, end: number): boolean {
    const size = this.#segments.size(last);
    const length = Math.min(size, end - last.base);
    if (length <= last.length) return false;
    last.length = length;
    return true;
  }

  #open(base: number): Segment {
    const file = path.join(this.#folder, segmentName(base));
    const opened = this.#disk.open(file, "read");
    try {
      const bytes = new Uint8Array(segmentHeaderBytes);
      const read = opened.read(bytes, 0);
      const problem = segmentHeaderProblem(bytes.subarray(0, read));
      const header = problem ?? decodeSegmentHeader(bytes);
      if (typeof header === "string") throw damaged(file, 0, header);
      if (header.base !== base) throw damaged(file, 0, `its header says base ${header.base}`);
      return { ...header, file, length: segmentHeaderBytes };
    } finally {
      opened.close();
    }
  }
}

/**
 * Visits each entry of whole records, whose checksums hold: `bytes[from, to)`, the first of them at a position of the log.
 * The view is reused. Errors: `LOG_DAMAGED` where a writer was wrong.
 */
export function visitRecords(
  bytes: Uint8Array,
  from: number,
  to: number,
  position: number,
  view: EntryView,
  visit: (entry: EntryView, record: number) => void,
): void {
  for (let at = from; at < to; ) {
    const record = position + at - from;
    const length = recordLengthAt(bytes, at, to - at, record);
    if (typeof length === "string") throw damaged(`position ${record}`, 0, length);
    let offset = recordHeaderBytes;
    for (let left = recordEntryCount(bytes, at); left > 0; left--) {
      const entryLength = offset + entryHeaderBytes <= length ? entryLengthAt(bytes, at + offset) : 0;
      if (entryLength < entryHeaderBytes || offset + entryLength > length) {
        throw damaged(`position ${record}`, offset, "an entry reaches past its record");
      }
      readEntry(bytes, at + offset, record + offset, view);
      visit(view, record);
      offset += entryLength;
    }
    at += length;
  }
}

/** Position of the first record of a run. */
export function recordPosition(run: TailRun): number {
  return run.to - run.bytes.length;
}

function damaged(file: string, offset: number, problem: string): HeddleError {
  return new HeddleError("LOG_DAMAGED", { file, offset, problem });
}
