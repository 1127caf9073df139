// SegmentBytes: one segment of a log in memory, whole: reading it from beside a node, and walking through it.
import fs from "node:fs";
import {
  decodeSegmentHeader,
  type EntryView,
  entryChecksumHolds,
  entryHeaderBytes,
  entryLengthAt,
  type LogReader,
  newEntryView,
  readEntry,
  recordChecksumHolds,
  recordEntryCount,
  recordHeaderBytes,
  recordLengthAt,
  type SegmentHeader,
  sealRecord,
  segmentHeaderBytes,
  segmentHeaderProblem,
} from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";

/** A segment up to the end of a record. */
export interface SourceSegment extends SegmentHeader {
  readonly file: string;
  readonly length: number;
}

/** Errors: `LOG_DAMAGED`. */
export function readHeader(file: string): SegmentHeader {
  const bytes = readStart(file);
  const problem = segmentHeaderProblem(bytes);
  const header = problem ?? decodeSegmentHeader(bytes);
  if (typeof header === "string") throw new HeddleError("LOG_DAMAGED", { file, offset: 0, problem: header });
  return header;
}

function readStart(file: string): Uint8Array {
  const bytes = new Uint8Array(segmentHeaderBytes);
  const descriptor = fs.openSync(file, "r");
  try {
    return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, bytes.length, 0));
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Thrown through a scan to leave it at the segment's end; the log's reader closes its file on the way. */
const endOfSegment = Symbol("end of segment");

/**
 * The bytes of a segment up to its length, as they stand once every erasure under way is done with.
 *
 * Put together from what the log's own reader gives, because that one knows how to read beside a node which overwrites
 * entries. Errors: `LOG_DAMAGED`, also for an entry whose own checksum does not hold in a record whose does.
 */
export function readSegment(log: LogReader, segment: SourceSegment): Uint8Array {
  const { base, salt, file, length } = segment;
  const bytes = new Uint8Array(length);
  bytes.set(readStart(file));
  const damaged = (offset: number, problem: string) => new HeddleError("LOG_DAMAGED", { file, offset, problem });
  let record = segmentHeaderBytes;
  const onEntry = (entry: EntryView): void => {
    const from = entry.bodyFrom - entryHeaderBytes;
    const offset = entry.position - base;
    if (entry.position - base + entry.bodyTo - from > length) throw damaged(record, "a record grew while it was read");
    if (!entryChecksumHolds(entry)) throw damaged(offset, "an entry's checksum does not match");
    bytes.set(entry.bytes.subarray(from, entry.bodyTo), offset);
    // The record's header lies before its first entry, in the same bytes.
    if (offset === record + recordHeaderBytes) bytes.set(entry.bytes.subarray(from - recordHeaderBytes, from), record);
  };
  const onRecord = (position: number, recordLength: number): void => {
    record = position - base + recordLength;
    if (record > length || !recordChecksumHolds(bytes, position - base, recordLength, salt)) {
      throw damaged(position - base, "a record changed while it was read");
    }
    if (record === length) throw endOfSegment;
  };
  if (length === segmentHeaderBytes) return bytes;
  try {
    log.scan(base, onEntry, onRecord);
  } catch (thrown) {
    if (thrown === endOfSegment) return bytes;
    throw thrown;
  }
  throw damaged(record, `it ends before offset ${length}, where a record ended`);
}

/**
 * Visits the entries of a segment in memory whose records are known to be good, and after those of a record the record.
 * The view is reused.
 */
export function walkSegment(
  bytes: Uint8Array,
  base: number,
  onEntry: (entry: EntryView, at: number) => void,
  onRecord?: (at: number, length: number) => void,
): void {
  const view = newEntryView();
  for (let record = segmentHeaderBytes; record < bytes.length; ) {
    const length = recordLengthAt(bytes, record, bytes.length - record, base + record);
    if (typeof length === "string") throw new Error(`offset ${record}: ${length}`);
    let at = record + recordHeaderBytes;
    for (let left = recordEntryCount(bytes, record); left > 0; left--) {
      const entryLength = entryLengthAt(bytes, at);
      if (entryLength < entryHeaderBytes || at + entryLength > record + length) {
        throw new Error(`offset ${at}: an entry reaches past its record`);
      }
      readEntry(bytes, at, base + at, view);
      onEntry(view, at);
      at += entryLength;
    }
    onRecord?.(record, length);
    record += length;
  }
}

/** Renews a record's checksum after its entries were changed. */
export function resealRecord(bytes: Uint8Array, at: number, length: number, header: SegmentHeader): void {
  const entries = recordEntryCount(bytes, at);
  sealRecord(bytes.subarray(at, at + length), length, { entries, position: header.base + at, salt: header.salt });
}
