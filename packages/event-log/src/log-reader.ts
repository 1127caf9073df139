// LogReader: a shard's log for those who only read: audit, doctor, index rebuild, the benchmark's referee.
//
// May run beside a node that writes: what it finds incomplete at the very end is a group under way, not a fault; and
// what it finds half overwritten is an erasure under way, or one that a dead node left, which is read as it will be.
import type { Disk } from "./disk.ts";
import type { EntryView } from "./layout.ts";
import { readEntryAt } from "./read-entry.ts";
import { type ScanResult, scanRecords } from "./scan.ts";
import { SecondLook } from "./second-look.ts";
import { type FoundSegments, findSegments, Segments } from "./segments.ts";

export interface LogReaderOptions {
  /** Waits before bytes that a node is overwriting are read once more, in milliseconds. By default the thread sleeps. */
  readonly pause?: (ms: number) => void;
}

export class LogReader {
  readonly #disk: Disk;
  readonly #found: FoundSegments;
  readonly #segments: Segments;
  readonly #secondLook: SecondLook;

  /** Errors: `LOG_DAMAGED` for headers that do not hold and gaps between segments. */
  constructor(disk: Disk, folder: string, options: LogReaderOptions = {}) {
    this.#disk = disk;
    this.#found = findSegments(disk, folder);
    this.#segments = new Segments(disk, this.#found.segments);
    this.#secondLook = new SecondLook(disk, folder, options.pause);
  }

  /** Bytes of all segments together. */
  get end(): number {
    return this.#segments.end;
  }

  /** Where the last segment begins. */
  get lastBase(): number {
    return this.#segments.last?.base ?? 0;
  }

  get segmentFiles(): readonly string[] {
    return this.#segments.list.map((segment) => segment.file);
  }

  /**
   * Visits every entry from a position on, which must be the start of a record; erased ones too, as their flag says.
   * Errors: `LOG_DAMAGED`. A torn tail is told in the result.
   */
  scan(
    from: number,
    visit: (entry: EntryView) => void,
    onRecord?: (position: number, length: number) => void,
  ): ScanResult {
    return scanRecords(this.#disk, this.#found, from, visit, onRecord, this.#secondLook);
  }

  read(position: number): EntryView {
    return readEntryAt(this.#segments, position, this.#secondLook);
  }

  close(): void {
    this.#segments.close();
  }
}
