// RecordWalker: finds the record around a position by hopping from header to header through one segment.
//
// Reads headers only, through a small window, and never goes back: whoever asks for positions in ascending order hops
// through a segment once.
import { HeddleError } from "@heddle/kernel";
import { readU32 } from "@heddle/protocol/internal";
import { recordHeaderBytes, recordLengthAt, segmentHeaderBytes } from "./layout.ts";
import type { Segment, Segments } from "./segments.ts";

/** Bytes read at a time: short records come many to a window, and of a long one hardly more than the header is read. */
const windowBytes = 16 << 10;

export class RecordWalker {
  readonly segment: Segment;
  readonly #segments: Segments;
  #window = new Uint8Array(windowBytes);
  /** Offset in the file of the window's first byte, and how many bytes of the file stand in it. */
  #windowAt = 0;
  #windowLength = 0;
  /** Offset in the file of the record at hand. */
  at = segmentHeaderBytes;
  /** Length of the record at hand. 0 before the first hop. */
  length = 0;
  /** Checksum of the record at hand as its header has it; whoever changes the record keeps it up to date. */
  checksum = 0;

  constructor(segments: Segments, segment: Segment) {
    this.#segments = segments;
    this.segment = segment;
  }

  /**
   * Hops on until the record at hand is the one that holds an offset, which must not lie before it. False when
   * `isOver` said so first: then it is to be called again.
   * Errors: `LOG_DAMAGED` where no record begins though one must.
   */
  reach(offset: number, isOver: () => boolean): boolean {
    if (this.length === 0) this.#look();
    while (offset >= this.at + this.length) {
      this.at += this.length;
      if (this.#look() && isOver()) return offset < this.at + this.length;
    }
    return true;
  }

  // Says whether bytes had to be read.
  #look(): boolean {
    const windowEnd = this.#windowAt + this.#windowLength;
    const reads = this.at < this.#windowAt || this.at + recordHeaderBytes > windowEnd;
    if (reads) {
      this.#windowAt = this.at;
      this.#windowLength = this.#segments.read(this.segment, this.#window, this.at);
    }
    const { segment, at } = this;
    const inWindow = at - this.#windowAt;
    const available = Math.min(segment.length - at, this.#windowLength - inWindow);
    const length = recordLengthAt(this.#window, inWindow, available, segment.base + at);
    const problem =
      typeof length === "string"
        ? length
        : length > segment.length - at
          ? `a record claims ${length} bytes`
          : undefined;
    if (problem !== undefined) throw new HeddleError("LOG_DAMAGED", { file: segment.file, offset: at, problem });
    this.length = length as number;
    this.checksum = readU32(this.#window, inWindow + 4);
    return reads;
  }
}
