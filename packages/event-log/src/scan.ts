// Scan: reads records in order and tells a torn tail from damage (P5).
//
// At most one group is ever on its way to the disk, so a crash can leave at most one record incomplete, at the very
// end. Whatever does not hold anywhere else was changed after it had been durable: damage, never skipped.
//
// Three things show that a bad record had been durable once, so that it is no torn tail: a later segment, even one
// that was only just begun; a good record behind it; any byte beyond the end that its own header claims.
// Not promised: to tell a last record that was damaged later from a torn one. The caller's knowledge of how far the log
// was durable does that.
import { HeddleError } from "@heddle/kernel";
import type { Disk } from "./disk.ts";
import {
  type EntryView,
  entryHeaderBytes,
  entryLengthAt,
  newEntryView,
  readEntry,
  recordChecksumHolds,
  recordEntryCount,
  recordHeaderBytes,
  recordLengthAt,
  segmentHeaderBytes,
} from "./layout.ts";
import type { SecondLook } from "./second-look.ts";
import type { FoundSegments, Segment } from "./segments.ts";

/** Bytes read from a segment at a time; a longer record is read whole. */
const windowBytes = 4 << 20;

export interface ScanResult {
  /** Position after the last good record. */
  readonly end: number;
  /** Position of the last good record; undefined when none was seen. */
  readonly lastRecord: number | undefined;
  /** What stands after `end`, if anything does: a torn tail. */
  readonly tail: { readonly segment: Segment; readonly offset: number; readonly problem: string } | undefined;
  readonly records: number;
}

/**
 * Visits every entry from a position on, which must be the start of a record (or the log's end).
 * The view given to `visit` is reused, and its bytes are only lent. Beside a node that may be erasing, what does not
 * hold gets a second look.
 *
 * Errors: `LOG_DAMAGED` with file and offset. A torn tail is not an error: see {@link ScanResult}.
 */
export function scanRecords(
  disk: Disk,
  { segments, unfinished }: FoundSegments,
  from: number,
  visit: (entry: EntryView) => void,
  onRecord?: (position: number, length: number) => void,
  secondLook?: SecondLook,
): ScanResult {
  const view = newEntryView();
  let lastRecord: number | undefined;
  let records = 0;
  let end = 0;
  for (const [index, segment] of segments.entries()) {
    end = segment.base + segment.length;
    if (end <= from) continue;
    const isLast = index === segments.length - 1 && unfinished === undefined;
    const reader = new RecordReader(disk, segment, Math.max(segmentHeaderBytes, from - segment.base), secondLook);
    try {
      for (;;) {
        const found = reader.next();
        if (found === undefined) break;
        if (typeof found !== "number") {
          const { offset } = reader;
          const { problem } = found;
          if (!isLast || !found.mayBeTorn || reader.validRecordAfter(offset)) {
            throw new HeddleError("LOG_DAMAGED", { file: segment.file, offset, problem });
          }
          return { end: segment.base + offset, lastRecord, tail: { segment, offset, problem }, records };
        }
        const position = segment.base + reader.offset;
        visitEntries(reader.bytes, reader.at, found, position, segment, view, visit);
        onRecord?.(position, found);
        lastRecord = position;
        records++;
        reader.advance(found);
      }
    } finally {
      reader.close();
    }
  }
  return { end, lastRecord, tail: undefined, records };
}

function visitEntries(
  bytes: Uint8Array,
  at: number,
  length: number,
  position: number,
  segment: Segment,
  view: EntryView,
  visit: (entry: EntryView) => void,
): void {
  let offset = recordHeaderBytes;
  for (let left = recordEntryCount(bytes, at); left > 0; left--) {
    const entryLength = offset + entryHeaderBytes <= length ? entryLengthAt(bytes, at + offset) : 0;
    if (entryLength < entryHeaderBytes || offset + entryLength > length) {
      // The checksum held, so these bytes are as they were written: the writer was wrong, not the disk.
      throw new HeddleError("LOG_DAMAGED", {
        file: segment.file,
        offset: position - segment.base + offset,
        problem: "an entry reaches past its record",
      });
    }
    readEntry(bytes, at + offset, position + offset, view);
    visit(view);
    offset += entryLength;
  }
}

