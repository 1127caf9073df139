// What is said about reminders: records of one entity's, and lists by time.
import type { SagaStepContent } from "./sagas.ts";

/**
 * What becomes of occurrences that were missed: `all` are delivered, each; of those of one reminder only the `latest` is; or
 * none, `skip`. An occurrence is missed when it leaves more than a minute after it was due, because the node was down or the
 * bound on the rate held it back.
 */
export type MissedPolicy = "all" | "latest" | "skip";

/** `delivered`: its events are durable. `refused`: a rule or an error said no, for good. `missed`: passed over by the policy. */
export type ReminderOutcome = "delivered" | "refused" | "missed";

/** When a reminder was last due, and what came of it. */
export interface LastReminder {
  /** Milliseconds since 1970. */
  readonly due: number;
  readonly outcome: ReminderOutcome;
  /** Code of the rejection or error that said no. */
  readonly code?: string;
}

/** A pending reminder. */
export interface ReminderRecord {
  readonly name: string;
  /** When it is due next, in milliseconds since 1970. */
  readonly due: number;
  /** Of a repeating one: its cron expression, and the time zone in which that counts. */
  readonly cron?: string;
  readonly timeZone?: string;
  readonly missed: MissedPolicy;
  /** What it brings the entity: a command, or events. */
  readonly content: SagaStepContent;
  readonly last?: LastReminder;
}

/** What setting a reminder gives. */
export interface ReminderReceipt {
  readonly ok: true;
  readonly name: string;
  /** When it is due first, in milliseconds since 1970. */
  readonly due: number;
}

/** A line of a list: an entity, and the first of its reminders to become due. */
export interface ListedReminder {
  readonly entity: string;
  readonly due: number;
  readonly name: string;
  /** How many reminders the entity has. */
  readonly pending: number;
}

export interface ReminderQuery {
  /** Only what is due before this time, in milliseconds since 1970. */
  readonly before?: number | undefined;
  /** 1 to 10,000. Default 100. */
  readonly limit?: number | undefined;
  /** From the page before. */
  readonly cursor?: string | undefined;
}

/** By time, then by entity. Behind the last page there is no cursor. */
export type ReminderPage = readonly ListedReminder[] & { readonly cursor: string | undefined };
