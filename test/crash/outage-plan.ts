// Plan: who is reminded when in the outage trial. Follows from the numbers alone, so that what was delivered can be judged without a
// list. Pure.
//
// Every account has ten reminders. Three are due once, within the ten minutes for which nobody is there, and three each minute, first
// then and for some minutes after; of each three, one is told `all`, one `latest`, one `skip`. The other four are due later, and are
// there to be carried along.
import type { MissedPolicy } from "@heddle/client";

export const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const yearMs = 365 * 24 * hourMs;
export const downMinutes = 10;
export const remindersPerEntity = 10;

export interface OutagePlan {
  readonly entities: number;
  /** When the first is due, and the node is gone: the beginning of an hour, in milliseconds since 1970. */
  readonly from: number;
  /** Occurrences of those that are due each minute. At least as many as the node is down. */
  readonly minutes: number;
}

export interface PlannedReminder {
  readonly name: string;
  readonly missed: MissedPolicy;
  readonly when: { readonly at: number } | { readonly cron: string };
  /** When it is due within the trial, in order; nothing for one that only waits. */
  readonly occurrences: readonly number[];
  /** When it is due after the trial; undefined when it is over then. */
  readonly nextDue: number | undefined;
}

/** By number, with one credit to begin with: only who has a history can be reminded. */
export function accountOf(entity: number): string {
  return `account/${entity}`;
}

/** What a reminder brings: every one another amount, so that none can stand for another. */
export function amountOf(entity: number, reminder: number): number {
  return 1 + entity * remindersPerEntity + reminder;
}

const policies: readonly MissedPolicy[] = ["all", "latest", "skip"];

/** Of one account, by number. */
export function remindersOf(plan: OutagePlan, entity: number): PlannedReminder[] {
  const { from, minutes } = plan;
  const date = new Date(from);
  const hour = date.getUTCHours();
  // Neighbours come at other seconds, an account's own all at the same: they go out together.
  const second = entity % 60;
  const eachMinute = Array.from({ length: minutes }, (_, minute) => from + minute * minuteMs + second * 1_000);
  const onceAt = (place: number) =>
    from + ((Math.imul(entity * policies.length + place + 1, 0x9e3779b1) >>> 0) % (downMinutes * minuteMs));
  const tomorrow = from + 24 * hourMs;
  const nextYear = from + yearMs + entity;
  // Half a day after the trial, and half a day before the one of tomorrow.
  const noonMs = from + 12 * hourMs + second * 1_000;
  const noonHour = new Date(noonMs).getUTCHours();
  return [
    ...policies.map((missed, place) => {
      const at = onceAt(place);
      return { name: `once-${missed}`, missed, when: { at }, occurrences: [at], nextDue: undefined };
    }),
    ...policies.map((missed) => ({
      name: `minutely-${missed}`,
      missed,
      when: { cron: `${second} 0-${minutes - 1} ${hour} * * *` },
      occurrences: eachMinute,
      nextDue: tomorrow + second * 1_000,
    })),
    ...(["all", "skip"] as const).map((missed) => ({
      name: `later-${missed}`,
      missed,
      when: { at: nextYear },
      occurrences: [],
      nextDue: nextYear,
    })),
    ...(["latest", "skip"] as const).map((missed) => ({
      name: `daily-${missed}`,
      missed,
      when: { cron: `${second} 0 ${noonHour} * * *` },
      occurrences: [],
      nextDue: noonMs,
    })),
  ];
}

/** So many deliveries there will be, about: how many of `skip` come in time depends on how fast the node is. */
export function expectedDeliveries({ entities, minutes }: OutagePlan): number {
  return entities * (2 + minutes + 2 * (1 + minutes - downMinutes));
}
