// Frames: what travels on a connection, either way.
//
//   connection   preface (8 bytes), then frames
//   frame        u32 length of what follows | u8 kind | …
//   request      … | u8 flags | u32 hash of the entity | u48 call | body
//   reply        … | u48 call | body
//
// All numbers are little-endian. The listener routes by the hash at a fixed place and never looks into a body; the
// shard checks the hash when it first meets an entity. The preface's first byte is no ASCII character, so that one
// port can tell this protocol from HTTP.
import { HeddleError } from "@heddle/kernel";
import { readU32, readU48, writeU32, writeU48 } from "./bytes.ts";

export const protocolVersion = 1;

/** 0xC7, "HEDDLE", version. */
export const preface = Uint8Array.of(0xc7, 0x48, 0x45, 0x44, 0x44, 0x4c, 0x45, protocolVersion);

export const requestKind = {
  hello: 1,
  append: 2,
  execute: 3,
  get: 4,
  history: 5,
  ping: 6,
  getAt: 7,
  restore: 8,
  delete: 9,
  import: 10,
  /** Asked of a shard, not of an entity: the header has the shard's number where the hash stands. */
  list: 11,
  /** The same. What event types the shard holds. */
  types: 12,
  /** Several entities, all or nothing. Sent to the shard of one of them. */
  transact: 13,
  /** Begins a saga, or waits for one that was begun. The entity is the saga's own, `$saga/…`. */
  saga: 14,
  sagaShow: 15,
  /** Asked of a shard. */
  sagaList: 16,
  /** An operator's retry or resolution of a stuck saga. */
  sagaOperate: 17,
  /** Sets a reminder of an entity, in place of one of the same name. */
  remind: 18,
  cancelReminder: 19,
  /** The reminders of one entity. */
  reminders: 20,
  /** Asked of a shard: reminders by their time. */
  reminderList: 21,
  /** Events of one entity behind a sequence; waits for them when there are none yet. */
  watch: 22,
  /** Asked of a shard, answered by the feed thread: committed events from a position on; waits when there are none yet. */
  feed: 23,
  /** Answered by the feed thread: what a member of a consumer group acknowledges, and what it is to do next. */
  groupPoll: 24,
  /** Answered by the feed thread: consumer groups, and how far they are. */
  groupList: 25,
  /** Answered by the projection thread: read-only SQL. */
  query: 26,
  /** Answered by the projection thread: projections, how far they are, what they have set aside. */
  projectionList: 27,
  /** Answered by the projection thread: an operator's rebuild, pause, resume, retry, skip. */
  projectionOperate: 28,
  /** A watch of the same connection is to be answered now: nobody waits for it any more. */
  unwatch: 29,
  /** Answered by the feed thread: a question of kind `feed` of the same connection is to be answered now. */
  unfeed: 30,
  /** Answered by the feed thread: a consumer group is to be no more, with how far it was. */
  groupForget: 31,
  // From 32 on: what shards ask each other. Refused when it comes over a connection.
  /** Whether an append with an id took effect. */
  probe: 32,
  /** Of a transaction with entities on several shards: see packages/shard, transactions. */
  hold: 33,
  prepare: 34,
  settle: 35,
  inquire: 36,
  /** A saga's record holds copies of what an entity was given that is being erased: the record goes, too. */
  sagaErase: 37,
} as const;

/** Kinds from here on come from shards of the same cluster only. */
export const innerKindMin = 32;

export const replyKind = { welcome: 65, receipt: 66, rejected: 67, error: 68, value: 69, pong: 70 } as const;

export const requestFlags = {
  /** Sent before on another connection: the shard looks the call up in the session's window. */
  retry: 1,
} as const;

export const frameOffset = {
  kind: 4,
  flags: 5,
  hash: 6,
  requestCall: 10,
  requestBody: 16,
  replyCall: 5,
  replyBody: 11,
};

export function writeRequestHeader(
  bytes: Uint8Array,
  at: number,
  header: { kind: number; flags: number; hash: number; call: number },
): void {
  bytes[at + frameOffset.kind] = header.kind;
  bytes[at + frameOffset.flags] = header.flags;
  writeU32(bytes, at + frameOffset.hash, header.hash);
  writeU48(bytes, at + frameOffset.requestCall, header.call);
}

export function requestCall(frame: Uint8Array, at = 0): number {
  return readU48(frame, at + frameOffset.requestCall);
}

export function requestHash(frame: Uint8Array, at = 0): number {
  return readU32(frame, at + frameOffset.hash);
}

/**
 * Cuts a stream of bytes into frames.
 *
 * Errors: `FRAME_TOO_LARGE` as soon as a length says so, `BAD_FRAME` for one too short to hold its header. After an
 * error the stream has no defined place any more: answer, then close the connection.
 */
export class FrameSplitter {
  readonly #frameBytesMax: number;
  readonly #frameBytesMin: number;
  #rest: Uint8Array | undefined;
  #restLength = 0;

  constructor(options: { frameBytesMax: number; frameBytesMin: number }) {
    this.#frameBytesMax = options.frameBytesMax;
    this.#frameBytesMin = options.frameBytesMin;
  }

  /** Bytes of an unfinished frame that are waiting for the remainder. */
  get pendingBytes(): number {
    return this.#restLength;
  }

  /** Calls `visit(bytes, from, to)` for each whole frame, length prefix included. The bytes are only lent. */
  push(chunk: Uint8Array, visit: (bytes: Uint8Array, from: number, to: number) => void): void {
    let bytes = chunk;
    let end = chunk.length;
    if (this.#rest !== undefined) {
      this.#keep(chunk, 0);
      bytes = this.#rest;
      end = this.#restLength;
      if (end < 4 || end < 4 + this.#lengthAt(bytes, 0)) return;
      this.#rest = undefined;
      this.#restLength = 0;
    }
    let at = 0;
    while (at + 4 <= end) {
      const next = at + 4 + this.#lengthAt(bytes, at);
      if (next > end) break;
      visit(bytes, at, next);
      at = next;
    }
    if (at < end) this.#keep(bytes.subarray(0, end), at);
  }

  #lengthAt(bytes: Uint8Array, at: number): number {
    const length = readU32(bytes, at);
    if (length > this.#frameBytesMax) {
      throw new HeddleError("FRAME_TOO_LARGE", { bytes: length, bytesMax: this.#frameBytesMax });
    }
    if (length + 4 < this.#frameBytesMin) {
      throw new HeddleError("BAD_FRAME", { problem: `a frame of ${length} bytes is too short for its header` });
    }
    return length;
  }

  // Doubling, and at once the whole frame when its length is known, so that a slow sender of a long frame does not
  // make every chunk copy all that came before it.
  #keep(bytes: Uint8Array, from: number): void {
    const wanted = this.#restLength + bytes.length - from;
    let rest = this.#rest;
    if (rest === undefined || rest.length < wanted) {
      const known = rest === undefined && wanted >= 4 ? 4 + this.#lengthAt(bytes, from) : 0;
      const grown = new Uint8Array(Math.max(wanted, known, (rest?.length ?? 0) * 2, 1024));
      if (rest !== undefined) grown.set(rest.subarray(0, this.#restLength));
      rest = grown;
      this.#rest = grown;
    }
    rest.set(from === 0 ? bytes : bytes.subarray(from), this.#restLength);
    this.#restLength = wanted;
  }
}
