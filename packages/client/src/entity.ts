// Entity: the calls about one entity. Turns arguments into requests and values of replies into what callers see.
import type {
  AggregateName,
  AnyContext,
  CommandInput,
  CommandName,
  EventInputOf,
  EventType,
  Immutable,
  PayloadInput,
  State,
} from "@heddle/domain";
import { type EntityId, hashEntity, parseAnyEntityId } from "@heddle/kernel";
import type { AppendResult, ErasureReceipt, ReminderReceipt, ReminderRecord } from "@heddle/protocol";
import {
  copyHistory,
  requestKind,
  writeAppendBody,
  writeDeleteBody,
  writeExecuteBody,
  writeGetAtBody,
  writeGetBody,
  writeRestoreBody,
} from "@heddle/protocol/internal";
import type { AggregateArgument, AtArguments, HistoryEvent, OptionsFor, WriteOptions } from "./call-types.ts";
import { copyPort } from "./copy-port.ts";
import { defaultPageEvents, type ExportOptions, exportLines } from "./entity-export.ts";
import { type EntitySubscribeOptions, subscribeToEntity } from "./entity-subscription.ts";
import { type EventsOptions, type HistoryOptions, type HistoryRange, historyPages } from "./history-pages.ts";
import { timeoutMsMax } from "./options.ts";
import { cancelReminder, type ReminderInput, type RemindOptions, remind, remindersOf } from "./reminders.ts";
import type { CallOptions, Session } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import type { Subscription } from "./subscription.ts";
import { type MomentInput, momentOf } from "./times.ts";
import { readErasure, readSnapshot, type Snapshot } from "./wire-values.ts";

/** What `restore` can be given. */
export interface RestoreOptions extends CallOptions {
  /** As for an append: it takes effect once for good. */
  readonly id?: string | undefined;
  /** As for an append: the entity's last sequence, else `SEQUENCE_CONFLICT`. */
  readonly expectedSeq?: number | undefined;
}

/** What `fork` can be given. Time-out and signal hold for each request; a fork makes one for some 1,000 events. */
export interface ForkOptions extends CallOptions {
  /** The last moment that is copied. Default: the end. */
  readonly at?: MomentInput | undefined;
}

/** What `delete` can be given. */
export interface DeleteOptions extends CallOptions {
  /**
   * Resolves as soon as the log is clean, with `complete: false`: what remains in the index goes by itself, within a
   * minute or so. Default false.
   */
  readonly provisional?: boolean | undefined;
}

/**
 * One entity. Made by `Heddle.entity`; costs nothing on the node and may be kept or made anew for each call. Heddle's own
 * entities (`$reminders/account/alice`, `$saga/transfer-001`) have a history, too; only Heddle writes to them.
 *
 * Every method rejects with a `HeddleError` when the call failed, or with the reason of its `signal`. What the rules say
 * no to is no error: `append`, `execute` and `restore` resolve to a rejection, a value with `ok: false`.
 */
export class Entity<C extends AnyContext = AnyContext> {
  readonly id: EntityId;
  /** Where the entity's calls go. */
  readonly #hash: number;
  readonly #session: Session;
  readonly #sessions: Sessions;

  /** Errors: throws `INVALID_ENTITY_ID`. */
  constructor(id: string, sessions: Sessions) {
    this.id = parseAnyEntityId(id);
    this.#hash = hashEntity(this.id);
    this.#session = sessions.of(this.#hash);
    this.#sessions = sessions;
  }

