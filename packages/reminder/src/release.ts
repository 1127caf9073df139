// Release: what is to be done about a reminder that is due. Pure.
//
// An occurrence is *missed* when it would leave more than `missedAfterMs` after it was due: the node was down, its clock was
// set forward, or the bound on the rate held it back. What then happens is the reminder's policy:
//
//   all      each occurrence is delivered, however late, one after the other
//   latest   of the occurrences up to now only the last is delivered; the others are passed over
//   skip     those that are missed are passed over; what is not, is delivered
//
// One that is due once has one occurrence, which is the latest.
import type { MissedPolicy, ReminderOutcome, ReminderSchedule } from "@heddle/protocol/internal";
import { latestDue, nextDue } from "./schedule.ts";

/** So late an occurrence may leave without counting as missed: as long as a node takes to be started again. */
export const missedAfterMs = 60_000;

export interface Release {
  readonly kind: "deliver" | "pass";
  /** Of the occurrence that is delivered, or of the last one that is passed over. */
  readonly due: number;
  /** Of the first occurrence that is passed over on the way; `due` if there is none. */
  readonly from: number;
  /** When the reminder is due after this; undefined when it is at its end. */
  readonly next: number | undefined;
}

/** `due` is the first occurrence that has not been dealt with; it lies at `now` or before. */
export function release(schedule: ReminderSchedule, missed: MissedPolicy, due: number, now: number): Release {
  const isMissed = now - due > missedAfterMs;
  if (!isMissed || missed === "all") return { kind: "deliver", due, from: due, next: nextDue(schedule, due) };
  if (missed === "latest") {
    const latest = latestDue(schedule, due, now);
    return { kind: "deliver", due: latest, from: due, next: nextDue(schedule, latest) };
  }
  const last = latestDue(schedule, due, now - missedAfterMs - 1);
  return { kind: "pass", due: last, from: due, next: nextDue(schedule, last) };
}

/** What is on record of an occurrence. */
export interface Outcome {
  readonly outcome: ReminderOutcome;
  /** Code of what said no. */
  readonly code: string;
}
