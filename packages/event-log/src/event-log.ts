// EventLog: the append-only truth of one shard.
//
// Entries go into the open commit group; `flush` writes the group as one record and syncs it, while the next group
// fills. Owns the order of records, the roll to a new segment, and recovery. Does not know what an entry means.
//
// L1 (P2). `onDurable` is called for a group only after its sync has returned (mode `fsync`).
// L2 (P5). At most one record is on its way to the disk; recovery cuts that one if it is torn, and refuses all else.
// L3. After a failed write or sync this object takes nothing more. A failed sync is never repeated: the kernel may have
//     dropped the pages and would report success the second time.
// Not promised: that a group which failed is absent from the disk. It may have been written whole; it was not acknowledged.
// Not promised in mode `os`: that the log opens after a power cut. More than one record may then be incomplete, which
// looks like damage and is refused like damage. A killed process loses nothing in either mode.
import path from "node:path";
import type { Clock, Random } from "@heddle/kernel";
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { CommitGroup } from "./commit-group.ts";
import type { Disk, DiskFile } from "./disk.ts";
import {
  type EntryHeader,
  type EntryView,
  encodeSegmentHeader,
  entryChecksumHolds,
  entryHeaderBytes,
  entryLengthAt,
  newEntryView,
  readEntry,
  recordChecksumHolds,
  segmentHeaderBytes,
  segmentName,
} from "./layout.ts";
import { type ScanResult, scanRecords } from "./scan.ts";
import { type FoundSegments, findSegments, type Segment, Segments } from "./segments.ts";

/** `fsync`: a group is durable when `fdatasync` has returned. `os`: when the write has; a power cut may lose it. */
export type Durability = "fsync" | "os";

export interface EventLogOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly shard: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly durability: Durability;
  /** A segment takes no further group once it is this long. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Everything before this position is known to have been durable: if it is not there now, that is damage. */
  readonly knownEnd: number;
  /** Where to begin visiting: the start of a record, or 0. */
  readonly replayFrom: number;
  /** Called for each entry from `replayFrom` on, in order. The view is reused and its bytes are only lent. */
  readonly onEntry: (entry: EntryView) => void;
  /** Called at named places on the way of a group, so that tests can kill the process just there. */
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export interface RecoveryReport {
  /** Bytes of a torn tail that were cut off. */
  readonly cutBytes: number;
  readonly cutFile: string | undefined;
  /** Records read. */
  readonly records: number;
}

export interface DurableGroup {
  /** The log's end after this group. */
  readonly end: number;
  readonly entries: number;
  readonly events: number;
  readonly bytes: number;
  /** Microseconds from the write to the return of the sync. */
  readonly tookUs: number;
}

const defaultSegmentBytes = 64 << 20;

/** No room on the disk, or none left of the user's share of it. */
const fullDiskCodes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

export class EventLog {
  readonly recovery: RecoveryReport;
  readonly #options: EventLogOptions;
  readonly #segments: Segments;
  readonly #segmentBytes: number;
  #file: DiskFile | undefined;
  #filling = new CommitGroup();
  #spare = new CommitGroup();
  #inFlight = false;
  #closed = false;
  #durableEnd: number;
  /** Where the group that fills now will start: known because the one in flight has its final length. */
  #nextGroupAt: number;
  #failure: HeddleError | undefined;
  onDurable: (group: DurableGroup) => void = () => {};
  onFailure: (error: HeddleError) => void = () => {};

  /** Opens the log and recovers it. Errors: `LOG_DAMAGED`; whatever the disk throws. */
  static open(options: EventLogOptions): EventLog {
    options.disk.makeFolder(options.folder);
    const found = findSegments(options.disk, options.folder);
    const foreign = found.segments.find((segment) => segment.shard !== options.shard);
    if (foreign !== undefined) {
      throw new HeddleError("LOG_DAMAGED", {
        file: foreign.file,
        offset: 10,
        problem: `it belongs to shard ${foreign.shard}, not ${options.shard}`,
      });
    }
    const report = recover(options, found);
    return new EventLog(options, new Segments(options.disk, found.segments), report);
  }

