// MessagePack by hand, for values of a known shape, made of whole numbers, texts and bytes: written straight to where they
// belong, and read without a general decoder. The bytes are those that `encodeValue` makes of the same value, and what is read
// is what `decodeValue` reads.
import { copyBytes, readText, writeText } from "./bytes.ts";

/** What a packed number takes at most, and the head of a list. */
export const packedNumberBytesMax = 9;
export const packedListHeadBytesMax = 3;

const scratch = new DataView(new ArrayBuffer(8));
const scratchBytes = new Uint8Array(scratch.buffer);

/** Packs a whole number from 0 to 2^53 - 1, and returns where the next byte goes. */
export function packNumber(bytes: Uint8Array, at: number, value: number): number {
  if (value < 0x80) {
    bytes[at] = value;
    return at + 1;
  }
  if (value < 0x100) {
    bytes[at] = 0xcc;
    bytes[at + 1] = value;
    return at + 2;
  }
  if (value < 0x1_0000) {
    bytes[at] = 0xcd;
    bytes[at + 1] = value >>> 8;
    bytes[at + 2] = value;
    return at + 3;
  }
  if (value < 0x1_0000_0000) {
    bytes[at] = 0xce;
    bytes[at + 1] = value >>> 24;
    bytes[at + 2] = value >>> 16;
    bytes[at + 3] = value >>> 8;
    bytes[at + 4] = value;
    return at + 5;
  }
  bytes[at] = 0xcb;
  scratch.setFloat64(0, value);
  for (let i = 0; i < 8; i++) bytes[at + 1 + i] = scratchBytes[i]!;
  return at + 9;
}

/** Packs the head of a list of so many values, less than 65,536. */
export function packListHead(bytes: Uint8Array, at: number, length: number): number {
  if (length < 16) {
    bytes[at] = 0x90 | length;
    return at + 1;
  }
  bytes[at] = 0xdc;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  return at + 3;
}

/** What a packed text takes at most. */
export function packedTextBytesMax(text: string): number {
  return 5 + 3 * text.length;
}

/** Packs a text of less than 65,536 bytes. */
export function packText(bytes: Uint8Array, at: number, text: string): number {
  const guess = textHeadBytes(text.length);
  const length = writeText(bytes, at + guess, text);
  const head = textHeadBytes(length);
  if (head !== guess) bytes.copyWithin(at + head, at + guess, at + guess + length);
  if (head === 1) bytes[at] = 0xa0 | length;
  else if (head === 2) {
    bytes[at] = 0xd9;
    bytes[at + 1] = length;
  } else {
    bytes[at] = 0xda;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length;
  }
  return at + head + length;
}

function textHeadBytes(length: number): number {
  return length < 32 ? 1 : length < 0x100 ? 2 : 3;
}

/** What the head of packed bytes takes at most. */
export const packedBytesHeadBytesMax = 5;

/** Packs bytes. */
export function packBytes(bytes: Uint8Array, at: number, packed: Uint8Array): number {
  const { length } = packed;
  let p = at + 2;
  if (length < 0x100) {
    bytes[at] = 0xc4;
    bytes[at + 1] = length;
  } else if (length < 0x1_0000) {
    bytes[at] = 0xc5;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length;
    p = at + 3;
  } else {
    bytes[at] = 0xc6;
    bytes[at + 1] = length >>> 24;
    bytes[at + 2] = length >>> 16;
    bytes[at + 3] = length >>> 8;
    bytes[at + 4] = length;
    p = at + 5;
  }
  bytes.set(packed, p);
  return p + length;
}

/** The bytes of a map's head and its first key, or of a later key: the same each time that such a value is packed. */
export function packedKey(key: string, entries = 0): Uint8Array {
  const head = entries === 0 ? [] : [0xde, entries >>> 8, entries];
  const packed = new Uint8Array(head.length + 1 + key.length);
  packed.set(head);
  packed[head.length] = 0xa0 | key.length;
  writeText(packed, head.length + 1, key);
  return packed;
}

/** Packs what `packedKey` gave. */
export function packKey(bytes: Uint8Array, at: number, key: Uint8Array): number {
  return copyBytes(key, 0, key.length, bytes, at);
}

/** Reads packed values one after the other. Where another value stands than is asked for, `failed` is set, and stays so. */
export class PackedReader {
  at = 0;
  failed = false;
  #bytes: Uint8Array = new Uint8Array();
  #to = 0;

  /** Begins at a place. The bytes are forgotten by `end`. */
  begin(bytes: Uint8Array, from: number, to: number): void {
    this.#bytes = bytes;
    this.#to = to;
    this.at = from;
    this.failed = false;
  }

  /** Says whether everything was read, to the last byte. */
  end(): boolean {
    this.#bytes = nothing;
    return !this.failed && this.at === this.#to;
  }

  /** A number in one of the forms that `packNumber` gives it. */
  number(): number {
    const bytes = this.#bytes;
    const { at } = this;
    const head = this.#take(1);
    switch (head < 0x80 ? 0 : head) {
      case 0:
        return head;
      case 0xcc:
        return this.#take(1);
      case 0xcd:
        this.#take(2);
        return this.failed ? 0 : (bytes[at + 1]! << 8) | bytes[at + 2]!;
      case 0xce:
        this.#take(4);
        return this.failed ? 0 : readBigU32(bytes, at + 1);
      case 0xcb: {
        this.#take(8);
        if (this.failed) return 0;
        for (let i = 0; i < 8; i++) scratchBytes[i] = bytes[at + 1 + i]!;
        return scratch.getFloat64(0);
      }
      default:
        this.failed = true;
        return 0;
    }
  }

  /** The length of a list, of which each value takes a byte at least. */
  list(): number {
    const { at } = this;
    const head = this.#take(1);
    let length = head & 0x0f;
    if (head === 0xdc) {
      this.#take(2);
      if (!this.failed) length = (this.#bytes[at + 1]! << 8) | this.#bytes[at + 2]!;
    } else if (head >> 4 !== 9) this.failed = true;
    if (length > this.#to - this.at) this.failed = true;
    return this.failed ? 0 : length;
  }

  boolean(): boolean {
    const head = this.#take(1);
    if (head !== 0xc2 && head !== 0xc3) this.failed = true;
    return head === 0xc3;
  }

  /** Whether nil stands here; then it is passed over. Anything else stays to be read. */
  nil(): boolean {
    if (this.failed || this.at >= this.#to || this.#bytes[this.at] !== 0xc0) return false;
    this.at++;
    return true;
  }

  /** A text of less than 256 bytes of ASCII. What others are is for the codec of values to say. */
  text(): string {
    const head = this.#take(1);
    let length = head & 0x1f;
    if (head === 0xd9) length = this.#take(1);
    else if (head >> 5 !== 5) this.failed = true;
    const from = this.at;
    this.#take(length);
    if (this.failed) return "";
    for (let i = from; i < this.at; i++) if (this.#bytes[i]! >= 0x80) this.failed = true;
    return this.failed ? "" : readText(this.#bytes, from, this.at);
  }

  /** These very bytes. */
  literal(packed: Uint8Array): void {
    const { at } = this;
    this.#take(packed.length);
    for (let i = 0; i < packed.length && !this.failed; i++) {
      if (this.#bytes[at + i] !== packed[i]) this.failed = true;
    }
  }

  // Passes over bytes, and returns the first of them.
  #take(length: number): number {
    const { at } = this;
    if (this.failed || length > this.#to - at) {
      this.failed = true;
      return 0;
    }
    this.at = at + length;
    return this.#bytes[at]!;
  }
}

const nothing = new Uint8Array();

function readBigU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
