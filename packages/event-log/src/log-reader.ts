// LogReader: a shard's log for those who only read: audit, doctor, index rebuild, the benchmark's referee.
//
// May run beside a node that writes: what it finds incomplete at the very end is a group under way, not a fault.
import type { Disk } from "./disk.ts";
import { readEntryAt } from "./event-log.ts";
import type { EntryView } from "./layout.ts";
import { type ScanResult, scanRecords } from "./scan.ts";
import { type FoundSegments, findSegments, Segments } from "./segments.ts";

export class LogReader {
  readonly #disk: Disk;
  readonly #found: FoundSegments;
  readonly #segments: Segments;

  /** Errors: `LOG_DAMAGED` for headers that do not hold and gaps between segments. */
  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#found = findSegments(disk, folder);
    this.#segments = new Segments(disk, this.#found.segments);
  }

  /** Bytes of all segments together. */
  get end(): number {
    return this.#segments.end;
  }

  get segmentFiles(): readonly string[] {
    return this.#segments.list.map((segment) => segment.file);
  }

  /** Visits every entry from a position on, which must be the start of a record. Errors: `LOG_DAMAGED`. A torn tail is told in the result. */
  scan(
    from: number,
    visit: (entry: EntryView) => void,
    onRecord?: (position: number, length: number) => void,
  ): ScanResult {
    return scanRecords(this.#disk, this.#found, from, visit, onRecord);
  }

  read(position: number): EntryView {
    return readEntryAt(this.#segments, position);
  }

  close(): void {
    this.#segments.close();
  }
}
