// Decoding: takes the values of a request out of its bytes, and makes reply frames that a client can take. Pure.
import { HeddleError, limits } from "@heddle/kernel";
import { decodeValue, encodeErrorReply, type PackedValue } from "@heddle/protocol/internal";
import { isTooDeep } from "./plain-data.ts";

/** An append's body in the log. Less than a frame, so that any event fits into a reply together with what describes it. */
const bodyBytesMax = limits.frameBytesMax - 4_096;

/** Errors: `FRAME_TOO_LARGE`. */
export function checkBodyBytes(bytes: number): void {
  if (bytes > bodyBytesMax) throw new HeddleError("FRAME_TOO_LARGE", { bytes, bytesMax: bodyBytesMax });
}

/** Errors: `BAD_FRAME` for anything but a list of so many payloads. */
export function decodePayloads(bytes: Uint8Array, from: number, to: number, count: number): unknown[] {
  const payloads = decodeInput(bytes, from, to);
  if (!Array.isArray(payloads) || payloads.length !== count) {
    throw new HeddleError("BAD_FRAME", { problem: `wanted a list of ${count} payloads` });
  }
  return payloads;
}

/** Errors: `BAD_FRAME`. */
export function decodeInput(bytes: Uint8Array, from: number, to: number): unknown {
  try {
    return decodeValue(bytes, from, to);
  } catch (cause) {
    throw new HeddleError(
      "BAD_FRAME",
      { problem: `a payload cannot be decoded: ${(cause as Error).message}` },
      { cause },
    );
  }
}

/**
 * The metadata of a body, to be stored as it came: whoever read the body has looked whether it can be decoded. Undefined where there is
 * none. Errors: `INVALID_REQUEST` when it is nested too deeply.
 */
export function metadataOf(bytes: Uint8Array, from: number, to: number): PackedValue | undefined {
  if (to === from) return undefined;
  // A level takes a byte at least.
  if (to - from <= limits.payloadDepthMax || !isTooDeep(decodeInput(bytes, from, to))) return { bytes, from, to };
  const problem = `it nests deeper than ${limits.payloadDepthMax} levels`;
  throw new HeddleError("INVALID_REQUEST", { path: "metadata", problem });
}

/** For payloads that no schema looks at. Errors: `INVALID_REQUEST`. */
export function checkDepth(payloads: unknown[]): void {
  if (!areTooDeep(payloads)) return;
  throw new HeddleError("INVALID_REQUEST", { path: "payload", problem: "it is nested too deeply" });
}

/** Whether one of these payloads is nested too deeply; their list is a level of its own. */
export function areTooDeep(payloads: unknown[]): boolean {
  return isTooDeep(payloads, limits.payloadDepthMax + 1);
}

/** A frame as it was made, or an error where the client would take it for the end of all sense and connect anew, again and again. */
export function sized(frame: Uint8Array, call: number): Uint8Array {
  const bytes = frame.length - 4;
  if (bytes <= limits.frameBytesMax) return frame;
  return encodeErrorReply(call, new HeddleError("FRAME_TOO_LARGE", { bytes, bytesMax: limits.frameBytesMax }));
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