  /** Appends one event. The promise is settled when it is durable (P2), or was refused. */
  append<A extends AggregateName<C>, T extends EventType<C, A>>(
    type: T,
    payload: Immutable<PayloadInput<C, A, T>>,
    ...options: OptionsFor<C, A, WriteOptions>
  ): Promise<AppendResult>;
  /** Appends 1 to 10,000 events of one aggregate: all of them or none. */
  append<A extends AggregateName<C>>(
    events: readonly EventInputOf<C, A>[],
    ...options: OptionsFor<C, A, WriteOptions>
  ): Promise<AppendResult>;
  append(first: unknown, second?: unknown, third?: unknown): Promise<AppendResult> {
    const isOne = typeof first === "string";
    const options = (isOne ? third : second) as AnyWriteOptions | undefined;
    const events = (isOne ? [{ type: first, payload: second }] : first) as readonly {
      type: string;
      payload: unknown;
    }[];
    const fields = {
      entity: this.id,
      aggregate: options?.aggregate ?? "",
      events,
      expectedSeq: options?.expectedSeq,
      id: options?.id,
      metadata: options?.metadata,
      newLife: options?.newLife,
    };
    return this.#session.request(requestKind.append, this.#hash, writeAppendBody, fields, options);
  }

  /** Lets an aggregate's command decide. The promise is settled when its events are durable (P2), or it was refused. */
  execute<A extends AggregateName<C>, N extends CommandName<C, A>>(
    command: N,
    input: Immutable<CommandInput<C, A, N>>,
    ...options: OptionsFor<C, A, WriteOptions>
  ): Promise<AppendResult>;
  execute(command: string, input: unknown, options?: AnyWriteOptions): Promise<AppendResult> {
    const fields = {
      entity: this.id,
      aggregate: options?.aggregate ?? "",
      command,
      input,
      expectedSeq: options?.expectedSeq,
      id: options?.id,
      metadata: options?.metadata,
      newLife: options?.newLife,
    };
    return this.#session.request(requestKind.execute, this.#hash, writeExecuteBody, fields, options);
  }

  /**
   * Reads the state of an aggregate. It is durable, and has seen every append whose receipt came before this call.
   * Errors: `ERASED`.
   */
  get<A extends AggregateName<C>>(...args: AggregateArgument<C, A>): Promise<Snapshot<State<C, A>>>;
  get(aggregate?: string, options?: CallOptions): Promise<Snapshot<unknown>> {
    const fields = { entity: this.id, aggregate: aggregate ?? "" };
    return this.#session.request(requestKind.get, this.#hash, writeGetBody, fields, options, readSnapshot);
  }

  /**
   * The state of an aggregate as it was: `getAt("Account", { seq: 7 })` after the event with that sequence,
   * `{ time: new Date("2026-01-01") }` after the last event up to then. Folded anew, with today's folds and upcasters.
   *
   * Errors: `OUT_OF_RANGE` for a sequence that the entity has not reached, and for a time to come; `ERASED` for what an
   * erasure took.
   */
  getAt<A extends AggregateName<C>>(...args: AtArguments<C, A>): Promise<Snapshot<State<C, A>>>;
  getAt(...args: unknown[]): Promise<Snapshot<unknown>> {
    const [aggregate, at, options] = isMoment(args[0]) ? ["", ...args] : args;
    const fields = { entity: this.id, aggregate: (aggregate ?? "") as string, at: momentOf(at as MomentInput) };
    const call = options as CallOptions | undefined;
    return this.#session.request(requestKind.getAt, this.#hash, writeGetAtBody, fields, call, readSnapshot);
  }

  /** The newest events, at most `limit` (1 to 10,000), in rising order. */
  history(limit?: number, options?: CallOptions): Promise<HistoryEvent<C>[]>;
  /**
   * Events of a range of sequences or of time, in either direction. An entity that was never written has none; one that was
   * erased begins with the system event `Erased`.
   */
  history<A extends AggregateName<C> = AggregateName<C>>(options: HistoryOptions<A>): Promise<HistoryEvent<C, A>[]>;
  async history(
    first: number | HistoryOptions = defaultHistoryEvents,
    options?: CallOptions,
  ): Promise<HistoryEvent<C>[]> {
    if (typeof first !== "number") {
      const { limit = defaultHistoryEvents, ...range } = first;
      return this.#collect(range, limit);
    }
    const events = await this.#collect({ ...options, direction: "backward" }, first);
    return events.reverse();
  }

