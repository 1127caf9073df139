// CommitGroup: one record being filled, or on its way to the disk, or read by whoever wants its bytes before they are used again.
import { invariant } from "@heddle/kernel/internal";
import { type EntryHeader, entryHeaderBytes, recordHeaderBytes, sealRecord, writeEntryHeader } from "./layout.ts";

const initialBytes = 1 << 16;

/** Far more than callers let a group grow to; beyond it lengths would no longer fit their fields. */
const recordBytesMax = 1 << 30;

export class CommitGroup {
  #bytes = new Uint8Array(initialBytes);
  #length = recordHeaderBytes;
  entries = 0;
  events = 0;
  /** Log position of the record's first byte. */
  position = 0;

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Bytes so far, header included; a multiple of 8 after `seal`. */
  get length(): number {
    return this.#length;
  }

  /** Makes room for an entry with a body of at most `bodyBytesMax`; the body is to be written at `at`. */
  reserve(bodyBytesMax: number): { bytes: Uint8Array; at: number } {
    const wanted = this.#length + entryHeaderBytes + bodyBytesMax + 8;
    if (wanted > this.#bytes.length) {
      invariant(wanted <= recordBytesMax, "log/record-bounded", { wanted, recordBytesMax });
      const grown = new Uint8Array(Math.max(wanted, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    return { bytes: this.#bytes, at: this.#length + entryHeaderBytes };
  }

  /** Takes in the entry whose body was written where `reserve` said. Returns its log position. */
  add(header: EntryHeader, bodyBytes: number): number {
    const at = this.#length;
    // Bytes past the array's end would vanish without a word, and a checksum would then vouch for the rest.
    invariant(at + entryHeaderBytes + bodyBytes + 8 <= this.#bytes.length, "log/body-fits-its-room");
    writeEntryHeader(this.#bytes, at, entryHeaderBytes + bodyBytes, header);
    this.#length = at + entryHeaderBytes + bodyBytes;
    this.entries++;
    this.events += header.eventCount;
    return this.position + at;
  }

  seal(salt: number): void {
    const padded = (this.#length + 7) & ~7;
    this.#bytes.fill(0, this.#length, padded);
    this.#length = padded;
    sealRecord(this.#bytes, padded, { entries: this.entries, position: this.position, salt });
  }

  clear(): void {
    this.#length = recordHeaderBytes;
    this.entries = 0;
    this.events = 0;
  }
}
