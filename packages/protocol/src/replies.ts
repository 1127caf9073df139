// Replies: receipts and rejections as values, errors as data, everything else as msgpack.
import { fromWireError, type HeddleError, toWireError } from "@heddle/kernel/internal";
import { badFrame } from "./bad-frame.ts";
import { readU16, readU32, readU48, writeU16, writeU32, writeU48 } from "./bytes.ts";
import { frameOffset, replyKind } from "./frames.ts";
import { readPackedResults } from "./packed-results.ts";
import { readPackedSagaResult } from "./packed-saga-result.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import type { Receipt } from "./receipt.ts";

/** What the rules said no to. Nothing was written. A value to switch on, not an error to catch. */
export type Rejection =
  | {
      readonly ok: false;
      readonly code: "INVARIANT_VIOLATED";
      readonly message: string;
      readonly facts: { readonly aggregate: string; readonly rule: string; readonly index: number };
    }
  | {
      readonly ok: false;
      readonly code: "SEQUENCE_CONFLICT";
      readonly message: string;
      readonly facts: { readonly expectedSeq: number; readonly actualSeq: number };
    }
  | {
      readonly ok: false;
      readonly code: "COMMAND_REJECTED";
      readonly message: string;
      /** `reason` and `details` are what the domain's `reject(reason, details)` said. */
      readonly facts: {
        readonly command: string;
        readonly reason: string;
        readonly details: Readonly<Record<string, unknown>>;
      };
    };

export type AppendResult = Receipt | Rejection;

/** One operation of a transaction was rejected, so nothing of the transaction was written. A value, as a rejection is. */
export interface TransactionRejection {
  readonly ok: false;
  readonly code: "TRANSACTION_REJECTED";
  readonly message: string;
  readonly facts: {
    /** Which, from 0, in the order in which they were given. */
    readonly operation: number;
    readonly entity: string;
    /** What was said to it. */
    readonly rejection: Rejection;
  };
}

export type AnyRejection = Rejection | TransactionRejection;

export type RejectionFacts<C extends AnyRejection["code"]> = Extract<AnyRejection, { code: C }>["facts"];

const rejectionText: { readonly [C in AnyRejection["code"]]: (facts: RejectionFacts<C>) => string } = {
  INVARIANT_VIOLATED: (f) => `event ${f.index} would break the rule ${JSON.stringify(f.rule)} of ${f.aggregate}`,
  SEQUENCE_CONFLICT: (f) => `expected the entity at sequence ${f.expectedSeq}, it is at ${f.actualSeq}`,
  COMMAND_REJECTED: (f) => `${f.command} was rejected: ${f.reason}`,
  TRANSACTION_REJECTED: (f) =>
    `nothing was written, for operation ${f.operation}, on ${f.entity}: ${f.rejection.message}`,
};

export function rejection<C extends AnyRejection["code"]>(
  code: C,
  facts: RejectionFacts<C>,
): Extract<AnyRejection, { code: C }> {
  return { ok: false, code, message: rejectionText[code](facts), facts } as Extract<AnyRejection, { code: C }>;
}

export const receiptFrameBytes = 36;

/** Writes a whole receipt frame: u16 shard, u48 first sequence, u32 count, u48 position, u48 time, u8 duplicate. */
export function writeReceiptFrame(
  bytes: Uint8Array,
  at: number,
  call: number,
  shard: number,
  firstSeq: number,
  count: number,
  position: number,
  time: number,
  duplicate: boolean,
): void {
  writeU32(bytes, at, receiptFrameBytes - 4);
  bytes[at + frameOffset.kind] = replyKind.receipt;
  writeU48(bytes, at + frameOffset.replyCall, call);
  writeU16(bytes, at + 11, shard);
  writeU48(bytes, at + 13, firstSeq);
  writeU32(bytes, at + 19, count);
  writeU48(bytes, at + 23, position);
  writeU48(bytes, at + 29, time);
  bytes[at + 35] = duplicate ? 1 : 0;
}

/** One event as history and export give it: fields in this order, as a msgpack array, to save bytes. */
export type WireEvent = readonly [
  seq: number,
  time: number,
  aggregate: string,
  type: string,
  payload: unknown,
  metadata: unknown,
  id: string | null,
  schemaVersion: number,
  position: number,
];

/** Encodes a reply whose body is msgpack: a value, a rejection, an error, a welcome. Returns an owned frame. */
export function encodeReply(kind: number, call: number, value: unknown): Uint8Array {
  return frameReply(kind, call, encodeValue(value));
}

/** The frame of a reply whose body was encoded elsewhere. */
export function frameReply(kind: number, call: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(frameOffset.replyBody + body.length);
  writeU32(frame, 0, frame.length - 4);
  frame[frameOffset.kind] = kind;
  writeU48(frame, frameOffset.replyCall, call);
  frame.set(body, frameOffset.replyBody);
  return frame;
}

/** The frame of a value that was packed into `bytes[frameOffset.replyBody, end)`: a view on those. */
export function framedValue(bytes: Uint8Array, call: number, end: number): Uint8Array {
  writeU32(bytes, 0, end - 4);
  bytes[frameOffset.kind] = replyKind.value;
  writeU48(bytes, frameOffset.replyCall, call);
  return bytes.subarray(0, end);
}