  private constructor(options: EventLogOptions, segments: Segments, recovery: RecoveryReport) {
    this.#options = options;
    this.#segments = segments;
    this.recovery = recovery;
    this.#segmentBytes = options.segmentBytes ?? defaultSegmentBytes;
    if (segments.last !== undefined) this.#file = options.disk.open(segments.last.file, "write");
    this.#durableEnd = segments.end;
    this.#nextGroupAt = this.#placeOfNextGroup(segments.end, segments.last);
    this.#filling.position = this.#nextGroupAt;
  }

  /** Position after the last durable record. */
  get durableEnd(): number {
    return this.#durableEnd;
  }

  /** Bytes in the group that fills now. */
  get fillingBytes(): number {
    return this.#filling.entries === 0 ? 0 : this.#filling.length;
  }

  get fillingEntries(): number {
    return this.#filling.entries;
  }

  /** Whether a group is on its way to the disk. False again once it is durable or has failed. */
  get inFlight(): boolean {
    return this.#inFlight;
  }

  get durability(): Durability {
    return this.#options.durability;
  }

  /** Whether a write or sync has failed (L3): this object takes nothing more, but durable entries can still be read. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Room for a body of at most `bodyBytesMax` in the open group; nothing is taken in until `add`. */
  reserve(bodyBytesMax: number): { bytes: Uint8Array; at: number } {
    return this.#filling.reserve(bodyBytesMax);
  }

