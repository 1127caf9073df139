// Times and moments as callers write them, in the form that requests have.
import type { Moment } from "@heddle/protocol";

/** Milliseconds since 1970, or a Date. */
export type Time = number | Date;

/**
 * A point in one entity's history. `{ seq }`: after the event with that sequence, 0 for before the first. `{ time }`: after
 * the last event of that millisecond or earlier; a time to come is `OUT_OF_RANGE`.
 */
export type MomentInput =
  | { readonly seq: number; readonly time?: never }
  | { readonly time: Time; readonly seq?: never };

/** A Date that is none becomes NaN, which requests refuse. */
export function millisecondsOf(time: Time): number;
export function millisecondsOf(time: Time | undefined): number | undefined;
export function millisecondsOf(time: Time | undefined): number | undefined {
  return time instanceof Date ? time.getTime() : time;
}

/** Whatever is wrong with it is said by the request that it goes into. */
export function momentOf(at: MomentInput): Moment {
  return at?.time instanceof Date ? { time: at.time.getTime() } : (at as Moment);
}
