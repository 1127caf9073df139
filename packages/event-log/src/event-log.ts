// EventLog: the append-only truth of one shard.
//
// Entries go into the open commit group; `flush` writes the group as one record and syncs it, while the next group
// fills. Owns the order of records and the roll to a new segment. Does not know what an entry means; recovery.ts opens
// a log, eraser.ts overwrites entries in it.
//
// L1 (P2). `onDurable` is called for a group only after its sync has returned (mode `fsync`).
// L2 (P5). At most one record is on its way to the disk; recovery cuts that one if it is torn, and refuses all else.
// L3. After a failed write or sync this object takes nothing more. A failed sync is never repeated: the kernel may have
//     dropped the pages and would report success the second time. The same goes for an erasure, but for one that finds
//     the disk full before it has overwritten anything.
// Not promised: that a group which failed is absent from the disk. It may have been written whole; it was not acknowledged.
// Not promised in mode `os`: that the log opens after a power cut. More than one record may then be incomplete, which
// looks like damage and is refused like damage. A killed process loses nothing in either mode.
import path from "node:path";
import type { Clock, Random } from "@heddle/kernel";
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { CommitGroup } from "./commit-group.ts";
import type { DiskFile } from "./disk.ts";
import { type Erased, Eraser } from "./eraser.ts";
import { finishErasure } from "./finish-erasure.ts";
import { type EntryHeader, type EntryView, encodeSegmentHeader, segmentHeaderBytes, segmentName } from "./layout.ts";
import { readEntryAt } from "./read-entry.ts";
import { type RecoveryOptions, type RecoveryReport, recover } from "./recovery.ts";
import { findSegments, type Segment, Segments } from "./segments.ts";

/** `fsync`: a group is durable when its synced write has returned. `os`: when a write has; a power cut may lose it. */
export type Durability = "fsync" | "os";

export interface EventLogOptions extends RecoveryOptions {
  readonly shard: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly durability: Durability;
  /** A segment takes no further group once it is this long. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** A batch of an erasure ends when its journal is this long. Default 512 KiB. */
  readonly eraseJournalBytes?: number;
  /** Called at named places on the way of a group or an erasure, so that tests can kill the process just there. */
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export interface DurableGroup {
  /** The log's end after this group. */
  readonly end: number;
  readonly entries: number;
  readonly events: number;
  readonly bytes: number;
  /**
   * The group's bytes as they stand on the disk: record header, then `entries` entries from `recordHeaderBytes` on, each
   * with its length 4 bytes after its start, then padding. Lent until it is given back (`EventLog.giveBack`); one that never is
   * costs new memory, nothing else.
   */
  readonly record: Uint8Array;
  readonly memory: CommitGroup;
  /** Microseconds from the write to the return of the sync. */
  readonly tookUs: number;
}

const defaultSegmentBytes = 64 << 20;

/** No room on the disk, or none left of the user's share of it. */
const fullDiskCodes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);

function isFullDisk(cause: unknown): boolean {
  return fullDiskCodes.has((cause as NodeJS.ErrnoException | undefined)?.code ?? "");
}

export class EventLog {
  readonly recovery: RecoveryReport;
  readonly #options: EventLogOptions;
  readonly #segments: Segments;
  readonly #segmentBytes: number;
  readonly #eraser: Eraser;
  /** Settles when the last erasure that was asked for is over. */
  #erasing: Promise<unknown> = Promise.resolve();
  /** Why an erasure failed while a group was on its way: the log fails as soon as that group's sync has returned. */
  #failsNext: unknown;
  #file: DiskFile | undefined;
  #filling = new CommitGroup();
  /** Memory for groups to come: what was given back. */
  readonly #spares: CommitGroup[] = [];
  #inFlight = false;
  #closed = false;
  #durableEnd: number;
  /** Where the group that fills now will start: known because the one in flight has its final length. */
  #nextGroupAt: number;
  #failure: HeddleError | undefined;
  onDurable: (group: DurableGroup) => void = () => {};
  onFailure: (error: HeddleError) => void = () => {};

