// Moment: a point in one entity's history, by sequence or by time.
import { HeddleError } from "@heddle/kernel";
import type { BodyCursor } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { u48Max, writeU48 } from "./bytes.ts";

/**
 * `seq`: after the event with that sequence; 0 is before the first. `time`: after the last event of that millisecond or
 * earlier, in ms since 1970.
 */
export type Moment = { readonly seq: number; readonly time?: never } | { readonly time: number; readonly seq?: never };

export const momentBytes = 7;

/** u8 (0 sequence, 1 time) | u48. Errors: `INVALID_REQUEST` for anything but one whole number. */
export function writeMoment(bytes: Uint8Array, at: number, moment: Moment): number {
  const { seq, time } = moment as { readonly seq?: unknown; readonly time?: unknown };
  if ((seq === undefined) === (time === undefined)) {
    throw new HeddleError("INVALID_REQUEST", { path: "at", problem: "wanted either { seq } or { time }" });
  }
  const value = seq ?? time;
  if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > u48Max) {
    throw new HeddleError("INVALID_REQUEST", {
      path: seq === undefined ? "time" : "seq",
      problem: `wanted a whole number from 0 to 2^48 - 1, found ${String(value)}`,
    });
  }
  bytes[at] = seq === undefined ? 1 : 0;
  writeU48(bytes, at + 1, value as number);
  return at + momentBytes;
}

/** Errors: `BAD_FRAME`. */
export function readMoment(cursor: BodyCursor): Moment {
  const kind = cursor.u8();
  if (kind > 1) throw badFrame(`a moment of the unknown kind ${kind}`);
  const value = cursor.u48();
  return kind === 1 ? { time: value } : { seq: value };
}
