// Reminders: turns what callers say into requests, and replies into what callers see.
import type { AggregateName, AnyContext, CommandInput, CommandName, EventInputOf, Immutable } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import type { MissedPolicy, ReminderPage, ReminderQuery, ReminderReceipt, ReminderRecord } from "@heddle/protocol";
import {
  packContent,
  type ReminderContent,
  type ReminderSchedule,
  type RemindFields,
  reminderPage,
  requestKind,
  type WireListedReminder,
  writeCancelReminderBody,
  writeRemindBody,
  writeReminderListBody,
  writeRemindersBody,
} from "@heddle/protocol/internal";
import type { CallOptions, Session } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { millisecondsOf, type Time } from "./times.ts";

/** When a reminder is due: once, or again and again. */
export type ReminderWhen =
  | { readonly at: Time; readonly cron?: never }
  | {
      /**
       * Five to seven fields, such as `0 8 1 * *` (at eight on the first of each month); with six the first are seconds, with
       * seven the last are years.
       */
      readonly cron: string;
      /** IANA name, such as `Europe/Berlin`. Default UTC. */
      readonly timeZone?: string | undefined;
      readonly at?: never;
    };

type CommandsIn<C extends AnyContext, A extends AggregateName<C>> = {
  [N in CommandName<C, A>]: { readonly command: N; readonly input: Immutable<CommandInput<C, A, N>> };
}[CommandName<C, A>];

/** What a reminder brings its entity: a command, one event, or several events. */
export type ReminderBrings<C extends AnyContext, A extends AggregateName<C>> =
  | CommandsIn<C, A>
  | EventInputOf<C, A>
  | { readonly events: readonly EventInputOf<C, A>[] };

/** A reminder to be set. */
export type ReminderInput<
  C extends AnyContext = AnyContext,
  A extends AggregateName<C> = AggregateName<C>,
> = ReminderWhen &
  ReminderBrings<C, A> & {
    /** What becomes of occurrences that leave more than a minute late. Default `latest`. */
    readonly missed?: MissedPolicy | undefined;
  };

/** What `remind` can be given. */
export interface RemindOptions extends CallOptions {
  /** As for an append: it takes effect once for good. */
  readonly id?: string | undefined;
}

/** What `Heddle.reminders` can be asked. */
export interface RemindersOptions extends Omit<ReminderQuery, "before">, CallOptions {
  /** Only what is due before this time. */
  readonly before?: Time | undefined;
}

/** The entity that a call is about, and where it goes. */
interface Target {
  readonly id: string;
  readonly hash: number;
  readonly session: Session;
}

/** A reminder as it may come without a compiler. */
interface ReminderFields {
  readonly at?: Time | undefined;
  readonly cron?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly missed?: MissedPolicy | undefined;
}

export function remind(
  { id: entity, hash, session }: Target,
  name: string,
  reminder: ReminderFields,
  options: (RemindOptions & { readonly aggregate?: string | undefined }) | undefined,
): Promise<ReminderReceipt> {
  // Whatever is wrong with it rejects the call, as for any other.
  const write = (_: typeof given, reserve: Parameters<typeof writeRemindBody>[1]) => {
    const content = packContent(reminder as unknown as ReminderContent);
    const { missed = "latest" } = reminder;
    const fields: RemindFields = {
      entity,
      aggregate: options?.aggregate ?? "",
      name,
      schedule: scheduleOf(reminder),
      missed,
      content,
      id: options?.id,
    };
    return writeRemindBody(fields, reserve);
  };
  const given = { reminder };
  return session.request(requestKind.remind, hash, write, given, options, (value) => value as ReminderReceipt);
}

/** What the types forbid is refused, as over HTTP: nobody should think that both of two times hold. */
function scheduleOf({ at, cron, timeZone }: ReminderFields): ReminderSchedule {
  if (cron === undefined) {
    if (timeZone !== undefined) throw invalid("timeZone", "it goes with cron; at is one moment everywhere");
    if (at === undefined) throw invalid("at", "missing; wanted at, or cron");
    return { at: millisecondsOf(at) };
  }
  if (at !== undefined) throw invalid("cron", "wanted either at or cron, found both");
  return { cron, timeZone: timeZone ?? "UTC" };
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

export function cancelReminder(
  { id: entity, hash, session }: Target,
  name: string,
  options: CallOptions | undefined,
): Promise<void> {
  const fields = { entity, name };
  return session.request(requestKind.cancelReminder, hash, writeCancelReminderBody, fields, options, () => {});
}

export function remindersOf(
  { id: entity, hash, session }: Target,
  options: CallOptions | undefined,
): Promise<ReminderRecord[]> {
  const read = (value: unknown) => value as ReminderRecord[];
  return session.request(requestKind.reminders, hash, writeRemindersBody, { entity }, options, read);
}

export async function listReminders(
  sessions: Sessions,
  { before, limit, cursor, ...options }: RemindersOptions,
): Promise<ReminderPage> {
  const { shardCount } = await sessions.ready(options);
  const read = (value: unknown) => value as readonly WireListedReminder[];
  return reminderPage(
    (shard, fields) =>
      sessions.of(shard).request(requestKind.reminderList, shard, writeReminderListBody, fields, options, read),
    shardCount,
    { before: millisecondsOf(before), limit, cursor },
  );
}