  /** Takes in the entry whose body stands where the last `reserve` said. Returns its position in the log. */
  add(header: EntryHeader, bodyBytes: number): number {
    invariant(this.#failure === undefined, "L3/no-add-after-failure");
    invariant(!this.#closed, "log/open");
    return this.#filling.add(header, bodyBytes);
  }

  /**
   * Sends the open group on its way, unless one is under way already (then the caller calls again when it is durable).
   * Does nothing for an empty group, after a failure, and once closed.
   */
  flush(): void {
    if (this.#inFlight || this.#filling.entries === 0 || this.#failure !== undefined || this.#closed) return;
    const group = this.#filling;
    this.#filling = this.#spare;
    this.#spare = group;
    this.#inFlight = true;
    const startedAt = this.#options.clock.monotonic();
    try {
      const segment = this.#segmentFor(group.position);
      group.seal(segment.salt);
      this.#options.crashPoint?.("log:before-write");
      this.#file!.write(group.bytes, 0, group.length, group.position - segment.base);
      segment.length = group.position - segment.base + group.length;
      this.#options.crashPoint?.("log:after-write");
    } catch (cause) {
      this.#fail(cause);
      return;
    }
    const end = group.position + group.length;
    this.#nextGroupAt = this.#placeOfNextGroup(end, this.#segments.last);
    this.#filling.clear();
    this.#filling.position = this.#nextGroupAt;
    const durable = (error: Error | null) => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      this.#options.crashPoint?.("log:after-sync");
      this.#inFlight = false;
      this.#durableEnd = end;
      this.onDurable({
        end,
        entries: group.entries,
        events: group.events,
        bytes: group.length,
        tookUs: (this.#options.clock.monotonic() - startedAt) * 1000,
      });
    };
    if (this.#options.durability === "fsync") this.#file!.sync(durable);
    else setImmediate(durable, null);
  }

  /**
   * Reads one durable entry into a view with bytes of its own.
   * Errors: `LOG_DAMAGED` when its checksum does not hold or there is no entry at that position.
   */
  read(position: number): EntryView {
    invariant(!this.#closed, "log/open");
    invariant(position < this.#durableEnd, "log/read-durable-only", { position, durableEnd: this.#durableEnd });
    return readEntryAt(this.#segments, position);
  }

  /**
   * Closes the files. A group that is under way is waited for by the caller, who knows when it is durable; one that
   * still fills is dropped.
   */
  close(): void {
    invariant(!this.#inFlight, "log/close-idle");
    this.#closed = true;
    this.#segments.close();
    this.#file?.close();
    this.#file = undefined;
  }

  get segments(): readonly Segment[] {
    return this.#segments.list;
  }

  #fail(cause: unknown): void {
    const full = fullDiskCodes.has((cause as NodeJS.ErrnoException).code ?? "");
    this.#inFlight = false;
    this.#failure = full
      ? new HeddleError("DISK_FULL", { shard: this.#options.shard, path: this.#options.folder }, { cause })
      : new HeddleError(
          "SHARD_STOPPED",
          { shard: this.#options.shard, reason: `the log could not be written: ${(cause as Error).message}` },
          { cause },
        );
    this.onFailure(this.#failure);
  }

  #placeOfNextGroup(end: number, last: Segment | undefined): number {
    const rolls = last === undefined || end - last.base >= this.#segmentBytes;
    return rolls ? end + segmentHeaderBytes : end;
  }

  // The last segment, or a new one when the group was placed behind a header that does not exist yet.
  #segmentFor(position: number): Segment {
    const end = this.#segments.end;
    if (position === end && this.#segments.last !== undefined) return this.#segments.last;
    invariant(position === end + segmentHeaderBytes, "L2/group-begins-a-segment", { position, end });
    const { disk, folder, shard, clock, random, durability } = this.#options;
    // A segment that is followed by another must be whole, or the log would not open after a power cut.
    if (durability === "os") this.#file?.syncNow();
    const header = { shard, base: end, salt: random.safeInteger() >>> 0, createdMs: clock.now() };
    const file = path.join(folder, segmentName(end));
    const opened = disk.open(file, "create");
    try {
      opened.write(encodeSegmentHeader(header), 0, segmentHeaderBytes, 0);
      this.#options.crashPoint?.("log:segment-created");
      opened.syncNow();
      disk.syncFolder(folder);
    } catch (error) {
      opened.close();
      throw error;
    }
    this.#file?.close();
    this.#file = opened;
    const segment = { ...header, file, length: segmentHeaderBytes };
    this.#segments.list.push(segment);
    return segment;
  }
}

// Checks the records from `replayFrom` on, cuts a torn tail, and makes sure that what stays is durable.
function recover(options: EventLogOptions, found: FoundSegments): RecoveryReport {
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

/** Bytes read at first: an entry with one event fits. */
const firstReadBytes = 512;

export function readEntryAt(segments: Segments, position: number): EntryView {
  const segment = segments.at(position);
  if (segment === undefined) {
    throw new HeddleError("LOG_DAMAGED", {
      file: segments.last?.file ?? "",
      offset: segments.last?.length ?? 0,
      problem: `there is no position ${position}; the log ends at ${segments.end}`,
    });
  }
  const offset = position - segment.base;
  const damaged = (problem: string) => new HeddleError("LOG_DAMAGED", { file: segment.file, offset, problem });
  const available = segment.length - offset;
  let bytes = new Uint8Array(Math.min(firstReadBytes, available));
  let read = segments.read(segment, bytes, offset);
  if (read < entryHeaderBytes) throw damaged("it ends inside an entry's header");
  const length = entryLengthAt(bytes, 0);
  if (length < entryHeaderBytes || length > available) throw damaged(`an entry claims ${length} bytes`);
  if (length > bytes.length) {
    bytes = new Uint8Array(length);
    read = segments.read(segment, bytes, offset);
  }
  if (read < length) throw damaged(`an entry of ${length} bytes begins, ${read} are there`);
  const view = newEntryView();
  readEntry(bytes, 0, position, view);
  if (!entryChecksumHolds(view)) throw damaged("an entry's checksum does not match");
  return view;
}