  /**
   * Opens the log, finishes an erasure that a dead process left, and recovers.
   * Errors: `LOG_DAMAGED`; whatever the disk throws.
   */
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
    finishErasure(options, found.segments);
    const report = recover(options, found);
    return new EventLog(options, new Segments(options.disk, found.segments), report);
  }

  private constructor(options: EventLogOptions, segments: Segments, recovery: RecoveryReport) {
    this.#options = options;
    this.#segments = segments;
    this.recovery = recovery;
    this.#segmentBytes = options.segmentBytes ?? defaultSegmentBytes;
    if (segments.last !== undefined) this.#file = options.disk.open(segments.last.file, "write");
    this.#eraser = new Eraser({
      ...options,
      segments,
      syncsGroups: options.durability === "fsync",
      journalBytes: options.eraseJournalBytes,
      crashPoint: options.crashPoint,
      check: () => this.#checkErasable(),
    });
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
    this.#filling = this.#spares.pop() ?? new CommitGroup();
    this.#inFlight = true;
    const startedAt = this.#options.clock.monotonic();
    try {
      const segment = this.#segmentFor(group.position);
      group.seal(segment.salt);
      const { length } = group;
      const end = group.position + length;
      const at = group.position - segment.base;
      const done = (error: Error | null) => this.#onWritten(group, end, startedAt, error);
      this.#options.crashPoint?.("log:before-write");
      if (this.#options.durability === "fsync") this.#file!.writeThrough(group.bytes, 0, length, at, done);
      else {
        this.#file!.write(group.bytes, 0, length, at);
        setImmediate(done, null);
      }
      segment.length = at + length;
      this.#nextGroupAt = this.#placeOfNextGroup(end, segment);
      this.#options.crashPoint?.("log:on-its-way");
    } catch (cause) {
      this.#fail(cause);
      return;
    }
    this.#filling.position = this.#nextGroupAt;
  }

  /** Nobody reads the bytes of a durable group any more. */
  giveBack({ memory }: DurableGroup): void {
    memory.clear();
    this.#spares.push(memory);
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
   * Overwrites the entries at these log positions with their erased form: see erased-entry.ts. Resolves when that is on
   * the disk. Positions are durable and ascending; entries that are erased already are passed over. Works while the log
   * goes on, in slices of some milliseconds with `nextTurn` in between; erasures that are asked for meanwhile wait.
   *
   * Errors: `LOG_DAMAGED` for a position where no good entry lies; `DISK_FULL` when there is no room for the journal, and
   * then the log is as it was. Any other failure of the disk stops the log (L3): opening it again finishes what was
   * begun, and then the same positions can be asked for again. `CLOSED` when the log was closed meanwhile.
   */
  async erase(positions: readonly number[] | Float64Array, nextTurn: () => Promise<void>): Promise<Erased> {
    for (let i = 0, before = -1; i < positions.length; i++) {
      const position = positions[i]!;
      invariant(position > before, "log/erase-ascending", { position, before });
      before = position;
    }
    const last = positions[positions.length - 1] ?? -1;
    invariant(last < this.#durableEnd, "log/erase-durable-only", { position: last, durableEnd: this.#durableEnd });
    const run = this.#erasing.then(() => this.#erase(positions, nextTurn));
    this.#erasing = run.catch(() => {});
    return run;
  }

  /**
   * Closes the files. A group that is under way is waited for by the caller, who knows when it is durable; one that
   * still fills is dropped. An erasure that is under way stops, and the next opening finishes the batch it had begun.
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

  #onWritten(group: CommitGroup, end: number, startedAt: number, error: Error | null): void {
    if (error !== null || this.#failsNext !== undefined) {
      this.#fail(error ?? this.#failsNext);
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
      record: group.bytes.subarray(0, group.length),
      memory: group,
      tookUs: (this.#options.clock.monotonic() - startedAt) * 1000,
    });
  }

  #fail(cause: unknown): void {
    this.#inFlight = false;
    this.#failure = this.#failureOf(cause);
    this.onFailure(this.#failure);
  }

  #failureOf(cause: unknown): HeddleError {
    const { shard, folder } = this.#options;
    if (isFullDisk(cause)) return new HeddleError("DISK_FULL", { shard, path: folder }, { cause });
    const reason = `the log could not be written: ${(cause as Error).message}`;
    return new HeddleError("SHARD_STOPPED", { shard, reason }, { cause });
  }

  async #erase(positions: readonly number[] | Float64Array, nextTurn: () => Promise<void>): Promise<Erased> {
    this.#checkErasable();
    try {
      return await this.#eraser.erase(positions, nextTurn);
    } catch (error) {
      this.#checkErasable();
      const { phase } = this.#eraser;
      if (phase === "reading") throw error;
      if (phase === "writing the journal" && isFullDisk(error)) {
        this.#eraser.discardJournal();
        throw this.#failureOf(error);
      }
      // A group on its way must not be reported durable any more, and the log is not closed under its sync.
      if (this.#inFlight) this.#failsNext = error;
      else this.#fail(error);
      throw this.#failureOf(error);
    }
  }

  #checkErasable(): void {
    if (this.#closed) throw new HeddleError("CLOSED", { what: `the log of shard ${this.#options.shard}` });
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#failsNext !== undefined) throw this.#failureOf(this.#failsNext);
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
