// Recovery: what opening a log does before anything is built on it (P5).
//
// The records from a given place on are read and checked, a torn tail is cut, what stays is made durable. All other
// damage is refused, and then not a byte is changed.
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import type { Disk, DiskFile } from "./disk.ts";
import { type EntryView, encodeSegmentHeader, recordChecksumHolds, segmentHeaderBytes } from "./layout.ts";
import { type ScanResult, scanRecords } from "./scan.ts";
import type { FoundSegments, Segment } from "./segments.ts";

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly folder: string;
  /** Everything before this position is known to have been durable: if it is not there now, that is damage. */
  readonly knownEnd: number;
  /** Where to begin visiting: the start of a record, or 0. */
  readonly replayFrom: number;
  /** Called for each entry from `replayFrom` on, in order. The view is reused and its bytes are only lent. */
  readonly onEntry: (entry: EntryView) => void;
}

export interface RecoveryReport {
  /** Bytes of a torn tail that were cut off. */
  readonly cutBytes: number;
  readonly cutFile: string | undefined;
  /** Records read. */
  readonly records: number;
}

/** Errors: `LOG_DAMAGED`; whatever the disk throws. */
export function recover(options: RecoveryOptions, found: FoundSegments): RecoveryReport {
  const { disk, folder, replayFrom } = options;
  const knownEnd = Math.max(options.knownEnd, replayFrom);
  const last = found.segments.at(-1);
  const end = last === undefined ? 0 : last.base + last.length;
  if (end < knownEnd) {
    throw new HeddleError("LOG_DAMAGED", {
      file: last?.file ?? folder,
      offset: last?.length ?? 0,
      problem: `the log ends at position ${end}, but was known to be durable up to ${knownEnd}`,
    });
  }
  const scan = scanRecords(disk, found, replayFrom, options.onEntry);
  if (scan.tail !== undefined) {
    const { segment, offset, problem } = scan.tail;
    if (scan.end < knownEnd) throw new HeddleError("LOG_DAMAGED", { file: segment.file, offset, problem });
    if (scan.end === replayFrom) checkRecordBegins(disk, segment, replayFrom);
  }
  if (last !== undefined) settleEnd(disk, folder, last, scan, knownEnd);
  if (found.unfinished !== undefined) {
    disk.remove(found.unfinished);
    disk.syncFolder(folder);
  }
  return { cutBytes: end - scan.end, cutFile: scan.tail?.segment.file, records: scan.records };
}

// Nothing was read before this tail: only the caller's word says that a record begins there. Cutting elsewhere would
// leave half of a record behind, so the segment is walked from its start first.
function checkRecordBegins(disk: Disk, segment: Segment, position: number): void {
  const walked = scanRecords(disk, { segments: [segment], unfinished: undefined }, segment.base, () => {});
  if (walked.end === position) return;
  throw new HeddleError("LOG_DAMAGED", {
    file: segment.file,
    offset: position - segment.base,
    problem: `the log was to be read from position ${position}, but no record begins there`,
  });
}

// Cuts what stands after the last good record, and makes what stays durable before anything is built on it.
//
// What was written last may stand in the page cache only: its sync failed, or never returned before the process died.
// A sync alone does not help, because the pages of a failed one count as clean. So the last record, or the header where
// there is no record yet, is written once more. The sync comes even when nothing is: a cut may have been left undone.
function settleEnd(disk: Disk, folder: string, segment: Segment, scan: ScanResult, knownEnd: number): void {
  const file = disk.open(segment.file, "write");
  try {
    const length = scan.end - segment.base;
    if (length < segment.length) file.truncate(length);
    segment.length = length;
    if (length === segmentHeaderBytes) {
      file.write(encodeSegmentHeader(segment), 0, segmentHeaderBytes, 0);
    } else if (scan.end > knownEnd) {
      const bytes = readLastRecord(file, segment, scan.lastRecord);
      file.write(bytes, 0, bytes.length, length - bytes.length);
    }
    file.syncNow();
  } finally {
    file.close();
  }
  // The first record of a segment was written only after its name was durable.
  if (segment.length === segmentHeaderBytes) disk.syncFolder(folder);
}

// Checked again, because between two reads the cache may have dropped the record and the disk may not have it.
function readLastRecord(file: DiskFile, segment: Segment, position: number | undefined): Uint8Array {
  invariant(position !== undefined && position > segment.base, "L2/last-record-was-seen", { position });
  const offset = position - segment.base;
  const bytes = new Uint8Array(segment.length - offset);
  file.read(bytes, offset);
  if (!recordChecksumHolds(bytes, 0, bytes.length, segment.salt)) {
    throw new HeddleError("LOG_DAMAGED", { file: segment.file, offset, problem: "a record changed while it was read" });
  }
  return bytes;
}
