// The body of a request for a shard's feed, and the page that answers it.
import { HeddleError, limits } from "@heddle/kernel";
import { BodyCursor, writeName } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { type TextCache, u48Max, writeU32, writeU48 } from "./bytes.ts";
import { type FeedPosition, feedSkipMax } from "./feed-cursor.ts";
import { frameOffset } from "./frames.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export interface FeedFields {
  /** Events behind this place; "now": no events, but where the feeds of all shards end, as the node finds them on the way. */
  readonly from: FeedPosition | "now";
  /** So long the answer may wait for the first event, 0 to 60,000. */
  readonly waitMs: number;
  /** Events at most, 1 to 10,000. */
  readonly limit: number;
  /** Only of entities of this kind; empty for all. */
  readonly kind: string;
  /** Only of this aggregate; empty for all. */
  readonly aggregate: string;
  /** Only of these types, at most 255; empty for all. */
  readonly types: readonly string[];
}

export const feedWaitMsMax = 60_000;
const feedTypesMax = 255;

/**
 * u8 from (0 a place, 1 now) | u48 record | u32 skip | u32 wait, ms | u32 limit | u8 length, kind | u8 length, aggregate |
 * u8 types, each: u8 length, name. The shard's number stands in the header.
 */
export function writeFeedBody(fields: FeedFields, reserve: Reserve): number {
  checkFeed(fields);
  const { from, types } = fields;
  const { bytes, at } = reserve(64 + 3 * (2 + types.length) * (limits.nameBytesMax + 1));
  bytes[at] = from === "now" ? 1 : 0;
  writeU48(bytes, at + 1, from === "now" ? 0 : from.record);
  writeU32(bytes, at + 7, from === "now" ? 0 : from.skip);
  writeU32(bytes, at + 11, fields.waitMs);
  writeU32(bytes, at + 15, fields.limit);
  let p = writeName(bytes, at + 19, fields.kind, "kind");
  p = writeName(bytes, p, fields.aggregate, "aggregate");
  bytes[p++] = types.length;
  for (const type of types) p = writeName(bytes, p, type, "types");
  return p - at;
}

export function readFeedBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): FeedFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const now = cursor.u8();
  if (now > 1) throw badFrame("a feed that begins neither at a place nor now");
  const position = { record: cursor.u48(), skip: cursor.u32() };
  const waitMs = cursor.u32();
  const limit = cursor.u32();
  const kind = cursor.name();
  const aggregate = cursor.name();
  const types = Array.from({ length: cursor.u8() }, () => cursor.name());
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  const fields = { from: now === 1 ? ("now" as const) : position, waitMs, limit, kind, aggregate, types };
  checkFeed(fields);
  return fields;
}

function checkFeed({ from, waitMs, limit, types, kind }: FeedFields): void {
  if (from !== "now") {
    checkWhole("from", from.record, 0, u48Max);
    checkWhole("from", from.skip, 0, feedSkipMax);
  }
  checkWhole("waitMs", waitMs, 0, feedWaitMsMax);
  checkWhole("limit", limit, 1, limits.historyEventsMax);
  if (!Array.isArray(types)) throw invalid("types", "wanted a list of event types");
  checkWhole("types", types.length, 0, feedTypesMax);
  if (kind !== "" && !/^[a-z][a-z0-9_-]*$/.test(kind)) {
    throw invalid("kind", `wanted a lower-case word such as account, found ${JSON.stringify(kind)}`);
  }
}

function checkWhole(path: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw invalid(path, `wanted a whole number from ${least} to ${most}, found ${value}`);
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

/** Whether a whole request frame asks where the feeds end, rather than for events. */
export function asksForEnds(bytes: Uint8Array, from: number, to: number): boolean {
  const at = from + frameOffset.requestBody;
  return at < to && bytes[at] === 1;
}

/** By shard, from 0. Errors: `BAD_FRAME` for a value of another shape. */
export function readFeedEnds(value: unknown): readonly number[] {
  if (Array.isArray(value) && value.length > 0 && value.every(Number.isSafeInteger)) return value;
  throw badFrame("ends of feeds that are none");
}

/** One entry of a page: events that were committed together, of one entity, as far as they were asked for. */
export type WireFeedEntry = readonly [
  /** Place of its record, and of its first event in the record's feed order. */
  record: number,
  at: number,
  position: number,
  entity: string,
  aggregate: string,
  firstSeq: number,
  time: number,
  id: string | null,
  metadata: unknown,
  /** `index` counts in the entry, from 0. */
  events: readonly (readonly [index: number, type: string, schemaVersion: number, payload: unknown])[],
];

/** What answers a feed request: the entries, and the place behind all that was looked at. */
export type WireFeedPage = readonly [record: number, skip: number, entries: readonly WireFeedEntry[]];

/** One committed event, wherever it comes from. */
export interface FeedEvent {
  readonly shard: number;
  /** Of its entry in the shard's log, and its place in the entry, from 0. */
  readonly position: number;
  readonly index: number;
  readonly entity: string;
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly aggregate: string;
  readonly type: string;
  /** In the newest shape that the domain module has. */
  readonly payload: unknown;
  readonly metadata: unknown;
  readonly id: string | undefined;
  readonly schemaVersion: number;
}

/** A page taken apart: each event with the place behind it. */
export interface FeedPage {
  readonly events: readonly { readonly event: FeedEvent; readonly behind: FeedPosition }[];
  readonly next: FeedPosition;
}

/** Errors: `BAD_FRAME` for a value of another shape. */
export function readFeedPage(value: unknown, shard: number): FeedPage {
  if (!Array.isArray(value) || value.length !== 3 || !Array.isArray(value[2])) throw badFrame("a page that is none");
  const [record, skip, entries] = value as unknown as WireFeedPage;
  if (!Number.isSafeInteger(record) || !Number.isSafeInteger(skip)) throw badFrame("a page without its end");
  return { events: entries.flatMap((entry) => readEntry(entry, shard)), next: { record, skip } };
}

function readEntry(entry: WireFeedEntry, shard: number): FeedPage["events"] {
  if (!Array.isArray(entry) || entry.length !== 10 || !Array.isArray(entry[9])) throw badFrame("no entry of a page");
  const [record, at, position, entity, aggregate, firstSeq, time, id, metadata, events] = entry as WireFeedEntry;
  const numbers = [record, at, position, firstSeq, time];
  if (typeof entity !== "string" || !numbers.every((number) => Number.isSafeInteger(number))) {
    throw badFrame("an entry of a page without its place");
  }
  return events.map((one) => {
    if (!Array.isArray(one) || one.length !== 4 || typeof one[1] !== "string") throw badFrame("no event of a page");
    const [index, type, schemaVersion, payload] = one;
    const event = {
      shard,
      position,
      index,
      entity,
      seq: firstSeq + index,
      time,
      aggregate,
      type,
      payload,
      metadata: metadata ?? undefined,
      id: id ?? undefined,
      schemaVersion,
    };
    return { event, behind: { record, skip: at + index + 1 } };
  });
}
