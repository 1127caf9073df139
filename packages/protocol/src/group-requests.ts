// The bodies of requests about consumer groups, and the page that answers a poll. All are answered by the feed thread,
// whatever stands in the header's place for an entity's hash.
//
//   poll     u8 act | u8 length, group | u8 length, member | u48 turn | u32 slots held | u32 limit | u32 wait, ms |
//            u8 count, places: u8 slot, u32 shard, u48 record, u32 skip |
//            u8 from (0 the beginning, 1 now) | u8 length, kind | u8 length, aggregate | u8 types, each: u8 length, name
//   list     nothing
//   forget   u8 length, group
import { type EntityId, HeddleError, hashEntity, limits } from "@heddle/kernel";
import { BodyCursor, writeName } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { TextCache, u48Max, writeU32, writeU48 } from "./bytes.ts";
import { type FeedPosition, feedSkipMax } from "./feed-cursor.ts";
import { type FeedPage, readFeedPage } from "./feed-requests.ts";
import type { ListedGroup } from "./groups.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

/** Entities are divided into so many parts, and members of a group have some parts each. Part of the data folder's format. */
export const groupSlots = 32;
/** A member that is silent for longer has lost its slots. */
export const groupSilenceMs = 10_000;
export const groupWaitMsMax = 25_000;
export const groupEventsMax = 1_000;
const typesMax = 255;
const shardMax = 65_535;

/** Names come from this file's own requests, and repeat. */
const ownTexts = new TextCache(256);

/** The part that an entity belongs to. */
export function slotOfEntity(entity: string): number {
  return hashEntity(entity as EntityId) % groupSlots;
}

/** Which events a group is for. Empty means all. */
export interface GroupFilter {
  readonly kind: string;
  readonly aggregate: string;
  readonly types: readonly string[];
}

/** Everything of a slot, in a shard's feed, up to here has been dealt with. */
export interface GroupPlace extends FeedPosition {
  readonly slot: number;
  readonly shard: number;
}

export interface GroupPollFields extends GroupFilter {
  readonly group: string;
  readonly member: string;
  /** `join`: the member may be new, and so may the group. `leave`: it goes, and gives back what it holds. */
  readonly act: "poll" | "join" | "leave";
  /** Grows with each poll of a member, so that one which was held up on its way is told from the newest. */
  readonly turn: number;
  /** A bit for each slot of which the member holds events that it has not dealt with. */
  readonly holds: number;
  /** Events that it wants at most; 0 tells that it lives. One that holds any wants none. */
  readonly limit: number;
  readonly waitMs: number;
  /** What it has dealt with. */
  readonly done: readonly GroupPlace[];
  /** Where a new group begins; looked at, as the filter is, when the member joins. */
  readonly from: "beginning" | "now";
}

const acts = ["poll", "join", "leave"] as const;

export function writeGroupPollBody(fields: GroupPollFields, reserve: Reserve): number {
  checkPoll(fields);
  const { done, types } = fields;
  const { bytes, at } = reserve(64 + done.length * 15 + 3 * (4 + types.length) * (limits.nameBytesMax + 1));
  bytes[at] = acts.indexOf(fields.act);
  let p = writeName(bytes, at + 1, fields.group, "group");
  p = writeName(bytes, p, fields.member, "member");
  writeU48(bytes, p, fields.turn);
  writeU32(bytes, p + 6, fields.holds);
  writeU32(bytes, p + 10, fields.limit);
  writeU32(bytes, p + 14, fields.waitMs);
  bytes[p + 18] = done.length;
  p += 19;
  for (const { slot, shard, record, skip } of done) {
    bytes[p] = slot;
    writeU32(bytes, p + 1, shard);
    writeU48(bytes, p + 5, record);
    writeU32(bytes, p + 11, skip);
    p += 15;
  }
  bytes[p++] = fields.from === "now" ? 1 : 0;
  p = writeName(bytes, p, fields.kind, "kind");
  p = writeName(bytes, p, fields.aggregate, "aggregate");
  bytes[p++] = types.length;
  for (const type of types) p = writeName(bytes, p, type, "types");
  return p - at;
}

