// The bodies of requests about an entity's life: an earlier state, going back, erasing, bringing in, and listing.
import { HeddleError, limits } from "@heddle/kernel";
import {
  type AppendFields,
  type AppendView,
  appendFlags,
  BodyCursor,
  newBodyStart,
  readAppendBody,
  writeAppendBody,
  writeBodyStart,
} from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { type TextCache, u48Max, writeText, writeU16, writeU32, writeU48 } from "./bytes.ts";
import { type Moment, momentBytes, readMoment, writeMoment } from "./moment.ts";
import { type GetFields, writeGetBody } from "./requests.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export interface GetAtFields extends GetFields {
  readonly at: Moment;
}

/** As get | moment. */
export function writeGetAtBody(fields: GetAtFields, reserve: Reserve): number {
  let room: { bytes: Uint8Array; at: number } = { bytes: new Uint8Array(), at: 0 };
  const used = writeGetBody(fields, (wanted) => {
    room = reserve(wanted + momentBytes);
    return room;
  });
  return writeMoment(room.bytes, room.at + used, fields.at) - room.at;
}

export function readGetAtBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): GetAtFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = { entity: cursor.entity(), aggregate: cursor.name(), at: readMoment(cursor) };
  checkEnd(cursor, to);
  return fields;
}

export interface RestoreFields {
  readonly entity: string;
  readonly at: Moment;
  readonly expectedSeq?: number | undefined;
  readonly id?: string | undefined;
}

/** The start of an append (the aggregate is empty, there is no metadata) | moment. */
export function writeRestoreBody(fields: RestoreFields, reserve: Reserve): number {
  const { bytes, at } = reserve(64 + 3 * (fields.entity.length + limits.appendIdBytesMax) + momentBytes);
  const start = { entity: fields.entity, aggregate: "", expectedSeq: fields.expectedSeq, id: fields.id };
  return writeMoment(bytes, writeBodyStart(bytes, at, start), fields.at) - at;
}

export interface RestoreView {
  entity: string;
  aggregate: string;
  /** -1 when the caller expects nothing. */
  expectedSeq: number;
  id: string;
  at: Moment;
}

export function readRestoreBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): RestoreView {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const start = newBodyStart();
  const flags = cursor.start(start);
  if ((flags & ~(appendFlags.expectedSeq | appendFlags.id)) !== 0) throw badFrame("a restore has flags of an append");
  const { entity, aggregate, expectedSeq, id } = start;
  const view = { entity, aggregate, expectedSeq, id, at: readMoment(cursor) };
  checkEnd(cursor, to);
  return view;
}

export interface DeleteFields {
  readonly entity: string;
  /** Answer as soon as the log is clean: the receipt is provisional then. */
  readonly provisional: boolean;
  /** Answer as soon as the tombstone is durable: the rest is sure to follow. For calls between shards. */
  readonly buried?: boolean | undefined;
}

/** u16 length, entity | u8: 1 for an answer when the log is clean, 2 for one when the tombstone is durable. */
export function writeDeleteBody(fields: DeleteFields, reserve: Reserve): number {
  const { bytes, at } = reserve(8 + 3 * fields.entity.length);
  const p = writePrefixed(bytes, at, fields.entity);
  bytes[p] = fields.buried === true ? 2 : fields.provisional ? 1 : 0;
  return p + 1 - at;
}

export function readDeleteBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): DeleteFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const entity = cursor.entity();
  const answer = cursor.u8();
  checkEnd(cursor, to);
  return { entity, provisional: answer === 1, buried: answer === 2 };
}

export interface ImportFields extends AppendFields {
  /** Milliseconds since 1970 of the events, not before the entity's last. */
  readonly time: number;
  /** Payloads are not held against their schemas: for schemas that do not take what they return. */
  readonly trusted: boolean;
}

/** u48 time | u8: 1 for trusted payloads | an append body. */
export function writeImportBody(fields: ImportFields, reserve: Reserve): number {
  if (!Number.isSafeInteger(fields.time) || fields.time < 0 || fields.time > u48Max) {
    throw new HeddleError("INVALID_REQUEST", {
      path: "time",
      problem: `wanted milliseconds since 1970, found ${fields.time}`,
    });
  }
  let start = 0;
  const used = writeAppendBody(fields, (wanted) => {
    const { bytes, at } = reserve(importHeadBytes + wanted);
    start = at;
    writeU48(bytes, start, fields.time);
    bytes[start + 6] = fields.trusted ? 1 : 0;
    return { bytes, at: at + importHeadBytes };
  });
  return importHeadBytes + used;
}

/** What stands before the append body of an import. */
export const importHeadBytes = 7;

export function readImportBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
  into: AppendView,
): { readonly time: number; readonly trusted: boolean } {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const head = { time: cursor.u48(), trusted: cursor.u8() === 1 };
  readAppendBody(bytes, cursor.at, to, texts, into);
  return head;
}

/** A list is asked of one shard: its frame carries the shard's number in place of an entity's hash. */
export interface ListFields {
  /** Ids begin with this text. */
  readonly prefix: string;
  /** Ids come after this one, by their UTF-8 bytes; empty for the first page. */
  readonly after: string;
  readonly limit: number;
  /** Erased entities too. */
  readonly erased: boolean;
}

/** [entity, last sequence, ms of the last event, hash chain as 64 hex digits, erased]. */
export type WireListed = readonly [entity: string, seq: number, time: number, chain: string, erased: boolean];

/** u16 length, prefix | u16 length, after | u32 limit | u8: 1 for erased ones too. */
export function writeListBody(fields: ListFields, reserve: Reserve): number {
  checkList(fields);
  const { bytes, at } = reserve(16 + 3 * (fields.prefix.length + fields.after.length));
  const p = writePrefixed(bytes, writePrefixed(bytes, at, fields.prefix), fields.after);
  writeU32(bytes, p, fields.limit);
  bytes[p + 4] = fields.erased ? 1 : 0;
  return p + 5 - at;
}

export function readListBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): ListFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = {
    prefix: cursor.entity(),
    after: cursor.entity(),
    limit: cursor.u32(),
    erased: cursor.u8() === 1,
  };
  checkEnd(cursor, to);
  checkList(fields);
  return fields;
}

function checkList({ prefix, after, limit }: ListFields): void {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > limits.listEntitiesMax) {
    throw new HeddleError("INVALID_REQUEST", {
      path: "limit",
      problem: `wanted a whole number from 1 to ${limits.listEntitiesMax}, found ${limit}`,
    });
  }
  for (const [path, text] of Object.entries({ prefix, after })) {
    if (typeof text === "string" && text.isWellFormed() && text.length <= limits.entityIdBytesMax) continue;
    throw new HeddleError("INVALID_REQUEST", { path, problem: "wanted the beginning of an entity id" });
  }
}

function writePrefixed(bytes: Uint8Array, at: number, text: string): number {
  const length = writeText(bytes, at + 2, text);
  writeU16(bytes, at, length);
  return at + 2 + length;
}

function checkEnd(cursor: BodyCursor, to: number): void {
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
}
