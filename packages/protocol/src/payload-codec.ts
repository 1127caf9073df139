// Payloads as standard msgpack: maps, arrays, strings, numbers, booleans, nil, binary and timestamps.
//
// msgpackr's record extension is off both ways. A record definition changes the decoder for the messages after it, so
// bytes that hold one could not be stored as they are; the frozen `structures` make a decoder throw on the attempt.
// Its other private extensions, nesting and the number of containers are refused by `checkMsgpack` beforehand.
//
// Not caught when encoding: what is no plain data. A Set becomes an array, a Map a map, a typed array other than
// Uint8Array loses its bytes; the schema of the domain module says no to what comes out.
import { Packr, Unpackr } from "msgpackr";
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

/**
 * Decodes one value that fills the bytes exactly. Linear in time and memory, whatever the bytes are.
 * Errors: `BAD_FRAME`, see {@link checkMsgpack}.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  checkMsgpack(bytes);
  return unpackr.unpack(bytes);
}