export function readGroupPollBody(bytes: Uint8Array, from: number, to: number): GroupPollFields {
  const cursor = new BodyCursor(bytes, from, to, ownTexts);
  const act = acts[cursor.u8()];
  if (act === undefined) throw badFrame("a member of a group that does nothing known");
  const fields = {
    act,
    group: cursor.name(),
    member: cursor.name(),
    turn: cursor.u48(),
    holds: cursor.u32(),
    limit: cursor.u32(),
    waitMs: cursor.u32(),
    done: Array.from({ length: cursor.u8() }, () => {
      return { slot: cursor.u8(), shard: cursor.u32(), record: cursor.u48(), skip: cursor.u32() };
    }),
    from: readFrom(cursor.u8()),
    kind: cursor.name(),
    aggregate: cursor.name(),
    types: Array.from({ length: cursor.u8() }, () => cursor.name()),
  };
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  checkPoll(fields);
  return fields;
}

function readFrom(byte: number): "beginning" | "now" {
  if (byte > 1) throw badFrame("a group that begins neither at the beginning nor now");
  return byte === 1 ? "now" : "beginning";
}

function checkPoll(fields: GroupPollFields): void {
  const { group, member, turn, holds, limit, waitMs, done, from, kind, types } = fields;
  checkGroupName("group", group);
  checkGroupName("member", member);
  checkWhole("turn", turn, 0, u48Max);
  checkWhole("holds", holds, 0, 2 ** groupSlots - 1);
  checkWhole("limit", limit, 0, groupEventsMax);
  if (limit > 0 && holds !== 0) throw invalid("limit", "who still holds events can be given no others");
  checkWhole("waitMs", waitMs, 0, groupWaitMsMax);
  checkWhole("done", done.length, 0, groupSlots);
  for (const { slot, shard, record, skip } of done) {
    checkWhole("done", slot, 0, groupSlots - 1);
    checkWhole("done", shard, 0, shardMax);
    checkWhole("done", record, 0, u48Max);
    checkWhole("done", skip, 0, feedSkipMax);
  }
  if (from !== "beginning" && from !== "now") {
    throw invalid("from", `wanted "beginning" or "now", found ${JSON.stringify(from)}; a group keeps its place itself`);
  }
  if (!Array.isArray(types)) throw invalid("types", "wanted a list of event types");
  checkWhole("types", types.length, 0, typesMax);
  if (kind !== "" && !/^[a-z][a-z0-9_-]*$/.test(kind)) {
    throw invalid("kind", `wanted a lower-case word such as account, found ${JSON.stringify(kind)}`);
  }
}

/** u8 length, group. */
export function writeGroupForgetBody({ group }: { readonly group: string }, reserve: Reserve): number {
  checkGroupName("group", group);
  const { bytes, at } = reserve(3 * (limits.nameBytesMax + 1));
  return writeName(bytes, at, group, "group") - at;
}

export function readGroupForgetBody(bytes: Uint8Array, from: number, to: number): { readonly group: string } {
  const cursor = new BodyCursor(bytes, from, to, ownTexts);
  const group = cursor.name();
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  checkGroupName("group", group);
  return { group };
}

/** Errors: `INVALID_REQUEST`. */
export function checkGroupName(path: string, name: string): void {
  if (typeof name === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) return;
  const shown = JSON.stringify(name)?.slice(0, 80) ?? "nothing";
  throw invalid(path, `wanted 1 to 128 letters, digits, dots, dashes and underscores, found ${shown}`);
}

function checkWhole(path: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw invalid(path, `wanted a whole number from ${least} to ${most}, found ${value}`);
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

/**
 * What answers a poll: the slots that the member has, and may go on with, as bits; then a page of one shard's feed as
 * feed-requests.ts has it, empty for who wanted none.
 */
export type WireGroupPage = readonly [slots: number, shard: number, record: number, skip: number, entries: unknown];

export interface GroupPage {
  readonly slots: number;
  readonly shard: number;
  readonly page: FeedPage;
}

/** Errors: `BAD_FRAME` for a value of another shape. */
export function readGroupPage(value: unknown): GroupPage {
  if (!Array.isArray(value) || value.length !== 5) throw badFrame("a page of a group that is none");
  const [slots, shard, ...page] = value as unknown as WireGroupPage;
  if (!isWhole(slots) || slots > 2 ** groupSlots - 1 || !isWhole(shard))
    throw badFrame("a page of a group without its slots");
  return { slots, shard, page: readFeedPage(page, shard) };
}

/** Errors: `BAD_FRAME` for a value that is no list. */
export function readGroupList(value: unknown): ListedGroup[] {
  if (Array.isArray(value)) return value as ListedGroup[];
  throw badFrame("a list of groups that is none");
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
