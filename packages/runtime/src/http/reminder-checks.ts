// From JSON bodies and query strings to the fields of calls about reminders. Pure; as in request-checks.ts (P7).
import { type EntityId, limits } from "@heddle/kernel";
import type { MissedPolicy, ReminderQuery } from "@heddle/protocol";
import { checkReminderName, packContent, type ReminderSchedule, type RemindFields } from "@heddle/protocol/internal";
import { asObject, kindOfValue, readId, readName, readText, readTime, refusal, unknownField } from "./check-values.ts";
import { contentFields, readContentOf } from "./content-checks.ts";
import { readQuery, readWhole } from "./query-checks.ts";

const known = "at, cron, timeZone, missed, aggregate, command, input, type, payload, events, id";

/** `{ at }` or `{ cron, timeZone? }`, with what it brings as in a step, `aggregate?`, `missed?` and `id?`. */
export function readRemind(body: unknown, entity: EntityId, name: string, idempotencyKey?: string): RemindFields {
  checkReminderName(name);
  const object = asObject(body, "");
  let aggregate = "";
  let missed: MissedPolicy = "latest";
  let id = idempotencyKey;
  for (const key in object) {
    const value = object[key];
    if (key === "aggregate") aggregate = readName(value, -1, key);
    else if (key === "missed") missed = readPolicy(value);
    else if (key === "id") id = readId(value, -1, idempotencyKey);
    else if (!scheduleFields.has(key) && !contentFields.has(key)) throw unknownField(key, -1, known);
  }
  const schedule = readSchedule(object);
  return { entity, aggregate, name, schedule, missed, content: packContent(readContentOf(object, "")), id };
}

const scheduleFields: ReadonlySet<string> = new Set(["at", "cron", "timeZone"]);

function readSchedule({ at, cron, timeZone }: Record<string, unknown>): ReminderSchedule {
  if (at !== undefined) {
    if (cron !== undefined) throw refusal("cron", "wanted either at or cron, found both");
    if (timeZone !== undefined) throw refusal("timeZone", "it goes with cron; at is one moment everywhere");
    return { at: readTime(at, "at") };
  }
  if (cron === undefined) throw refusal("at", "missing; wanted at, or cron");
  return {
    cron: readText(cron, -1, "cron", limits.nameBytesMax),
    timeZone: timeZone === undefined ? "UTC" : readText(timeZone, -1, "timeZone", limits.nameBytesMax),
  };
}

function readPolicy(value: unknown): MissedPolicy {
  if (value === "all" || value === "latest" || value === "skip") return value;
  const found = typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : kindOfValue(value);
  throw refusal("missed", `wanted all, latest or skip, found ${found}`);
}

/** A reminder's name in a path. */
export function readReminderName(text: string): string {
  return readText(text, -1, "reminder", limits.reminderNameBytesMax);
}

/** `before`, `limit` (default 100), `cursor`. */
export function readReminderQuery(query: unknown): ReminderQuery {
  const { before, limit, cursor } = readQuery(query, ["before", "limit", "cursor"]);
  return {
    before: before === undefined ? undefined : readTime(before, "before"),
    limit: limit === undefined ? reminderLimitDefault : readWhole(limit, "limit", 1, limits.listEntitiesMax),
    cursor,
  };
}

export const reminderLimitDefault = 100;
