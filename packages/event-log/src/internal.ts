// For sibling packages and tests.

export { crc32 } from "./checksum.ts";
export { type Disk, type DiskFile, nodeDisk } from "./disk.ts";
export { appendIdDigest, appendIdDigestBytes, entityOfEntry, eraseEntry, idDigestOfErased } from "./erased-entry.ts";
export type { Erased } from "./eraser.ts";
export { type DurableGroup, EventLog, type EventLogOptions } from "./event-log.ts";
export * from "./index.ts";
export {
  baseOfName,
  besideFlags,
  decodeSegmentHeader,
  type EntryHeader,
  type EntryView,
  encodeSegmentHeader,
  entryChecksumHolds,
  entryFlags,
  entryHeaderBytes,
  entryLengthAt,
  newEntryView,
  readEntry,
  recordChecksumHolds,
  recordEntryCount,
  recordHeaderBytes,
  recordLengthAt,
  resetFlags,
  type SegmentHeader,
  sealRecord,
  segmentHeaderBytes,
  segmentHeaderProblem,
  segmentName,
  writeEntryHeader,
} from "./layout.ts";
export { LogReader, type LogReaderOptions } from "./log-reader.ts";
export type { RecoveryReport } from "./recovery.ts";
export type { ScanResult } from "./scan.ts";
export { recordPosition, TailReader, type TailRun, visitRecords } from "./tail-reader.ts";
