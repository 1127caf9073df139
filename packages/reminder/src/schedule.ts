// Schedules: when a reminder is due, from what it was set to. Pure: the time comes in.
//
// S1. `nextDue` is a function of the expression, the zone and a time, and its result lies behind that time.
// S2. What a time zone does to its clocks counts: a fixed time of day that a change of clocks leaves out comes when the change
//     is made, one that comes twice counts once; what comes at intervals goes on through both hours.
// croner reads expressions and evaluates them; nothing of it runs by itself here.
import { HeddleError } from "@heddle/kernel";
import { invariant, limits } from "@heddle/kernel/internal";
import type { ReminderSchedule } from "@heddle/protocol/internal";
import { Cron } from "croner";

/** Parsed expressions that are kept, each with what it gave last. Many reminders share one. */
const keptMax = 1_000;

interface Kept {
  readonly cron: Cron;
  /** `nextDue` of `after` is `next`: an evaluation takes 80 µs, and reminders of one schedule come due together. */
  after: number;
  next: number | undefined;
}

const kept = new Map<string, Kept>();

/** Errors: `INVALID_REQUEST` for an expression or a time zone that nobody can follow. */
export function checkSchedule(schedule: ReminderSchedule): void {
  if ("at" in schedule) return;
  const { cron, timeZone } = schedule;
  try {
    new Intl.DateTimeFormat("en", { timeZone });
  } catch {
    const problem = `wanted a time zone such as Europe/Berlin, found ${JSON.stringify(timeZone)}`;
    throw new HeddleError("INVALID_REQUEST", { path: "timeZone", problem });
  }
  // croner also takes single dates, and `?` for a part of the time at which it looks.
  const isCron = /^(@[a-z]+|[^\s?@]+(\s+[^\s?@]+){4,6})$/i.test(cron.trim()) && utf8Fits(cron);
  try {
    if (!isCron) throw new Error("wanted five to seven fields, such as 0 8 1 * *");
    new Cron(cron.trim(), { timezone: timeZone });
  } catch (thrown) {
    const problem = `${JSON.stringify(cron)} is no cron expression: ${(thrown as Error).message}`;
    throw new HeddleError("INVALID_REQUEST", { path: "cron", problem });
  }
}

function utf8Fits(text: string): boolean {
  return text.length <= limits.nameBytesMax;
}

/** The first time behind `after` at which it is due; undefined when there is none. Milliseconds since 1970. */
export function nextDue(schedule: ReminderSchedule, after: number): number | undefined {
  if ("at" in schedule) return schedule.at > after ? schedule.at : undefined;
  const found = keptOf(schedule.cron, schedule.timeZone);
  if (found.after !== after) {
    // In whole seconds: an occurrence has no fraction, and what lies behind a fraction lies behind its second.
    const next = found.cron.nextRun(new Date(Math.floor(after / 1_000) * 1_000))?.getTime();
    invariant(next === undefined || next > after, "S1/behind", { after, next });
    found.after = after;
    found.next = next;
  }
  return found.next;
}

/** When it is due first, if it is set at a time: one with a time of its own is due then, even when that is over. */
export function firstDue(schedule: ReminderSchedule, now: number): number | undefined {
  return "at" in schedule ? schedule.at : nextDue(schedule, now);
}

/** The last time at which it is due, of those from `first`, which is one, up to `now`. */
export function latestDue(schedule: ReminderSchedule, first: number, now: number): number {
  if ("at" in schedule) return first;
  let latest = first;
  // What is due next lies behind the half of the range that is looked at, or the half is known to have one more.
  for (let end = now; end - latest > 1; ) {
    const middle = latest + Math.floor((end - latest) / 2);
    const next = nextDue(schedule, middle);
    if (next !== undefined && next <= now) latest = next;
    else end = middle;
  }
  const next = nextDue(schedule, latest);
  return next !== undefined && next <= now ? next : latest;
}

function keptOf(cron: string, timeZone: string): Kept {
  const key = `${timeZone} ${cron}`;
  let found = kept.get(key);
  if (found === undefined) {
    if (kept.size >= keptMax) kept.clear();
    found = { cron: new Cron(cron.trim(), { timezone: timeZone }), after: Number.NaN, next: undefined };
    kept.set(key, found);
  }
  return found;
}