export function encodeErrorReply(call: number, error: HeddleError): Uint8Array {
  return encodeReply(replyKind.error, call, toWireError(error));
}

export function encodeRejectionReply(call: number, value: AnyRejection): Uint8Array {
  return encodeReply(replyKind.rejected, call, { code: value.code, facts: value.facts });
}

/** A reply taken apart. `call` 0 speaks of the connection as a whole. */
export type Reply =
  | { readonly kind: "receipt"; readonly call: number; readonly receipt: Receipt }
  | { readonly kind: "rejected"; readonly call: number; readonly rejection: AnyRejection }
  | { readonly kind: "error"; readonly call: number; readonly error: HeddleError }
  | { readonly kind: "value"; readonly call: number; readonly value: unknown }
  | { readonly kind: "welcome"; readonly call: number; readonly value: unknown }
  | { readonly kind: "pong"; readonly call: number };

/** Errors: `BAD_FRAME`, whatever the bytes are. */
export function readReply(bytes: Uint8Array, from: number, to: number): Reply {
  if (to - from < frameOffset.replyBody) throw badFrame("a reply is too short for its header");
  const call = readU48(bytes, from + frameOffset.replyCall);
  switch (bytes[from + frameOffset.kind]) {
    case replyKind.receipt:
      return { kind: "receipt", call, receipt: readReceipt(bytes, from, to) };
    case replyKind.rejected:
      return { kind: "rejected", call, rejection: rebuild(readMap(bytes, from, to), readRejection) };
    case replyKind.error:
      return { kind: "error", call, error: rebuild(readMap(bytes, from, to), readError) };
    case replyKind.value:
      return { kind: "value", call, value: readValue(bytes, from, to) };
    case replyKind.welcome:
      return { kind: "welcome", call, value: readBody(bytes, from, to) };
    case replyKind.pong:
      return { kind: "pong", call };
    default:
      throw badFrame(`an unknown kind of reply, ${bytes[from + frameOffset.kind]}`);
  }
}

/** Facts of another shape than their code has make the sentence about them throw; the frame is at fault then. */
function rebuild<T>(map: Record<string, unknown>, read: (map: Record<string, unknown>) => T): T {
  try {
    return read(map);
  } catch (cause) {
    throw badFrame("a rejection or error whose facts do not fit its code", cause);
  }
}

function readRejection({ code, facts }: Record<string, unknown>): AnyRejection {
  if (typeof code !== "string" || !Object.hasOwn(rejectionText, code) || typeof facts !== "object") {
    throw new TypeError("an unknown kind of rejection");
  }
  if (code !== "TRANSACTION_REJECTED") return rejection(code as Rejection["code"], facts as never);
  const { operation, entity, rejection: inner } = facts as RejectionFacts<"TRANSACTION_REJECTED">;
  // One level only: a rejection in a rejection in a rejection is nobody's.
  if (!Number.isSafeInteger(operation) || typeof entity !== "string" || !Object.hasOwn(innerText, inner.code)) {
    throw new TypeError("a transaction's rejection that says not of what");
  }
  return rejection(code, { operation, entity, rejection: rejection(inner.code, inner.facts as never) });
}

const { TRANSACTION_REJECTED: _, ...innerText } = rejectionText;

function readError({ code, facts }: Record<string, unknown>): HeddleError {
  if (typeof code !== "string") throw new TypeError("an error without a code");
  return fromWireError({ code, facts });
}

/** The receipt in a whole receipt frame. Errors: `BAD_FRAME` for another length. */
export function readReceipt(bytes: Uint8Array, from: number, to: number): Receipt {
  if (to - from !== receiptFrameBytes) throw badFrame("a receipt has the wrong length");
  const firstSeq = readU48(bytes, from + 13);
  const count = readU32(bytes, from + 19);
  return {
    ok: true,
    seq: firstSeq + count - 1,
    firstSeq,
    count,
    shard: readU16(bytes, from + 11),
    position: readU48(bytes, from + 23),
    time: readU48(bytes, from + 29),
    duplicate: bytes[from + 35] === 1,
  };
}

const packedNull = 0xc0;

// What is answered most often is read by hand; the value is the same.
function readValue(bytes: Uint8Array, from: number, to: number): unknown {
  const at = from + frameOffset.replyBody;
  if (to - at === 1 && bytes[at] === packedNull) return null;
  return readPackedSagaResult(bytes, at, to) ?? readPackedResults(bytes, at, to) ?? readBody(bytes, from, to);
}

function readBody(bytes: Uint8Array, from: number, to: number): unknown {
  try {
    return decodeValue(bytes, from + frameOffset.replyBody, to);
  } catch (cause) {
    throw badFrame("a reply's body is not msgpack", cause);
  }
}

function readMap(bytes: Uint8Array, from: number, to: number): Record<string, unknown> {
  const value = readBody(bytes, from, to);
  if (typeof value !== "object" || value === null) throw badFrame("a reply's body is not a map");
  return value as Record<string, unknown>;
}
