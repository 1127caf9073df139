// SecondLook: for those who read beside a node, which may be overwriting the very bytes that were read (P5).
//
// Bytes whose checksum does not hold are read again, with what the erasure's journal says about them. As long as a part
// of a record is overwritten and not durable, the journal holds the whole change: so either the bytes that were read
// and then patched hold, or the batch was finished in between, and then the bytes read again do. What a node left
// behind that died in the middle is read in the same way, and nothing is written.
// What stays bad without being touched by anybody is damage, and is told at once.
// Not promised: that a record can be read which is erased again and again while it is looked at.
import path from "node:path";
import type { Disk } from "./disk.ts";
import { decodeJournal, type EraseJournal, journalHeaderBytes, journalName, readJournalFile } from "./erase-journal.ts";
import { setPatchesInMemory } from "./patch-files.ts";
import type { Segment } from "./segments.ts";

/** Looks at one place at most. Two are enough unless a further batch overwrites the same record just then. */
const looksMax = 6;
/** Pause before the third look and each that follows. */
const pauseMs = 5;

export class SecondLook {
  readonly #disk: Disk;
  readonly #file: string;
  readonly #pause: (ms: number) => void;
  #journal: EraseJournal | undefined;

  constructor(disk: Disk, folder: string, pause: (ms: number) => void = sleepThread) {
    this.#disk = disk;
    this.#file = path.join(folder, journalName);
    this.#pause = pause;
  }

  /**
   * Gives bytes that did not hold another chance: `bytes` are those from `position` on, `readAgain` fills them anew from
   * the file, `holds` says whether they are right. True when they are now; else they are damaged.
   */
  settles(segment: Segment, position: number, bytes: Uint8Array, readAgain: () => void, holds: () => boolean): boolean {
    let before: Buffer | undefined;
    for (let look = 1; look <= looksMax; look++) {
      const seen = Buffer.from(bytes);
      const touched = this.#patch(segment, position, bytes);
      if (touched && holds()) return true;
      if (!touched && before !== undefined && seen.equals(before)) return false;
      before = seen;
      if (look > 1) this.#pause(pauseMs);
      readAgain();
      if (holds()) return true;
    }
    return false;
  }

  #patch(segment: Segment, position: number, bytes: Uint8Array): boolean {
    const journal = this.#load();
    const found = journal?.segments.find(({ base, salt }) => base === segment.base && salt === segment.salt);
    return found !== undefined && setPatchesInMemory(journal!, found.patches, bytes, position);
  }

  // A journal with the same header has the same checksum, and is not read again.
  #load(): EraseJournal | undefined {
    const header = readJournalFile(this.#disk, this.#file, journalHeaderBytes);
    if (header === undefined) this.#journal = undefined;
    else if (this.#journal === undefined || !Buffer.from(header).equals(headerOf(this.#journal))) {
      const decoded = decodeJournal(readJournalFile(this.#disk, this.#file) ?? header);
      this.#journal = typeof decoded === "object" ? decoded : undefined;
    }
    return this.#journal;
  }
}

function headerOf(journal: EraseJournal): Uint8Array {
  return journal.bytes.subarray(0, journalHeaderBytes);
}

function sleepThread(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
