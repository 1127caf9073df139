// Little-endian numbers and short strings in byte arrays, without Buffer, so that the same code runs in a browser.

/** Numbers up to 2^48 - 1 (sequences, log positions, call numbers, milliseconds) take six bytes. */
export const u48Max = 2 ** 48 - 1;

export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function readU48(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) + readU16(bytes, at + 4) * 0x1_0000_0000;
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function writeU48(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, value >>> 0);
  writeU16(bytes, at + 4, Math.floor(value / 0x1_0000_0000));
}

/** What Node's Buffer does to any bytes, faster and without a view on them. */
interface BufferMethods {
  readonly copy: (this: Uint8Array, target: Uint8Array, at: number, from: number, to: number) => number;
  readonly latin1Slice: (this: Uint8Array, from: number, to: number) => string;
  readonly utf8Write: (this: Uint8Array, text: string, at: number) => number;
}

const buffer = (globalThis as { readonly Buffer?: { readonly prototype: Partial<BufferMethods> } }).Buffer?.prototype;
// What stands in for Buffer in some browsers lacks the second, and its others are slower.
const inNode = buffer?.latin1Slice === undefined ? undefined : (buffer as BufferMethods);

/** Up to here, bytes are copied and texts written faster one by one than by a call. */
const fewBytes = 24;

/** Copies `source[from, to)` to a place in `bytes` where there is room for it, and returns the end there. */
export function copyBytes(source: Uint8Array, from: number, to: number, bytes: Uint8Array, at: number): number {
  if (to - from <= fewBytes) for (let i = from, p = at; i < to; i++, p++) bytes[p] = source[i]!;
  else if (inNode !== undefined) inNode.copy.call(source, bytes, at, from, to);
  else bytes.set(source.subarray(from, to), at);
  return at + to - from;
}

const encoder = new TextEncoder();
// A decoder that drops a leading byte order mark would make two different ids equal.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Writes UTF-8 and returns the byte count. The caller has made sure that three bytes a character fit. */
export function writeText(bytes: Uint8Array, at: number, text: string): number {
  if (inNode !== undefined && text.length > fewBytes) return inNode.utf8Write.call(bytes, text, at);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return encoder.encodeInto(text, bytes.subarray(at)).written;
    bytes[at + i] = unit;
  }
  return text.length;
}

/** Decodes UTF-8; throws a TypeError on bytes that are not UTF-8. */
export function readText(bytes: Uint8Array, from: number, to: number): string {
  if (inNode !== undefined && isAscii(bytes, from, to)) return inNode.latin1Slice.call(bytes, from, to);
  return decoder.decode(bytes.subarray(from, to));
}

function isAscii(bytes: Uint8Array, from: number, to: number): boolean {
  let bits = 0;
  for (let at = from; at < to; at++) bits |= bytes[at]!;
  return bits < 0x80;
}

/** Decodes bytes that are known to be ASCII: in Node a third of the price of UTF-8. */
function readAscii(bytes: Uint8Array, from: number, to: number): string {
  return inNode === undefined ? decoder.decode(bytes.subarray(from, to)) : inNode.latin1Slice.call(bytes, from, to);
}

/**
 * Strings seen before, found by their bytes: a hit makes no string and no garbage (25 ns for an entity id, against
 * 100 ns and more for a decode). Direct-mapped, so its size is fixed and a newcomer replaces whoever had its slot.
 */
export class TextCache {
  readonly #slots: (string | undefined)[];
  readonly #mask: number;

  constructor(slotCount = 16_384) {
    this.#slots = new Array(slotCount).fill(undefined);
    this.#mask = slotCount - 1;
  }

  /** `likely` is tried first: what stood in the same place the last time, for names that seldom change. */
  read(bytes: Uint8Array, from: number, to: number, likely = ""): string {
    if (likely !== "" && holds(bytes, from, to, likely)) return likely;
    let hash = 0x811c9dc5;
    let ascii = 0;
    for (let i = from; i < to; i++) {
      const byte = bytes[i]!;
      ascii |= byte;
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
    if (ascii >= 0x80) return readText(bytes, from, to);
    if (to - from > 128) return readAscii(bytes, from, to);
    const slot = (hash ^ (hash >>> 15)) & this.#mask;
    const known = this.#slots[slot];
    if (known !== undefined && holds(bytes, from, to, known)) return known;
    const text = readAscii(bytes, from, to);
    this.#slots[slot] = text;
    return text;
  }
}

/** Whether the bytes are this text and ASCII only. A byte from 0x80 on is never equal to a character of the same number. */
// Backwards: names that are not the same differ at their ends, most often.
export function holds(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (text.length !== to - from) return false;
  for (let i = text.length - 1; i >= 0; i--) {
    const byte = bytes[from + i]!;
    if (byte !== text.charCodeAt(i) || byte >= 0x80) return false;
  }
  return true;
}
