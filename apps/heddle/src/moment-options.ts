// Options that name a point in an entity's history.
import type { Command } from "commander";
import { timeText, wholeNumber } from "./options.ts";
import { UsageError } from "./report-error.ts";

export interface MomentOptionValues {
  readonly seq?: number;
  readonly time?: number;
}

export type GivenMoment = { readonly seq: number } | { readonly time: number };

export function withMomentOptions(command: Command): Command {
  return command
    .option("--seq <n>", "after the event with this sequence; 0 is before the first", wholeNumber(0))
    .option("--time <time>", "after the last event up to this time, such as 2026-11-20T12:00:00Z", timeText);
}

/** Undefined where neither is given. Errors: throws a `UsageError` for both. */
export function givenMoment({ seq, time }: MomentOptionValues): GivenMoment | undefined {
  if (seq !== undefined && time !== undefined) {
    throw new UsageError("--seq and --time name two moments", "Leave out one of the two.");
  }
  if (seq !== undefined) return { seq };
  return time === undefined ? undefined : { time };
}

/** Errors: throws a `UsageError` for both and for neither. */
export function wantedMoment(values: MomentOptionValues): GivenMoment {
  const moment = givenMoment(values);
  if (moment === undefined) {
    throw new UsageError("no moment is named", "Give --seq or --time; heddle history shows both of every event.");
  }
  return moment;
}
