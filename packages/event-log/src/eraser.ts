// Eraser: overwrites entries of a log where they lie, while the log goes on (P5, P6).
//
// In batches: read the entries, write down what they will be (erase-journal.ts), make that durable, overwrite, make that
// durable. The next batch's journal is written over the one before, which by then describes only what is so.
//
// E1. Nothing is overwritten before the journal that describes the change is durable, name included.
// E2. No journal is written over one whose changes are not durable yet.
// E3. A record's checksum is renewed from the change alone: damage elsewhere in the record stays damage.
// Not promised: that copies which the file system made elsewhere are gone (snapshots, copy-on-write, worn flash cells).
import path from "node:path";
import { type Clock, HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { crc32, crcAfterChange } from "./checksum.ts";
import type { Disk, DiskFile } from "./disk.ts";
import { decodeJournal, type EraseJournal, JournalWriter, journalName } from "./erase-journal.ts";
import { eraseEntry, keptBytesOfErased } from "./erased-entry.ts";
import { recordHeaderBytes } from "./layout.ts";
import { closePatched, openPatched, type PatchedFile, setPatch } from "./patch-files.ts";
import { readEntryAt } from "./read-entry.ts";
import { RecordWalker } from "./record-walker.ts";
import type { Segment, Segments } from "./segments.ts";

/** A batch ends when its journal is this long: some five thousand small entries, and a few milliseconds to write down. */
const journalBytesDefault = 512 << 10;

/** Work goes on for so many milliseconds before others get their turn. */
const sliceMs = 2;

export interface EraserOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly shard: number;
  readonly clock: Clock;
  /** Whether everything before the log's durable end is on the disk. If not, it is synced before it is overwritten. */
  readonly syncsGroups: boolean;
  readonly segments: Segments;
  readonly journalBytes: number | undefined;
  readonly crashPoint: ((name: string) => void) | undefined;
  /** Throws when the log must not be touched any more: asked after every wait. */
  readonly check: () => void;
}

export interface Erased {
  /** Entries that were overwritten: without those that had been erased before, and without tombstones. */
  readonly entries: number;
  /** Their lengths together. */
  readonly bytes: number;
  /** Segments that they lie in. */
  readonly segments: number;
}

/**
 * `reading`: nothing of the batch is on the disk. `writing the journal`: nothing is overwritten that is not durable.
 * `overwriting`: from here on an error leaves a log that must be opened anew, which finishes the batch.
 */
export type ErasePhase = "reading" | "writing the journal" | "overwriting";

type NextTurn = () => Promise<void>;

export class Eraser {
  readonly #options: EraserOptions;
  readonly #journalFile: string;
  readonly #journalBytes: number;
  readonly #batch = new JournalWriter();
  /** Whether the journal's name is durable. */
  #named = false;
  #phase: ErasePhase = "reading";
  #sliceFrom = 0;

  constructor(options: EraserOptions) {
    this.#options = options;
    this.#journalFile = path.join(options.folder, journalName);
    this.#journalBytes = options.journalBytes ?? journalBytesDefault;
  }

  /** Where the last erasure is, or where an error ended it. */
  get phase(): ErasePhase {
    return this.#phase;
  }

  /**
   * Erases entries, by position, ascending. Resolves when that is on the disk.
   * Errors: `LOG_DAMAGED` for a position where no good entry lies, with everything before its batch erased; what `check`
   * and the disk throw.
   */
  async erase(positions: ArrayLike<number>, nextTurn: NextTurn): Promise<Erased> {
    const planner = new Planner(this.#options, this.#batch, this.#journalBytes);
    let journal: DiskFile | undefined;
    try {
      for (let next = 0; next < positions.length; ) {
        this.#phase = "reading";
        this.#beginSlice();
        while (next < positions.length && !planner.isFull) {
          if (planner.add(positions[next]!, this.#sliceIsOver)) next++;
          if (this.#sliceIsOver()) await this.#yield(nextTurn);
        }
        planner.endBatch();
        if (this.#batch.isEmpty) continue;
        this.#phase = "writing the journal";
        journal ??= this.#openJournal();
        await this.#carryOut(journal, nextTurn);
        this.#batch.clear();
      }
      if (journal !== undefined) await this.#empty(journal);
    } finally {
      this.#batch.clear();
      journal?.close();
    }
    return planner.erased;
  }

  /** Takes away what was written of a journal before anything was overwritten, to give its room back. */
  discardJournal(): void {
    invariant(this.#phase === "writing the journal", "E2/journal-still-needed", { phase: this.#phase });
    this.#named = false;
    try {
      this.#options.disk.remove(this.#journalFile);
    } catch {
      // It may not have been made at all; and if it cannot be removed, the next erasure tells why it cannot make its own.
    }
  }

  #openJournal(): DiskFile {
    return this.#options.disk.open(this.#journalFile, this.#named ? "write" : "create");
  }

  async #carryOut(journal: DiskFile, nextTurn: NextTurn): Promise<void> {
    const { disk, folder, shard, segments, crashPoint, syncsGroups } = this.#options;
    const bytes = this.#batch.seal(shard);
    const decoded = decodeJournal(bytes);
    invariant(typeof decoded === "object", "E1/journal-can-be-read", { decoded });
    const files = openPatched(disk, decoded, ({ base }) => segments.at(base)!);
    try {
      if (!syncsGroups) await this.#sync(files);
      journal.write(bytes, 0, bytes.length, 0);
      crashPoint?.("erase:journal-written");
      await this.#sync([{ file: journal }]);
      if (!this.#named) disk.syncFolder(folder);
      this.#named = true;
      crashPoint?.("erase:journal-durable");
      this.#phase = "overwriting";
      await this.#overwrite(decoded, files, nextTurn);
      crashPoint?.("erase:overwritten");
      await this.#sync(files);
      this.#phase = "writing the journal";
      crashPoint?.("erase:synced");
    } finally {
      closePatched(files);
    }
  }

  async #overwrite(journal: EraseJournal, files: readonly PatchedFile[], nextTurn: NextTurn): Promise<void> {
    let left = files.reduce((sum, { patches }) => sum + patches.length, 0);
    const half = left >>> 1;
    this.#beginSlice();
    for (const file of files) {
      for (const patch of file.patches) {
        if (left-- === half) this.#options.crashPoint?.("erase:half-overwritten");
        setPatch(journal, file, patch);
        if (this.#sliceIsOver()) await this.#yield(nextTurn);
      }
    }
  }

  async #empty(journal: DiskFile): Promise<void> {
    journal.truncate(0);
    await this.#sync([{ file: journal }]);
    this.#options.crashPoint?.("erase:journal-emptied");
  }

  async #sync(files: readonly { readonly file: DiskFile }[]): Promise<void> {
    for (const { file } of files) {
      await new Promise<void>((resolve, reject) => file.sync((error) => (error === null ? resolve() : reject(error))));
      this.#options.check();
    }
  }

  #beginSlice(): void {
    this.#sliceFrom = this.#options.clock.monotonic();
  }

  readonly #sliceIsOver = (): boolean => this.#options.clock.monotonic() - this.#sliceFrom >= sliceMs;

  async #yield(nextTurn: NextTurn): Promise<void> {
    await nextTurn();
    this.#options.check();
    this.#beginSlice();
  }
}

/** Reads entries and writes down what they will be. */
class Planner {
  readonly #segments: Segments;
  readonly #batch: JournalWriter;
  readonly #batchBytes: number;
  #walker: RecordWalker | undefined;
  /** The segment and the record that the last patch of this batch lies in, and where the record's checksum stands. */
  #segment: Segment | undefined;
  #recordAt = -1;
  #checksumAt = 0;
  #lastErasedIn: Segment | undefined;
  readonly #checksumBytes = new Uint8Array(4);
  readonly erased = { entries: 0, bytes: 0, segments: 0 };

