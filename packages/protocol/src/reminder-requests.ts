// The bodies of requests about reminders, and what a reminder brings its entity when it is due.
//
// What it brings stays bytes from the client to the delivery: `packContent` takes it apart no further than that an id and
// metadata can be put in between, and `writeDelivery` makes the body of an append or of a command of it.
import { HeddleError, limits } from "@heddle/kernel";
import {
  appendFlags,
  BodyCursor,
  newAppendView,
  newBodyStart,
  readAppendBody,
  writeAppendBody,
  writeBodyStart,
  writeName,
} from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { copyBytes, readU16, TextCache, u48Max, writeText, writeU16, writeU32, writeU48 } from "./bytes.ts";
import { requestKind } from "./frames.ts";
import { packedKey, packedNumberBytesMax, packedTextBytesMax, packNumber, packText } from "./pack-values.ts";
import { decodeValue } from "./payload-codec.ts";
import type { MissedPolicy } from "./reminders.ts";
import { newExecuteView, readExecuteBody, writeExecuteBody } from "./requests.ts";
import type { SagaStepContent } from "./sagas.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

/** What a reminder brings: a command with its input, one event, or several. */
export type ReminderContent =
  | { readonly command: string; readonly input?: unknown }
  | { readonly type: string; readonly payload: unknown }
  | { readonly events: readonly { readonly type: string; readonly payload: unknown }[] };

/** When a reminder is due: once, at a time in milliseconds since 1970, or again and again. */
export type ReminderSchedule =
  | { readonly at: number }
  /** A cron expression, and the IANA time zone in which it counts. */
  | { readonly cron: string; readonly timeZone: string };

export interface RemindFields {
  readonly entity: string;
  /** Of what it brings; empty where the context has one aggregate only. */
  readonly aggregate: string;
  readonly name: string;
  readonly schedule: ReminderSchedule;
  readonly missed: MissedPolicy;
  /** From {@link packContent}. */
  readonly content: Uint8Array;
  readonly id?: string | undefined;
}

const policies: readonly MissedPolicy[] = ["all", "latest", "skip"];

/** For names in contents that this very file writes. */
const ownTexts = new TextCache();

/** What an append or a command begins with, where entity and aggregate are empty and nothing else is given. */
const emptyStartBytes = 4;
const contentHeadBytes = 3;

/**
 * u8 kind (2 append, 3 execute) | u16 length, head: what stands between id and metadata in a body of that kind | the payloads,
 * or the input.
 *
 * Errors: `INVALID_REQUEST` for what is no content, or names too long.
 */
export function packContent(content: ReminderContent): Uint8Array {
  let room = new Uint8Array();
  const reserve: Reserve = (wanted) => {
    room = new Uint8Array(wanted);
    return { bytes: room, at: 0 };
  };
  if (typeof content !== "object" || content === null) throw noContent();
  const start = { entity: "", aggregate: "" };
  if ("command" in content) {
    const { command, input = null } = content;
    if (typeof command !== "string" || command === "") throw noContent();
    const used = writeExecuteBody({ ...start, command, input }, reserve);
    const view = newExecuteView();
    readExecuteBody(room, 0, used, ownTexts, view);
    return packed(requestKind.execute, room, view.inputFrom, used);
  }
  const events = "events" in content ? content.events : [content];
  const areEvents = Array.isArray(events) && events.every((one) => typeof one?.type === "string" && one.type !== "");
  if (!areEvents) throw noContent();
  const used = writeAppendBody({ ...start, events }, reserve);
  const view = newAppendView();
  readAppendBody(room, 0, used, ownTexts, view);
  return packed(requestKind.append, room, view.payloadsFrom, used);
}

function noContent(): HeddleError {
  const problem = "wanted { command, input }, { type, payload } or { events: [{ type, payload }] }";
  return new HeddleError("INVALID_REQUEST", { path: "reminder", problem });
}

function packed(kind: number, body: Uint8Array, headEnd: number, end: number): Uint8Array {
  const headBytes = headEnd - emptyStartBytes;
  // Some hundred types with long names.
  if (headBytes > 0xffff) {
    throw new HeddleError("INVALID_REQUEST", { path: "events", problem: "the names of the events are too long" });
  }
  const content = new Uint8Array(contentHeadBytes + end - emptyStartBytes);
  content[0] = kind;
  writeU16(content, 1, headBytes);
  content.set(body.subarray(emptyStartBytes, end), contentHeadBytes);
  return content;
}

/** Whether it is a command, and not events. */
export function isCommand(content: Uint8Array): boolean {
  return content[0] === requestKind.execute;
}

