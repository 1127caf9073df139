// Pending reminders of one entity, as its state keeps them: packed, in the order in which they are due.
//
// They are bytes because most of them only wait: an entity is woken and written again for every one that is delivered, and the
// others come along as one piece. With ten of them that takes 5 µs, with objects it took 30, and six times the memory.
//
// They lie in blocks, each a few KiB or one reminder, so that a change copies little however many there are. Nothing here is ever
// changed in place: states share blocks, and their memory.
//
// A reminder: u32 its bytes, with these four | u48 due | u48 version | u8 length, name | u8 missed (0 all, 1 latest, 2 skip) |
// u8 last (0 never, 1 delivered, 2 refused, 3 missed); unless never: u48 due, u8 length, code | u8 schedule (0 once: u48 time;
// 1 again: u8 length, cron, u8 length, time zone) | u8 length, aggregate | content, to the end.
import { invariant } from "@heddle/kernel/internal";
import {
  type LastReminder,
  type MissedPolicy,
  type ReminderOutcome,
  type ReminderSchedule,
  readU32,
  readU48,
  TextCache,
  writeText,
  writeU32,
  writeU48,
} from "@heddle/protocol/internal";

export interface PendingReminder {
  readonly name: string;
  /** Counts what was set: tells one reminder from another of the same name. */
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly due: number;
  readonly schedule: ReminderSchedule;
  readonly missed: MissedPolicy;
  readonly aggregate: string;
  /** As protocol's `packContent` makes it. */
  readonly content: Uint8Array;
  readonly last: LastReminder | null;
}

/** Blocks, none of them empty; in them and over them reminders are in the order in which they are due. */
export type PendingReminders = readonly Uint8Array[];

/** A block with more than one reminder has no more than this. */
const blockBytesMax = 4_096;

const dueOffset = 4;
const versionOffset = 10;
const nameOffset = 16;

const policies: readonly MissedPolicy[] = ["all", "latest", "skip"];
const outcomes: readonly ReminderOutcome[] = ["delivered", "refused", "missed"];
/** Names are few, and the same again and again. */
const texts = new TextCache(1_024);

/** When the first is due; undefined when there is none. */
export function firstDueOf(pending: PendingReminders): number | undefined {
  return pending.length === 0 ? undefined : readU48(pending[0]!, dueOffset);
}

export function countPending(pending: PendingReminders): number {
  let count = 0;
  for (const block of pending) for (let at = 0; at < block.length; at += readU32(block, at)) count++;
  return count;
}

export function hasNamed(pending: PendingReminders, name: string): boolean {
  return pending.some((block) => placeOfName(block, name) >= 0);
}

/** Those due up to a time, the first first, and no more than `limit`. Contents are views into the state. */
export function readDue(pending: PendingReminders, upTo: number, limit: number): PendingReminder[] {
  const found: PendingReminder[] = [];
  for (const block of pending) {
    for (let at = 0; at < block.length; at += readU32(block, at)) {
      if (found.length === limit || readU48(block, at + dueOffset) > upTo) return found;
      found.push(read(block, at));
    }
  }
  return found;
}