  constructor({ segments }: EraserOptions, batch: JournalWriter, batchBytes: number) {
    this.#segments = segments;
    this.#batch = batch;
    this.#batchBytes = batchBytes;
  }

  get isFull(): boolean {
    return this.#batch.length >= this.#batchBytes;
  }

  /** Whether the entry was dealt with; false when its record was not reached before `isOver` said so. */
  add(position: number, isOver: () => boolean): boolean {
    try {
      return this.#add(position, isOver);
    } catch (error) {
      throw asDamage(error, this.#segments, position);
    }
  }

  #add(position: number, isOver: () => boolean): boolean {
    const segment = this.#segments.at(position);
    if (segment === undefined) throw new Error("the log does not reach there");
    if (this.#walker?.segment !== segment) this.#walker = new RecordWalker(this.#segments, segment);
    const walker = this.#walker;
    const offset = position - segment.base;
    if (offset < walker.at) throw new Error("no entry can lie there");
    if (!walker.reach(offset, isOver)) return false;
    const entry = readEntryAt(this.#segments, position);
    const length = entry.bodyTo;
    const bytesBehind = walker.at + walker.length - offset - length;
    if (offset < walker.at + recordHeaderBytes || bytesBehind < 0) throw new Error("no entry lies there");
    const before = crc32(entry.bytes, 0, length);
    if (!eraseEntry(entry.bytes, 0)) return true;
    this.#beginPatches(segment, walker);
    const kept = keptBytesOfErased(entry.bytes, 0);
    this.#batch.add(position, entry.bytes, 0, kept, length - kept);
    walker.checksum = crcAfterChange(walker.checksum, before, crc32(entry.bytes, 0, length), bytesBehind);
    this.#batch.rewrite(this.#checksumAt, walker.checksum);
    this.#count(segment, length);
    return true;
  }

  /** The next entry begins a batch of its own. */
  endBatch(): void {
    this.#segment = undefined;
    this.#recordAt = -1;
  }

  // The record's checksum stands before its entries, and patches are in the order of positions: it gets its patch
  // first, and its value with each entry.
  #beginPatches(segment: Segment, walker: RecordWalker): void {
    if (this.#segment !== segment) {
      this.#batch.beginSegment(segment);
      this.#segment = segment;
      this.#recordAt = -1;
    }
    if (this.#recordAt === walker.at) return;
    this.#recordAt = walker.at;
    this.#checksumAt = this.#batch.add(segment.base + walker.at + 4, this.#checksumBytes, 0, 4, 0);
  }

  #count(segment: Segment, bytes: number): void {
    this.erased.entries++;
    this.erased.bytes += bytes;
    if (this.#lastErasedIn !== segment) this.erased.segments++;
    this.#lastErasedIn = segment;
  }
}

// Whatever keeps an entry from being read and understood is told as damage at its place.
function asDamage(error: unknown, segments: Segments, position: number): HeddleError {
  if (error instanceof HeddleError && error.code === "LOG_DAMAGED") return error;
  const segment = segments.at(position);
  return new HeddleError(
    "LOG_DAMAGED",
    {
      file: segment?.file ?? "",
      offset: position - (segment?.base ?? 0),
      problem: `the entry at position ${position} cannot be erased: ${(error as Error).message}`,
    },
    { cause: error },
  );
}