/** What a content says. Errors: `BAD_FRAME`, whatever the bytes are. */
export function readContent(content: Uint8Array, aggregate: string, texts: TextCache): SagaStepContent {
  const kind = content[0];
  if (content.length < contentHeadBytes || (kind !== requestKind.append && kind !== requestKind.execute)) {
    throw badFrame("a reminder brings neither events nor a command");
  }
  const headEnd = contentHeadBytes + readU16(content, 1);
  const body = new Uint8Array(emptyStartBytes + content.length - contentHeadBytes);
  body.set(content.subarray(contentHeadBytes), emptyStartBytes);
  const shift = emptyStartBytes - contentHeadBytes;
  if (kind === requestKind.execute) {
    const view = newExecuteView();
    readExecuteBody(body, 0, body.length, texts, view);
    if (view.inputFrom !== headEnd + shift) throw badFrame("a reminder's command ends elsewhere than it says");
    return { aggregate, command: view.command, input: decodeValue(body.subarray(view.inputFrom)) };
  }
  const view = newAppendView();
  readAppendBody(body, 0, body.length, texts, view);
  if (view.payloadsFrom !== headEnd + shift) throw badFrame("a reminder's events end elsewhere than they say");
  const payloads = decodeValue(body.subarray(view.payloadsFrom));
  if (!Array.isArray(payloads) || payloads.length !== view.eventCount) throw badFrame("payloads are missing");
  const events = payloads.map((payload, i) => {
    const type = view.types[view.typeIndexes === 0 ? 0 : body[view.typeIndexes + i]!]!;
    return { type, payload };
  });
  return { aggregate, events };
}

export interface Delivery {
  readonly entity: string;
  readonly aggregate: string;
  readonly id: string;
  /** The reminder's name, and when it was due: they become the metadata. */
  readonly reminder: string;
  readonly due: number;
  readonly content: Uint8Array;
}

const metadataKeys = { reminder: packedKey("reminder", 2), due: packedKey("due") };
const metadataFixedBytes = metadataKeys.reminder.length + metadataKeys.due.length + packedNumberBytesMax;

/** The body of an append or a command, as the content is one or the other. */
export function writeDelivery(delivery: Delivery, reserve: Reserve): number {
  const { entity, aggregate, id, reminder, due, content } = delivery;
  const names = 64 + 3 * (entity.length + limits.nameBytesMax + limits.appendIdBytesMax);
  const { bytes, at } = reserve(names + metadataFixedBytes + packedTextBytesMax(reminder) + content.length);
  let p = writeBodyStart(bytes, at, { entity, aggregate, id, metadata: metadataKeys });
  const headEnd = contentHeadBytes + readU16(content, 1);
  p = copyBytes(content, contentHeadBytes, headEnd, bytes, p);
  const metadataFrom = p + 4;
  p = copyBytes(metadataKeys.reminder, 0, metadataKeys.reminder.length, bytes, metadataFrom);
  p = packText(bytes, p, reminder);
  p = copyBytes(metadataKeys.due, 0, metadataKeys.due.length, bytes, p);
  p = packNumber(bytes, p, due);
  writeU32(bytes, metadataFrom - 4, p - metadataFrom);
  return copyBytes(content, headEnd, content.length, bytes, p) - at;
}

/**
 * The start of an append (there is no metadata) | u8 length, name | u8 missed (0 all, 1 latest, 2 skip) | u8 schedule | u48 time
 * for 0, u8 length, cron | u8 length, time zone for 1 | content, to the end.
 *
 * Errors: `INVALID_REQUEST`, with the path of the field.
 */
export function writeRemindBody(fields: RemindFields, reserve: Reserve): number {
  const { entity, aggregate, name, schedule, missed, content, id } = fields;
  checkReminderName(name);
  const policy = policies.indexOf(missed);
  if (policy < 0) {
    const problem = `wanted all, latest or skip, found ${String(missed)}`;
    throw new HeddleError("INVALID_REQUEST", { path: "missed", problem });
  }
  const texts = 5 * limits.nameBytesMax + limits.appendIdBytesMax;
  const { bytes, at } = reserve(64 + 3 * (entity.length + texts) + content.length);
  let p = writeBodyStart(bytes, at, { entity, aggregate, id });
  p = writeName(bytes, p, name, "name");
  bytes[p++] = policy;
  if ("cron" in schedule) {
    bytes[p++] = 1;
    p = writeName(bytes, p, checkText(schedule.cron, "cron"), "cron");
    p = writeName(bytes, p, checkText(schedule.timeZone, "timeZone"), "timeZone");
  } else {
    bytes[p++] = 0;
    writeU48(bytes, p, checkTime(schedule.at));
    p += 6;
  }
  bytes.set(content, p);
  return p + content.length - at;
}

/** The content is a copy. Errors: `BAD_FRAME`, `INVALID_REQUEST`; what the content says is not looked at. */
export function readRemindBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): RemindFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const start = newBodyStart();
  const flags = cursor.start(start);
  if ((flags & ~appendFlags.id) !== 0) throw badFrame("a reminder has flags of an append");
  const name = cursor.name();
  checkReminderName(name);
  const missed = policies[cursor.u8()];
  if (missed === undefined) throw badFrame("a reminder has an unknown policy");
  const kind = cursor.u8();
  if (kind > 1) throw badFrame("a reminder has an unknown kind of schedule");
  const schedule = kind === 0 ? { at: cursor.u48() } : { cron: cursor.name(), timeZone: cursor.name() };
  const content = bytes.slice(cursor.at, to);
  const id = start.id === "" ? undefined : start.id;
  return { entity: start.entity, aggregate: start.aggregate, name, schedule, missed, content, id };
}