/** Why there is no good record at a place, and whether a write that was cut short could leave it so. */
interface BadRecord {
  readonly problem: string;
  readonly mayBeTorn: boolean;
}

/** Reads a segment through a window that slides over the file. */
class RecordReader {
  readonly #segment: Segment;
  readonly #file;
  readonly #secondLook: SecondLook | undefined;
  #window: Uint8Array;
  #windowStart = 0;
  #windowLength = 0;
  /** Offset in the file of the record at hand. */
  offset: number;

  constructor(disk: Disk, segment: Segment, offset: number, secondLook: SecondLook | undefined) {
    this.#segment = segment;
    this.#secondLook = secondLook;
    this.#file = disk.open(segment.file, "read");
    this.#window = new Uint8Array(Math.min(windowBytes, Math.max(0, segment.length - offset)));
    this.offset = offset;
  }

  get bytes(): Uint8Array {
    return this.#window;
  }

  /** Offset in `bytes` of the record at hand. */
  get at(): number {
    return this.offset - this.#windowStart;
  }

  /** Length of the next record, what is wrong with it, or undefined at the end of the file. */
  next(): number | BadRecord | undefined {
    const left = this.#segment.length - this.offset;
    if (left <= 0) return undefined;
    this.#fill(this.offset, Math.min(left, recordHeaderBytes));
    const length = recordLengthAt(this.#window, this.at, left, this.#segment.base + this.offset);
    if (typeof length === "string") return { problem: length, mayBeTorn: true };
    if (length > left) return { problem: `a record of ${length} bytes begins, ${left} are there`, mayBeTorn: true };
    this.#fill(this.offset, length);
    if (!this.#holds(length)) {
      return { problem: "a record's checksum does not match", mayBeTorn: length === left };
    }
    return length;
  }

  advance(length: number): void {
    this.offset += length;
  }

  /** Whether any whole record with a good checksum lies after an offset. */
  validRecordAfter(offset: number): boolean {
    for (let at = offset + 8; at + recordHeaderBytes <= this.#segment.length; at += 8) {
      this.offset = at;
      this.#fill(at, recordHeaderBytes);
      const left = this.#segment.length - at;
      const length = recordLengthAt(this.#window, this.at, left, this.#segment.base + at);
      if (typeof length === "string" || length > left) continue;
      this.#fill(at, length);
      if (this.#holds(length)) return true;
    }
    this.offset = offset;
    return false;
  }

  close(): void {
    this.#file.close();
  }

  // Whether the record at hand, which stands in the window, is as it was written.
  #holds(length: number): boolean {
    const { at } = this;
    const holds = () => recordChecksumHolds(this.#window, at, length, this.#segment.salt);
    if (holds()) return true;
    const record = this.#window.subarray(at, at + length);
    const readAgain = () => void this.#file.read(record, this.offset);
    const position = this.#segment.base + this.offset;
    return this.#secondLook?.settles(this.#segment, position, record, readAgain, holds) ?? false;
  }

  // Makes [offset, offset + length) of the file stand in the window.
  #fill(offset: number, length: number): void {
    if (offset >= this.#windowStart && offset + length <= this.#windowStart + this.#windowLength) return;
    if (length > this.#window.length) this.#window = new Uint8Array(length);
    const wanted = Math.min(this.#window.length, this.#segment.length - offset);
    this.#windowStart = offset;
    this.#windowLength = this.#file.read(this.#window.subarray(0, wanted), offset);
    if (this.#windowLength < length) {
      throw new HeddleError("LOG_DAMAGED", {
        file: this.#segment.file,
        offset,
        problem: `the file ended while it was read: wanted ${length} bytes, found ${this.#windowLength}`,
      });
    }
  }
}
