// The bodies of a subscription to one entity: a watch, its page, and its end.
import { HeddleError, limits } from "@heddle/kernel";
import { BodyCursor } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { type TextCache, u48Max, writeU32, writeU48 } from "./bytes.ts";
import type { WireEvent } from "./replies.ts";
import { type GetFields, writeGetBody } from "./requests.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export interface WatchFields extends GetFields {
  /** Inclusive sequence to begin at. 0 asks where "now" is: the page is empty, comes at once, and its `next` says it. */
  readonly from: number;
  readonly limit: number;
  /** How long the node waits for a first event before the page comes empty. 0: it does not wait. */
  readonly waitMs: number;
}

/** What a node waits at most: shorter than what lies between two parties may take for a dead connection. */
export const watchWaitMsMax = 25_000;

const watchTailBytes = 14;

/** As get | u48 from | u32 limit | u32 waitMs. An empty aggregate means all of them. */
export function writeWatchBody(fields: WatchFields, reserve: Reserve): number {
  checkWatch(fields);
  let start = 0;
  let out: Uint8Array = new Uint8Array();
  const used = writeGetBody(fields, (wanted) => {
    const room = reserve(wanted + watchTailBytes);
    start = room.at;
    out = room.bytes;
    return room;
  });
  const tail = start + used;
  writeU48(out, tail, fields.from);
  writeU32(out, tail + 6, fields.limit);
  writeU32(out, tail + 10, fields.waitMs);
  return used + watchTailBytes;
}

export function readWatchBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): WatchFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = {
    entity: cursor.entity(),
    aggregate: cursor.name(),
    from: cursor.u48(),
    limit: cursor.u32(),
    waitMs: cursor.u32(),
  };
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  checkWatch(fields);
  return fields;
}

function checkWatch({ from, limit, waitMs }: WatchFields): void {
  checkWhole("from", from, 0, u48Max);
  checkWhole("limit", limit, 1, limits.historyEventsMax);
  checkWhole("waitMs", waitMs, 0, watchWaitMsMax);
}

function checkWhole(path: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  const problem = `wanted a whole number from ${least} to ${most}, found ${value}`;
  throw new HeddleError("INVALID_REQUEST", { path, problem });
}

export interface UnwatchFields {
  /** The number of the watch, on the same connection. */
  readonly call: number;
}

/** u48 call. */
export function writeUnwatchBody({ call }: UnwatchFields, reserve: Reserve): number {
  const { bytes, at } = reserve(6);
  writeU48(bytes, at, call);
  return 6;
}

export function readUnwatchBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): UnwatchFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const call = cursor.u48();
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  return { call };
}

/** What a watch is answered with. */
export interface WatchPage {
  /** In rising order; none when there were none for as long as it waited. */
  readonly events: readonly WireEvent[];
  /** Where to watch on: behind everything that was looked at, events of other aggregates included. */
  readonly next: number;
}

export type WireWatchPage = readonly [events: readonly WireEvent[], next: number];

/** Errors: `BAD_FRAME` for a value of another shape. The events themselves are not looked at. */
export function readWatchPage(value: unknown): WatchPage {
  const [events, next] = Array.isArray(value) && value.length === 2 ? (value as unknown as WireWatchPage) : [];
  if (!Array.isArray(events) || events.length > limits.historyEventsMax) throw badFrame("a watch without its events");
  if (!Number.isSafeInteger(next) || next! < 1) throw badFrame("a watch that does not say where to go on");
  return { events, next: next! };
}
