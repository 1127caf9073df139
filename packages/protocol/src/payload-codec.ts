// Payloads as standard msgpack: maps, arrays, strings, numbers, booleans, nil, binary and timestamps.
//
// msgpackr's record extension is off both ways. A record definition changes the decoder for the messages after it, so
// bytes that hold one could not be stored as they are; the frozen `structures` make a decoder throw on the attempt.
// Its other private extensions, nesting and the number of containers are refused by `checkMsgpack` beforehand.
//
// Not caught when encoding: what is no plain data. A Set becomes an array, a Map a map, a typed array other than
// Uint8Array loses its bytes; the schema of the domain module says no to what comes out.
import { Packr, Unpackr } from "msgpackr";
import { copyBytes } from "./bytes.ts";
import { checkMsgpack } from "./check-msgpack.ts";

const packr = new Packr({ useRecords: false, useToJSON: false });

const structures: object[] = [];
const unpackr = new Unpackr({
  useRecords: false,
  mapsAsObjects: true,
  structures,
  copyBuffers: true,
});
Object.freeze(structures);

/**
 * Encodes one value. The result is a view into an arena that the next calls go on filling: copy it before it is kept,
 * transferred or posted (the whole arena would travel).
 */
export function encodeValue(value: unknown): Uint8Array {
  return packr.pack(value);
}

// msgpackr wants a view on the bytes, and makes one of its own on each array that it has not seen before. Short values, which is
// nearly all, are decoded in one place instead: nothing of a value points back to where it was decoded, for `copyBuffers`.
const desk = new Uint8Array(1_024);

/**
 * Decodes one value that fills `bytes[from, to)` exactly. Linear in time and memory, whatever the bytes are.
 * Errors: `BAD_FRAME`, see {@link checkMsgpack}.
 */
export function decodeValue(bytes: Uint8Array, from = 0, to = bytes.length): unknown {
  checkMsgpack(bytes, from, to);
  if (to - from > desk.length) return unpackr.unpack(bytes.subarray(from, to));
  copyBytes(bytes, from, to, desk, 0);
  return unpackr.unpack(desk, to - from);
}
