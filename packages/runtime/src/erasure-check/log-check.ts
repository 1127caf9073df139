// LogCheck: is an erased entity's log clean? Reads the shard's whole log, because a leftover is wherever nobody expects it.
//
// What the log's reader gives may be what an erasure under way is about to make of the file; so the bytes of each of the
// entity's entries are read from the file itself besides.
import fs from "node:fs";
import path from "node:path";
import {
  appendIdDigestBytes,
  baseOfName,
  type EntryView,
  entryFlags,
  entryHeaderBytes,
  LogReader,
  nodeDisk,
} from "@heddle/event-log/internal";
import type { ErasureReceipt } from "@heddle/protocol";
import { readU16 } from "@heddle/protocol/internal";
import { scanInSlices } from "../admin/scan-slices.ts";
import { logFolderOf } from "../data-folder.ts";
import type { LeftoverList } from "./checks.ts";

export interface LogCheckOptions {
  readonly data: string;
  readonly receipt: ErasureReceipt;
  readonly leftovers: LeftoverList;
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

export interface CheckedLog {
  /** The entity's entries before the tombstone that were looked at. */
  readonly entries: number;
  /** There are others behind it. */
  readonly hasNewLife: boolean;
}

/** Errors: `LOG_DAMAGED`. */
export async function checkLog({ data, receipt, leftovers, onBytes }: LogCheckOptions): Promise<CheckedLog> {
  const folder = logFolderOf(data, receipt.shard);
  if (!fs.existsSync(folder)) {
    leftovers.add("log/tombstone", folder, "no log", `a tombstone at position ${receipt.position}`);
    return { entries: 0, hasNewLife: false };
  }
  const log = new LogReader(nodeDisk, folder);
  const files = new SegmentBytes(log.segmentFiles);
  try {
    const check = new EntryChecks(receipt, leftovers, files);
    let told = 0;
    const afterSlice = (end: number) => {
      onBytes?.(end - told);
      told = end;
    };
    await scanInSlices(log, {
      onEntry: (entry) => check.look(entry),
      onBeside: (entry) => check.lookBeside(entry),
      afterSlice,
    });
    check.finish(folder);
    return { entries: check.entries, hasNewLife: check.hasNewLife };
  } finally {
    files.close();
    log.close();
  }
}

class EntryChecks {
  entries = 0;
  hasNewLife = false;
  readonly #receipt: ErasureReceipt;
  readonly #entity: Buffer;
  readonly #leftovers: LeftoverList;
  readonly #files: SegmentBytes;
  /** The next sequence of those that the receipt says are gone. */
  #next: number;
  #tombstoneMet = false;
  #tombstoneElsewhere: string | undefined;

  constructor(receipt: ErasureReceipt, leftovers: LeftoverList, files: SegmentBytes) {
    this.#receipt = receipt;
    this.#entity = Buffer.from(receipt.entity, "utf8");
    this.#leftovers = leftovers;
    this.#files = files;
    this.#next = receipt.from;
  }

