// CheckMsgpack: looks over the bytes of one msgpack value before a decoder builds anything from them (P7, P8).
//
// msgpackr by itself is not enough for bytes from a stranger: it has private extensions that make cycles, regular
// expressions and big integers, it turns a whole decoded value into text for the message about bytes that follow it,
// and it makes an object for every empty map. 16 MB of such bytes took up to 17 seconds and 1.3 GB. This pass costs
// about a seventh of decoding.
//
// M1. What passes is one value of standard msgpack that fills the bytes exactly, and it can be decoded.
// M2. Time is linear in the bytes, memory is constant, whatever the bytes are.
// Not checked: that text is UTF-8; the decoder puts replacement characters.
import { limits } from "@heddle/kernel";
import { badFrame } from "./bad-frame.ts";

/**
 * Throws unless `bytes[from, to)` is one well-formed value of maps, arrays, text, numbers, booleans, nil, undefined, binary
 * and timestamps, with at most {@link limits.valueDepthMax} levels and {@link limits.valueContainersMax} containers.
 * Keys of maps are text, numbers, booleans or nil.
 *
 * Errors: `BAD_FRAME`.
 */
export function checkMsgpack(bytes: Uint8Array, from = 0, to = bytes.length): void {
  let at = from;
  let depth = 0;
  let containers = 0;
  // Values that are still to come on this level; those of the outer levels wait in `levels`. A map counts two for each
  // entry, so that an odd rest means that a key has just been taken.
  let left = 1;
  let inMap = false;
  for (;;) {
    while (left === 0) {
      if (depth === 0) {
        if (at < to) throw badFrame("bytes follow the msgpack value");
        if (at > to) throw cut();
        return;
      }
      left = levels[--depth]!;
      inMap = kinds[depth] === 1;
    }
    left--;
    if (at >= to) throw cut();
    const token = bytes[at++]!;
    if (token < 0x80 || token >= 0xe0) continue;
    let inner: number;
    if (token < 0x90) inner = (token & 0x0f) * 2;
    else if (token < 0xa0) inner = token & 0x0f;
    else if (token < 0xc0) {
      at += token & 0x1f;
      continue;
    } else {
      const fixed = bytesAfter[token - 0xc0]!;
      if (fixed >= 0) {
        at += fixed;
        continue;
      }
      if (fixed === text) {
        at += lengthBytes(token) + lengthAt(bytes, at, to, lengthBytes(token));
        continue;
      }
      if (inMap && left % 2 === 1) throw badKey();
      if (fixed === binary) {
        at += lengthBytes(token) + lengthAt(bytes, at, to, lengthBytes(token));
        continue;
      }
      if (fixed === extension) {
        at = skipExtension(bytes, at, to, token);
        continue;
      }
      if (fixed === neverUsed) throw badFrame("the msgpack holds the byte c1, which means nothing");
      const width = token & 1 ? 4 : 2;
      inner = lengthAt(bytes, at, to, width) * (token < 0xde ? 1 : 2);
      at += width;
    }
    if (inMap && left % 2 === 1) throw badKey();
    // A value takes a byte at least, so a count beyond what is left can never be satisfied.
    if (inner > to - at) throw cut();
    if (++containers > limits.valueContainersMax) {
      throw badFrame(`the msgpack holds more than ${limits.valueContainersMax} arrays and maps`);
    }
    if (depth === limits.valueDepthMax) throw badFrame(`the msgpack nests deeper than ${limits.valueDepthMax} levels`);
    levels[depth] = left;
    kinds[depth++] = inMap ? 1 : 0;
    left = inner;
    inMap = token < 0x90 || token >= 0xde;
  }
}

const levels = new Float64Array(limits.valueDepthMax);
const kinds = new Uint8Array(limits.valueDepthMax);

// What follows each token from c0 to df: that many bytes, or one of the kinds below.
const text = -1;
const binary = -2;
const extension = -3;
const neverUsed = -4;
const container = -5;
const bytesAfter = Int8Array.of(
  ...[0, neverUsed, 0, 0],
  ...[binary, binary, binary, extension, extension, extension],
  ...[4, 8],
  ...[1, 2, 4, 8],
  ...[1, 2, 4, 8],
  ...[extension, extension, extension, extension, extension],
  ...[text, text, text],
  ...[container, container, container, container],
);

/** Width of the length that follows: c4 and d9 have one byte, c5 and da two, c6 and db four. */
function lengthBytes(token: number): number {
  return 1 << (token < 0xd0 ? token - 0xc4 : token - 0xd9);
}

function lengthAt(bytes: Uint8Array, at: number, to: number, width: number): number {
  if (at + width > to) throw cut();
  let length = 0;
  for (let i = 0; i < width; i++) length = length * 256 + bytes[at + i]!;
  return length;
}

/** Lets two extensions pass: timestamps (type -1), and msgpackr's `undefined` (type 0 with one byte). */
function skipExtension(bytes: Uint8Array, at: number, to: number, token: number): number {
  const width = token < 0xd0 ? 1 << (token - 0xc7) : 0;
  const length = width > 0 ? lengthAt(bytes, at, to, width) : 1 << (token - 0xd4);
  if (at + width >= to) throw cut();
  const type = bytes[at + width]!;
  const isTimestamp = type === 0xff && (length === 4 || length === 8 || length === 12);
  const isUndefined = type === 0 && length === 1;
  // Made by msgpackr for a Date that is no date; it decodes to such a Date again.
  const isInvalidDate = type === 0xff && length === 1;
  if (!isTimestamp && !isUndefined && !isInvalidDate) {
    throw badFrame(`the msgpack holds the extension ${type} with ${length} bytes, which is not spoken here`);
  }
  return at + width + 1 + length;
}

function badKey(): ReturnType<typeof badFrame> {
  return badFrame("the msgpack holds a map whose key is neither text nor a number");
}

function cut(): ReturnType<typeof badFrame> {
  return badFrame("the msgpack ends in the middle of a value");
}
