// For sibling packages and tests.

export { crc32 } from "./checksum.ts";
export { type Disk, type DiskFile, nodeDisk } from "./disk.ts";
export { type DurableGroup, EventLog, type EventLogOptions, type RecoveryReport } from "./event-log.ts";
export * from "./index.ts";
export {
  type EntryHeader,
  type EntryView,
  entryChecksumHolds,
  entryFlags,
  entryHeaderBytes,
  newEntryView,
  recordHeaderBytes,
  segmentHeaderBytes,
} from "./layout.ts";
export { LogReader } from "./log-reader.ts";
export type { ScanResult } from "./scan.ts";
