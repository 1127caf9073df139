// FrameWriter: encodes requests one behind the other into shared chunks, so that the calls of one turn lie side by side
// and go out as one piece.
//
// F1. Bytes that a frame occupies are never written again, except for its retry flag: a chunk that is full is left to
//     its calls, which keep it alive until the last of them is answered.
// F2. A frame that fails to encode leaves no trace.
import { HeddleError, limits } from "@heddle/kernel";
import { endlessValue, frameOffset, writeRequestHeader, writeU32 } from "@heddle/protocol/internal";

export type WriteBody<F> = (fields: F, reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

export class FrameWriter {
  readonly #room: { bytes: Uint8Array; at: number };
  readonly #reserve: (bytes: number) => { bytes: Uint8Array; at: number };
  #used = 0;

  constructor(chunkBytes: number) {
    const room = { bytes: new Uint8Array(chunkBytes), at: 0 };
    this.#room = room;
    this.#reserve = (bytes) => {
      if (this.#used + frameOffset.requestBody + bytes > room.bytes.length) {
        room.bytes = new Uint8Array(Math.max(chunkBytes, frameOffset.requestBody + bytes));
        this.#used = 0;
      }
      room.at = this.#used + frameOffset.requestBody;
      return room;
    };
  }

  /** The chunk of the last frame. */
  get chunk(): Uint8Array {
    return this.#room.bytes;
  }

  /** Where the last frame ends in the chunk. */
  get end(): number {
    return this.#used;
  }

  /**
   * Encodes one request behind the last and returns its bytes. Its number is `numbers.next` once it is encoded: payloads may have
   * getters, and these may make calls of their own, which come first. Errors: `FRAME_TOO_LARGE`, `INVALID_REQUEST`.
   */
  write<F>(kind: number, hash: number, numbers: { readonly next: number }, body: WriteBody<F>, fields: F): number {
    const length = frameOffset.requestBody + encode(body, fields, this.#reserve);
    if (length > limits.frameBytesMax) {
      throw new HeddleError("FRAME_TOO_LARGE", { bytes: length, bytesMax: limits.frameBytesMax });
    }
    const { bytes } = this.#room;
    writeU32(bytes, this.#used, length - 4);
    writeRequestHeader(bytes, this.#used, { kind, flags: 0, hash, call: numbers.next });
    this.#used += length;
    return length;
  }
}

function encode<F>(body: WriteBody<F>, fields: F, reserve: Parameters<WriteBody<F>>[1]): number {
  try {
    return body(fields, reserve);
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    const endless = endlessValue(cause, fields);
    if (endless !== cause) throw endless;
    // Symbols, integers beyond 64 bits, events that are no objects: whatever has no form as msgpack.
    const problem = `the call cannot be encoded: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new HeddleError("INVALID_REQUEST", { problem }, { cause });
  }
}