export function readAll(pending: PendingReminders): PendingReminder[] {
  return readDue(pending, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
}

/** With one more, behind those that are due at the same time. */
export function withReminder(pending: PendingReminders, reminder: PendingReminder): PendingReminders {
  const one = pack(reminder);
  if (pending.length === 0) return [one];
  let place = pending.length - 1;
  while (place > 0 && readU48(pending[place]!, dueOffset) > reminder.due) place--;
  const block = pending[place]!;
  let at = 0;
  while (at < block.length && readU48(block, at + dueOffset) <= reminder.due) at += readU32(block, at);
  if (block.length + one.length <= blockBytesMax) return pending.with(place, spliced(block, at, at, one));
  // What comes next behind it joins it, so that blocks fill.
  const parts = [block.slice(0, at), one, block.slice(at)].filter(({ length }) => length > 0);
  return pending.toSpliced(place, 1, ...parts);
}

/** Without the one of a name, if there is one. */
export function withoutNamed(pending: PendingReminders, name: string): PendingReminders {
  for (const [place, block] of pending.entries()) {
    const at = placeOfName(block, name);
    if (at >= 0) return without(pending, place, at);
  }
  return pending;
}

/**
 * The one of a name and version that waits for a time waits for the next, with what came of this one; or is gone, if there is no
 * next. Undefined when there is no such one.
 */
export function movedOn(
  pending: PendingReminders,
  { name, version, due }: Pick<PendingReminder, "name" | "version" | "due">,
  next: number | undefined,
  last: LastReminder,
): PendingReminders | undefined {
  for (let place = 0; place < pending.length; place++) {
    const block = pending[place]!;
    for (let at = 0; at < block.length; at += readU32(block, at)) {
      if (readU48(block, at + versionOffset) !== version || readU48(block, at + dueOffset) !== due) continue;
      if (nameAt(block, at) !== name) continue;
      const others = without(pending, place, at);
      return next === undefined ? others : withReminder(others, { ...read(block, at), due: next, last });
    }
  }
  return undefined;
}

function without(pending: PendingReminders, place: number, at: number): PendingReminders {
  const block = pending[place]!;
  const end = at + readU32(block, at);
  if (end - at === block.length) return pending.toSpliced(place, 1);
  return pending.with(place, at === 0 ? behind(block, end) : spliced(block, at, end, nothing));
}

// Most often it is the first that leaves: what stays lies where it lay, until half of that memory is of those that left.
function behind(block: Uint8Array, end: number): Uint8Array {
  const rest = block.subarray(end);
  return 2 * rest.length < block.buffer.byteLength ? rest.slice() : rest;
}

const nothing = new Uint8Array();

function spliced(block: Uint8Array, from: number, to: number, one: Uint8Array): Uint8Array {
  const made = new Uint8Array(from + one.length + block.length - to);
  made.set(block.subarray(0, from));
  made.set(one, from);
  made.set(block.subarray(to), from + one.length);
  return made;
}

function placeOfName(block: Uint8Array, name: string): number {
  for (let at = 0; at < block.length; at += readU32(block, at)) if (nameAt(block, at) === name) return at;
  return -1;
}

function nameAt(block: Uint8Array, at: number): string {
  const from = at + nameOffset + 1;
  return texts.read(block, from, from + block[at + nameOffset]!);
}

function pack({ name, version, due, schedule, missed, aggregate, content, last }: PendingReminder): Uint8Array {
  const again = "cron" in schedule ? [schedule.cron, schedule.timeZone] : [];
  const letters = [name, aggregate, last?.code ?? "", ...again].reduce((sum, text) => sum + text.length, 0);
  const bytes = new Uint8Array(fixedBytesMax + 3 * letters + content.length);
  writeU48(bytes, dueOffset, due);
  writeU48(bytes, versionOffset, version);
  let p = putText(bytes, nameOffset, name);
  bytes[p++] = policies.indexOf(missed);
  bytes[p++] = last === null ? 0 : 1 + outcomes.indexOf(last.outcome);
  if (last !== null) {
    writeU48(bytes, p, last.due);
    p = putText(bytes, p + 6, last.code ?? "");
  }
  bytes[p++] = again.length === 0 ? 0 : 1;
  for (const text of again) p = putText(bytes, p, text);
  if ("at" in schedule) {
    writeU48(bytes, p, schedule.at);
    p += 6;
  }
  p = putText(bytes, p, aggregate);
  bytes.set(content, p);
  p += content.length;
  writeU32(bytes, 0, p);
  return bytes.slice(0, p);
}

/** Of a reminder without its texts and its content. */
const fixedBytesMax = 64;

function putText(bytes: Uint8Array, at: number, text: string): number {
  const length = writeText(bytes, at + 1, text);
  invariant(length <= 0xff, "reminders/text-fits", { length });
  bytes[at] = length;
  return at + 1 + length;
}

function read(block: Uint8Array, at: number): PendingReminder {
  const end = at + readU32(block, at);
  let p = at + nameOffset;
  const text = (): string => {
    const from = p + 1;
    p = from + block[p]!;
    return texts.read(block, from, p);
  };
  const name = text();
  const missed = policies[block[p++]!]!;
  const outcome = outcomes[block[p++]! - 1];
  let last: LastReminder | null = null;
  if (outcome !== undefined) {
    const due = readU48(block, p);
    p += 6;
    const code = text();
    last = code === "" ? { due, outcome } : { due, outcome, code };
  }
  const isOnce = block[p++] === 0;
  const schedule = isOnce ? { at: readU48(block, p) } : { cron: text(), timeZone: text() };
  if (isOnce) p += 6;
  const aggregate = text();
  const version = readU48(block, at + versionOffset);
  const due = readU48(block, at + dueOffset);
  return { name, version, due, schedule, missed, aggregate, content: block.subarray(p, end), last };
}