export interface CancelReminderFields {
  readonly entity: string;
  readonly name: string;
}

/** u16 length, entity | u8 length, name. */
export function writeCancelReminderBody({ entity, name }: CancelReminderFields, reserve: Reserve): number {
  checkName(isName(name));
  const { bytes, at } = reserve(8 + 3 * (entity.length + limits.nameBytesMax));
  return writeName(bytes, writeEntity(bytes, at, entity), name, "name") - at;
}

export function readCancelReminderBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
): CancelReminderFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = { entity: cursor.entity(), name: cursor.name() };
  checkEnd(cursor, to);
  checkName(isName(fields.name));
  return fields;
}

/** u16 length, entity. */
export function writeRemindersBody({ entity }: { readonly entity: string }, reserve: Reserve): number {
  const { bytes, at } = reserve(8 + 3 * entity.length);
  return writeEntity(bytes, at, entity) - at;
}

export function readRemindersBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
): { readonly entity: string } {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = { entity: cursor.entity() };
  checkEnd(cursor, to);
  return fields;
}

/** Asked of one shard: the frame carries the shard's number in place of an entity's hash. */
export interface ReminderListFields {
  /** Only what is due before this time. */
  readonly before: number;
  readonly limit: number;
  /** Goes on behind this time and entity; 0 and empty for the first page. */
  readonly afterDue: number;
  readonly afterEntity: string;
}

/** [entity, due, name, pending]. By time, then by the entity's UTF-8 bytes. */
export type WireListedReminder = readonly [entity: string, due: number, name: string, pending: number];

/** u48 before | u32 limit | u48 after time | u16 length, after entity. */
export function writeReminderListBody(fields: ReminderListFields, reserve: Reserve): number {
  const { before, limit, afterDue, afterEntity } = fields;
  checkReminderList(fields);
  const { bytes, at } = reserve(24 + 3 * afterEntity.length);
  writeU48(bytes, at, before);
  writeU32(bytes, at + 6, limit);
  writeU48(bytes, at + 10, afterDue);
  return writeEntity(bytes, at + 16, afterEntity) - at;
}

export function readReminderListBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
): ReminderListFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = {
    before: cursor.u48(),
    limit: cursor.u32(),
    afterDue: cursor.u48(),
    afterEntity: cursor.entity(),
  };
  checkEnd(cursor, to);
  checkReminderList(fields);
  return fields;
}

/** Of one that is to be set. Errors: `INVALID_REQUEST`. */
export function checkReminderName(name: unknown): asserts name is string {
  checkName(isName(name) && !/\p{Cc}/u.test(name));
}

function checkName(isOne: boolean): void {
  if (isOne) return;
  const problem = `a reminder's name is well-formed text of 1 to ${limits.reminderNameBytesMax} bytes, without control characters`;
  throw new HeddleError("INVALID_REQUEST", { path: "name", problem });
}

function isName(name: unknown): name is string {
  const { reminderNameBytesMax } = limits;
  const isText = typeof name === "string" && name !== "" && name.length <= reminderNameBytesMax && name.isWellFormed();
  return isText && writeText(scratch, 0, name) <= reminderNameBytesMax;
}

const scratch = new Uint8Array(3 * limits.reminderNameBytesMax);

function checkReminderList({ before, limit, afterDue, afterEntity }: ReminderListFields): void {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > limits.listEntitiesMax) {
    const problem = `wanted a whole number from 1 to ${limits.listEntitiesMax}, found ${limit}`;
    throw new HeddleError("INVALID_REQUEST", { path: "limit", problem });
  }
  checkTime(before, "before");
  checkTime(afterDue, "cursor");
  if (typeof afterEntity !== "string" || !afterEntity.isWellFormed() || afterEntity.length > limits.entityIdBytesMax) {
    throw new HeddleError("INVALID_REQUEST", { path: "cursor", problem: "wanted the cursor of a page before" });
  }
}

function checkTime(ms: unknown, path = "at"): number {
  if (typeof ms === "number" && Number.isSafeInteger(ms) && ms >= 0 && ms <= u48Max) return ms;
  throw new HeddleError("INVALID_REQUEST", { path, problem: `wanted milliseconds since 1970, found ${String(ms)}` });
}

function checkText(text: unknown, path: string): string {
  if (typeof text === "string" && text !== "") return text;
  throw new HeddleError("INVALID_REQUEST", { path, problem: `wanted text, found ${typeof text}` });
}

function writeEntity(bytes: Uint8Array, at: number, entity: string): number {
  const length = writeText(bytes, at + 2, entity);
  writeU16(bytes, at, length);
  return at + 2 + length;
}

function checkEnd(cursor: BodyCursor, to: number): void {
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
}
