// Varint: whole numbers from 0 to 2^53 - 1 in one to eight bytes, seven bits a byte, lowest first; the top bit says that
// more follow. Signed numbers spend the second-highest bit of their first byte on the sign.
//
// Bit operations in JavaScript end at 32 bits, so the part above them is done with divisions.
import { invariant } from "@heddle/kernel/internal";
import { copyBytes } from "@heddle/protocol/internal";

/** Bytes that one number takes at most. */
export const varintBytesMax = 8;

/** Bytes that are not what the encoder below writes. */
export class MalformedValue extends Error {
  override readonly name = "MalformedValue";
}

/** Writes a number at an offset and returns the offset after it. The caller has made sure of the room. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) invariant(false, "partition/varint", { value });
  return writeGroups(bytes, at, value);
}

/** The same for numbers from -(2^53 - 1) to 2^53 - 1. */
export function writeSignedVarint(bytes: Uint8Array, at: number, value: number): number {
  if (!Number.isSafeInteger(value)) invariant(false, "partition/varint", { value });
  const magnitude = Math.abs(value);
  const first = (magnitude % 0x40) | (value < 0 ? 0x40 : 0);
  if (magnitude < 0x40) {
    bytes[at] = first;
    return at + 1;
  }
  bytes[at] = first | 0x80;
  return writeGroups(bytes, at + 1, Math.floor(magnitude / 0x40));
}

function writeGroups(bytes: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value;
  if (rest > 0x7fffffff) {
    // Four groups at once: a remainder of a number that is no small integer costs as much as all else here.
    const above = Math.floor(rest / 0x1000_0000);
    const low = rest - above * 0x1000_0000;
    bytes[at++] = (low & 0x7f) | 0x80;
    bytes[at++] = ((low >>> 7) & 0x7f) | 0x80;
    bytes[at++] = ((low >>> 14) & 0x7f) | 0x80;
    bytes[at++] = (low >>> 21) | 0x80;
    rest = above;
  }
  while (rest > 0x7f) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at] = rest;
  return at + 1;
}

/** Reads numbers one after the other. Errors: {@link MalformedValue} on any bytes that hold no such number. */
export class VarintReader {
  #bytes: Uint8Array;
  #at: number;
  #end: number;

  constructor(bytes: Uint8Array, from = 0, to = bytes.length) {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
  }

  get atEnd(): boolean {
    return this.#at >= this.#end;
  }

  unsigned(): number {
    return this.#groups(0, 1);
  }

  signed(): number {
    const first = this.#next();
    const magnitude = first & 0x80 ? this.#groups(first & 0x3f, 0x40) : first & 0x3f;
    return first & 0x40 ? 0 - magnitude : magnitude;
  }

  /** Four bytes as an unsigned number, highest first. */
  u32(): number {
    const from = this.#at;
    if (from + 4 > this.#end) throw new MalformedValue("a number is cut off");
    this.#at = from + 4;
    const bytes = this.#bytes;
    const low = (bytes[from + 1]! << 16) | (bytes[from + 2]! << 8) | bytes[from + 3]!;
    return bytes[from]! * 0x100_0000 + low;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#end - this.#at;
  }

  /** So many of the bytes that are left, a latin1 character for each. */
  latin1(length: number): string {
    const from = this.#at;
    this.#at = from + length;
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, length).toString("latin1");
  }

  /** A copy of everything that is left. */
  rest(): Uint8Array {
    // Not a slice: that of a Buffer, which lmdb lends, is a Buffer, and whoever reads states would meet two classes of bytes.
    const rest = new Uint8Array(this.left);
    copyBytes(this.#bytes, this.#at, this.#end, rest, 0);
    this.#at = this.#end;
    return rest;
  }

  #groups(low: number, lowScale: number): number {
    let value = low;
    let scale = lowScale;
    for (let i = 0; i < varintBytesMax; i++) {
      const byte = this.#next();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new MalformedValue("a number above 2^53");
        return value;
      }
      scale *= 0x80;
    }
    throw new MalformedValue("a number of too many bytes");
  }

  #next(): number {
    if (this.#at >= this.#end) throw new MalformedValue("a number is cut off");
    return this.#bytes[this.#at++]!;
  }
}