  /**
   * All events of a range, fetched page by page while they are consumed: memory is bounded by a page. Events that are
   * written meanwhile are given too, where the range has no end. `export` gives them as text that can be imported.
   */
  async *events<A extends AggregateName<C> = AggregateName<C>>(
    options: EventsOptions<A> = {},
  ): AsyncGenerator<HistoryEvent<C, A>, void, undefined> {
    const { pageEvents = defaultPageEvents, ...range } = options;
    for await (const page of historyPages(this.#source, range, pageEvents)) yield* page as HistoryEvent<C, A>[];
  }

  /**
   * The entity's events, those that there are and then those that come, each once and in order: `for await (const event of
   * alice.subscribe("Account", { from: 8 }))`. Of one aggregate, or of all where none is named; Heddle's own are given with
   * the latter, as in `history`. It lasts until the loop is left: a node that is away is waited for, once it was there. One
   * that begins with a sequence may be begun again behind the last event, after whatever has happened.
   *
   * Slow readers are not sent more than they ask for. Each subscription asks for up to 1,000 events at once.
   *
   * Errors: throws `INVALID_REQUEST`; the loop throws `UNKNOWN_AGGREGATE`, `CONNECTION_FAILED`, `CLOSED` when the client is
   * closed, and the signal's reason.
   */
  subscribe(options?: EntitySubscribeOptions): Subscription<HistoryEvent<C>>;
  subscribe<A extends AggregateName<C>>(
    aggregate: A,
    options?: EntitySubscribeOptions,
  ): Subscription<HistoryEvent<C, A>>;
  subscribe(
    first: string | EntitySubscribeOptions = "",
    options: EntitySubscribeOptions = {},
  ): Subscription<HistoryEvent<C>> {
    const [aggregate, given] = typeof first === "string" ? [first, options] : ["", first];
    return subscribeToEntity(this.#sessions, this.#source, aggregate, given) as Subscription<HistoryEvent<C>>;
  }

  /**
   * The whole history as lines of JSON, each ending with "\n", that describe themselves and carry checksums: what
   * `Heddle.import` takes, today or on another node. Ends with the event that was the last when it began.
   *
   * Errors: `ERASED` when the entity is erased meanwhile; the lines that came are no whole export then.
   */
  async *export(options: ExportOptions = {}): AsyncGenerator<string, void, undefined> {
    const { context } = await this.#sessions.ready(options);
    yield* exportLines(this.#source, context, this.#sessions.clock, options);
  }

  /**
   * Brings the entity back to an earlier state, by adding to its history: a system event `Restored`, then copies of the
   * events that made that state, with new sequences and times, all of them or none. `{ seq: 0 }` goes back to nothing.
   * The receipt counts the system event and the copies.
   *
   * Errors: `OUT_OF_RANGE`, `ERASED`, as `getAt`; `INVALID_REQUEST` for more than 64 MiB of events: fork those.
   */
  restore(at: MomentInput, options?: RestoreOptions): Promise<AppendResult> {
    const fields = { entity: this.id, at: momentOf(at), expectedSeq: options?.expectedSeq, id: options?.id };
    return this.#session.request(requestKind.restore, this.#hash, writeRestoreBody, fields, options);
  }

  /**
   * Copies the history up to a moment to an entity that was never written to, with the times, sequences and metadata of the
   * events, but without their ids. This entity is not touched. Called again, after a crash or at the same time, it goes on
   * where the other ended. Where this entity was erased once, the copy's sequences begin at 1 and its own do not.
   *
   * Errors: `OUT_OF_RANGE`, `ERASED`, as `getAt`; `ENTITY_EXISTS` when the other has anything else than a beginning of the
   * copy; `INVALID_ENTITY_ID`; throws `RejectedError` when a rule of today says no to the copy.
   */
  async fork(newId: string, options?: ForkOptions): Promise<{ readonly entity: Entity<C>; readonly seq: number }> {
    const entity = new Entity<C>(newId, this.#sessions);
    const at = options?.at === undefined ? undefined : momentOf(options.at);
    const request = { source: this.id, target: entity.id, at, nowMs: this.#sessions.clock.now() };
    const { seq } = await copyHistory(copyPort(this.#sessions, options), request);
    return { entity, seq };
  }

  /**
   * Erases the entity (P6): what its events held is overwritten wherever the node wrote it, and cannot come back. Resolves
   * when nothing is left, or when the log is clean if `provisional`. The receipt, kept as JSON, is what
   * `heddle verify-erasure` takes. Called again, it gives the same receipt.
   *
   * Afterwards appends and reads answer `ERASED`; the history has one system event, `Erased`. An append with
   * `newLife: true` begins anew, with the next sequence.
   *
   * The time-out is 600,000 ms unless another is given; a call that timed out goes on on the node.
   * Errors: `OUT_OF_RANGE` for an entity that was never written.
   */
  delete(options?: DeleteOptions): Promise<ErasureReceipt> {
    const fields = { entity: this.id, provisional: options?.provisional === true };
    const call = { signal: options?.signal, timeoutMs: options?.timeoutMs ?? timeoutMsMax };
    return this.#session.request(requestKind.delete, this.#hash, writeDeleteBody, fields, call, readErasure);
  }

  /**
   * Sets a reminder: when it is due, the entity gets a command or events, whether anybody is there or not. One of the same name
   * is replaced. `remind("statement", { at: new Date("2026-12-01"), command: "Close", input: {} }, { aggregate: "Account" })`
   *
   * It is delivered as a call with the id `reminder:<name>:<due>`, so once for each time at which it is due, and with the
   * metadata `{ reminder, due }`. What the rules say no to then is on record, and is not tried again. A time that is over is
   * due at once. Erasing the entity erases its reminders; `fork`, `export` and `restore` leave them where they are.
   *
   * Errors: `INVALID_REQUEST` for a schedule that nobody can follow, an entity without events, or one with 1,000 reminders;
   * `UNKNOWN_KIND` for one without events of a kind that the domain module does not declare; `INVALID_PAYLOAD`, `UNKNOWN_COMMAND` and the like, as if it were delivered now; `ERASED`.
   */
  remind<A extends AggregateName<C>>(
    name: string,
    reminder: ReminderInput<C, A>,
    ...options: OptionsFor<C, A, RemindOptions>
  ): Promise<ReminderReceipt>;
  remind(
    name: string,
    reminder: ReminderInput,
    options?: RemindOptions & { readonly aggregate?: string },
  ): Promise<ReminderReceipt> {
    return remind(this.#source, name, reminder, options);
  }

  /** Takes a reminder off the list. Errors: `NO_SUCH_REMINDER`; `ERASED`. */
  cancelReminder(name: string, options?: CallOptions): Promise<void> {
    return cancelReminder(this.#source, name, options);
  }

  /** The entity's pending reminders, in the order in which they are due. */
  reminders(options?: CallOptions): Promise<ReminderRecord[]> {
    return remindersOf(this.#source, options);
  }

  get #source() {
    return { id: this.id, hash: this.#hash, session: this.#session };
  }

  // As many events as asked for, or all there are.
  async #collect(range: HistoryRange & CallOptions, limit: number): Promise<HistoryEvent<C>[]> {
    let events: HistoryEvent[] = [];
    for await (const page of historyPages(this.#source, range, limit, limit)) events = events.concat(page);
    return events;
  }
}

type AnyWriteOptions = WriteOptions & { readonly aggregate?: string };

const defaultHistoryEvents = 100;

function isMoment(first: unknown): boolean {
  return typeof first === "object" && first !== null;
}