  look(entry: EntryView): void {
    if (!this.#isOurs(entry)) return;
    if (entry.firstSeq > this.#receipt.seq) {
      this.hasNewLife = true;
      return;
    }
    if ((entry.flags & entryFlags.tombstone) !== 0) this.#lookAtTombstone(entry);
    else {
      this.entries++;
      this.#lookAtSequence(entry);
      this.#lookAtBytes(entry);
    }
  }

  /** What transactions had prepared for the entity goes with it, whether it came to anything or not. */
  lookBeside(entry: EntryView): void {
    if (!this.#isOurs(entry) || entry.position > this.#receipt.position) return;
    this.entries++;
    this.#lookAtBytes(entry);
  }

  finish(folder: string): void {
    const { seq, to, position } = this.#receipt;
    if (this.#next <= to) {
      this.#leftovers.add("log/whole", folder, `no entry with sequence ${this.#next}`, `entries up to ${to}`);
    }
    if (this.#tombstoneMet) return;
    const found = this.#tombstoneElsewhere ?? "no tombstone of the entity with that sequence";
    this.#leftovers.add("log/tombstone", folder, found, `sequence ${seq} at position ${position}`);
  }

  // The entity of any entry, erased or not, stands at the start of its body.
  #isOurs({ bytes, bodyFrom }: EntryView): boolean {
    const length = this.#entity.length;
    if (readU16(bytes, bodyFrom) !== length) return false;
    return this.#entity.compare(bytes, bodyFrom + 2, bodyFrom + 2 + length) === 0;
  }

  #lookAtTombstone({ position, firstSeq, time }: EntryView): void {
    const wanted = this.#receipt;
    if (firstSeq !== wanted.seq) return;
    if (position === wanted.position && time === wanted.time) this.#tombstoneMet = true;
    else this.#tombstoneElsewhere = `one at position ${position}, time ${time}`;
  }

  #lookAtSequence({ firstSeq, eventCount, position }: EntryView): void {
    const { from, to } = this.#receipt;
    if (firstSeq + eventCount <= from) return;
    if (firstSeq !== this.#next) {
      const found = `an entry with sequence ${firstSeq}`;
      this.#leftovers.add(
        "log/whole",
        this.#files.where(position),
        found,
        `sequence ${this.#next}, of ${from} to ${to}`,
      );
    }
    this.#next = firstSeq + eventCount;
  }

  #lookAtBytes(entry: EntryView): void {
    const { position, bytes, bodyFrom, bodyTo, firstSeq } = entry;
    const problem = this.#problemOf(entry);
    const wanted = `an erased entry, sequence ${firstSeq}`;
    if (problem !== undefined) {
      this.#leftovers.add("log/overwritten", this.#files.where(position), problem, wanted);
      return;
    }
    const inFile = this.#files.read(position, bodyTo - bodyFrom + entryHeaderBytes);
    if (inFile.compare(bytes, bodyFrom - entryHeaderBytes, bodyTo) === 0) return;
    const found = "an erasure that was begun and is not finished; the next start of a node finishes it";
    this.#leftovers.add("log/overwritten", this.#files.where(position), found, wanted);
  }

  #problemOf({ flags, fingerprint, payloadsOffset, bytes, bodyFrom, bodyTo }: EntryView): string | undefined {
    if ((flags & entryFlags.erased) === 0) return "an entry that is not erased";
    if (fingerprint !== 0) return "the fingerprint of what was sent";
    if (payloadsOffset !== 0) return "the offset of its payloads";
    const marker = bodyFrom + 2 + this.#entity.length;
    const kept = marker + 1 + (bytes[marker] === 1 ? appendIdDigestBytes : 0);
    if (bytes[marker]! > 1 || kept > bodyTo) return "a body that is not an erased one's";
    for (let at = kept; at < bodyTo; at++) {
      if (bytes[at] !== 0) return `a byte that is not zero, ${at - bodyFrom} bytes into its body`;
    }
    return undefined;
  }
}

/** The bytes of a log as they lie in its files. */
class SegmentBytes {
  readonly #segments: readonly { readonly file: string; readonly base: number }[];
  readonly #open = new Map<string, number>();

  constructor(files: readonly string[]) {
    this.#segments = files.map((file) => ({ file, base: baseOfName(path.basename(file))! }));
  }

  where(position: number): string {
    return `${this.#at(position).file}, position ${position}`;
  }

  read(position: number, length: number): Buffer {
    const { file, base } = this.#at(position);
    let descriptor = this.#open.get(file);
    if (descriptor === undefined) {
      this.close();
      descriptor = fs.openSync(file, "r");
      this.#open.set(file, descriptor);
    }
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, length, position - base));
  }

  // Entries come in the order of the log, so one file is open at a time.
  close(): void {
    for (const descriptor of this.#open.values()) fs.closeSync(descriptor);
    this.#open.clear();
  }

  #at(position: number): { readonly file: string; readonly base: number } {
    return this.#segments.findLast(({ base }) => base <= position)!;
  }
}
