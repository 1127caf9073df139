// ReminderPages: the reminders of all shards in the order of their times, a page at a time.
//
// R1. By time, then by the entity's bytes, over all shards. A page's cursor stands for the place behind it.
// Not promised: reminders that are set, delivered or cancelled from one page to the next may be in the rest or not.
import { HeddleError, limits } from "@heddle/kernel";
import { u48Max } from "./bytes.ts";
import { compareIds } from "./list-pages.ts";
import type { ReminderListFields, WireListedReminder } from "./reminder-requests.ts";
import type { ListedReminder, ReminderPage, ReminderQuery } from "./reminders.ts";

const defaultLimit = 100;

/** Errors: `INVALID_REQUEST`; whatever `list`, which asks one shard, rejects with. */
export async function reminderPage(
  list: (shard: number, fields: ReminderListFields) => Promise<readonly WireListedReminder[]>,
  shardCount: number,
  query: ReminderQuery = {},
): Promise<ReminderPage> {
  const { before = u48Max, limit = defaultLimit, cursor = "" } = query;
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > limits.listEntitiesMax) {
    const problem = `wanted a whole number from 1 to ${limits.listEntitiesMax}, found ${limit}`;
    throw new HeddleError("INVALID_REQUEST", { path: "limit", problem });
  }
  const fields = { before, limit, ...placeOf(cursor) };
  const shards = Array.from({ length: shardCount }, (_, shard) => list(shard, fields));
  const found = (await Promise.all(shards)).flat();
  found.sort((a, b) => a[1] - b[1] || compareIds(a[0], b[0]));
  const lines = found.slice(0, limit).map(
    ([entity, due, name, pending]): ListedReminder => ({
      entity,
      due,
      name,
      pending,
    }),
  );
  const last = lines.at(-1);
  const isLast = last === undefined || lines.length < limit;
  return Object.assign(lines, { cursor: isLast ? undefined : `${last.due}:${last.entity}` });
}

function placeOf(cursor: string): { afterDue: number; afterEntity: string } {
  if (cursor === "") return { afterDue: 0, afterEntity: "" };
  const [, due, entity] = /^(\d{1,15}):(.+)$/su.exec(cursor) ?? [];
  if (due === undefined || entity === undefined || Number(due) > u48Max) {
    throw new HeddleError("INVALID_REQUEST", { path: "cursor", problem: "wanted the cursor of a page before" });
  }
  return { afterDue: Number(due), afterEntity: entity };
}
