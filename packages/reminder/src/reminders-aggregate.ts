// The aggregate of an entity's reminders, `$reminders/<entity>`: which are pending, and what came of those that were due. Only
// a reminder runner writes its events.
//
// R1. `pending` is in the order in which they are due, so that the first says when the entity wants to be woken.
// R2. What is on record of an occurrence moves a reminder on only if that is what it was waiting for: a record that comes twice,
//     or after the reminder was set anew, changes nothing.
import { command, defineAggregate, event, reject } from "@heddle/domain";
import { limits, systemKinds } from "@heddle/kernel";
import type { ReminderOutcome } from "@heddle/protocol/internal";
import {
  countPending,
  firstDueOf,
  hasNamed,
  movedOn,
  type PendingReminder,
  type PendingReminders,
  withoutNamed,
  withReminder,
} from "./pending-reminders.ts";
import { firstDue } from "./schedule.ts";

export interface RemindersState {
  /** Reminders that were ever set. */
  readonly version: number;
  readonly pending: PendingReminders;
}

export type SetInput = Pick<PendingReminder, "name" | "schedule" | "missed" | "aggregate" | "content">;

type SetPayload = SetInput & { readonly due: number };

/** What came of an occurrence. */
export interface DeliveredItem {
  readonly name: string;
  readonly version: number;
  /** What the reminder was waiting for: the first occurrence that this deals with. */
  readonly from: number;
  /** The occurrence that was delivered, or the last that was passed over. */
  readonly due: number;
  readonly outcome: ReminderOutcome;
  /** Empty unless it was refused. */
  readonly code: string;
  /** When it is due after this; -1 when it is at its end. */
  readonly next: number;
}

/** Of the event of that name: what came of everything that left together. */
export interface Delivered {
  readonly items: readonly DeliveredItem[];
}

interface Trusted<T> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => { readonly value: T };
    readonly types?: { readonly input: T; readonly output: T };
  };
}

/** What Heddle itself writes is right, or Heddle is broken. */
function trusted<T>(): Trusted<T> {
  return { "~standard": { version: 1, vendor: "heddle", validate: (value) => ({ value: value as T }) } };
}

/** Shared by all: states are frozen. */
const none: RemindersState = { version: 0, pending: [] };

export const remindersAggregate = defineAggregate(systemKinds.reminders, {
  version: 2,
  initial: () => none,
  events: {
    Set: event(trusted<SetPayload>(), (state, { name, due, schedule, missed, aggregate, content }) => {
      const version = state.version + 1;
      const reminder = { name, version, due, schedule, missed, aggregate, content, last: null };
      return { version, pending: withReminder(withoutNamed(state.pending, name), reminder) };
    }),
    Cancelled: event(trusted<{ readonly name: string }>(), (state, { name }) => ({
      version: state.version,
      pending: withoutNamed(state.pending, name),
    })),
    Delivered: event(trusted<Delivered>(), (state, { items }) => {
      let { pending } = state;
      for (const { name, version, from, due, outcome, code, next } of items) {
        const last = code === "" ? { due, outcome } : { due, outcome, code };
        pending = movedOn(pending, { name, version, due: from }, next < 0 ? undefined : next, last) ?? pending;
      }
      return { version: state.version, pending };
    }),
  },
  commands: {
    Set: command(trusted<SetInput>(), ({ pending }, input, { now }) => {
      const due = firstDue(input.schedule, now);
      if (due === undefined) return reject("NEVER_DUE");
      const { remindersPerEntityMax } = limits;
      if (countPending(pending) >= remindersPerEntityMax && !hasNamed(pending, input.name))
        return reject("TOO_MANY", { remindersPerEntityMax });
      return { type: "Set", payload: { ...input, due } };
    }),
    Cancel: command(trusted<{ readonly name: string }>(), ({ pending }, { name }) =>
      hasNamed(pending, name) ? { type: "Cancelled", payload: { name } } : reject("UNKNOWN"),
    ),
  },
});

/** When an entity wants to be woken for its reminders. */
export function remindersAlarm(state: unknown): number | undefined {
  return firstDueOf((state as RemindersState).pending);
}
