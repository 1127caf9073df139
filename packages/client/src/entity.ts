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
import { type EntityId, HeddleError, limits } from "@heddle/kernel";
import type { AppendResult } from "@heddle/protocol";
import {
  requestKind,
  type WireEvent,
  writeAppendBody,
  writeExecuteBody,
  writeGetBody,
  writeHistoryBody,
} from "@heddle/protocol/internal";
import type { AggregateArgument, HistoryEvent, OptionsFor, WriteOptions } from "./call-types.ts";
import type { CallOptions, Session } from "./session.ts";

/** The state of one aggregate, and where it stands. */
export interface Snapshot<S> {
  /** Of an entity that was never written: the aggregate's initial state. */
  readonly state: S;
  /** The entity's last sequence that the state has seen; 0 before the first event. */
  readonly seq: number;
}

/** What `history` can be asked. */
export interface HistoryOptions<A extends string = string> extends CallOptions {
  /** Events at most, 1 to 10,000. Default 100. `export` gives all of them. */
  readonly limit?: number | undefined;
  /** Inclusive sequence to begin at. Default: the first event, or the last one when going backward. */
  readonly from?: number | undefined;
  /** "forward" (default) gives rising sequences, "backward" falling ones. */
  readonly direction?: "forward" | "backward" | undefined;
  /** Only the events of one aggregate. */
  readonly aggregate?: A | undefined;
}

/** What `export` can be asked. Time-out and signal hold for each page. */
export interface ExportOptions<A extends string = string> extends CallOptions {
  /** Inclusive sequence to begin at. Default 1. */
  readonly from?: number | undefined;
  /** Only the events of one aggregate. */
  readonly aggregate?: A | undefined;
  /** Events fetched at once, 1 to 10,000. Default 1,000. */
  readonly pageEvents?: number | undefined;
}

/**
 * One entity. Made by `Heddle.entity`; costs nothing on the node and may be kept or made anew for each call.
 *
 * Every method rejects with a `HeddleError` when the call failed, or with the reason of its `signal`. What the rules say
 * no to is no error: `append` and `execute` resolve to a rejection, a value with `ok: false`.
 */
export class Entity<C extends AnyContext = AnyContext> {
  readonly id: EntityId;
  readonly #hash: number;
  readonly #session: Session;

  constructor(id: EntityId, hash: number, session: Session) {
    this.id = id;
    this.#hash = hash;
    this.#session = session;
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
    };
    return this.#session.request(requestKind.execute, this.#hash, writeExecuteBody, fields, options);
  }

  /** Reads the state of an aggregate. It is durable, and has seen every append whose receipt came before this call. */
  get<A extends AggregateName<C>>(...args: AggregateArgument<C, A>): Promise<Snapshot<State<C, A>>>;
  get(aggregate?: string, options?: CallOptions): Promise<Snapshot<unknown>> {
    const fields = { entity: this.id, aggregate: aggregate ?? "" };
    return this.#session.request(requestKind.get, this.#hash, writeGetBody, fields, options, readSnapshot);
  }

  /** The newest events, at most `limit` (1 to 10,000), in rising order. */
  history(limit?: number, options?: CallOptions): Promise<HistoryEvent<C>[]>;
  /** Events from a place on, in either direction. An entity never written has none. */
  history<A extends AggregateName<C> = AggregateName<C>>(options: HistoryOptions<A>): Promise<HistoryEvent<C, A>[]>;
  async history(
    first: number | HistoryOptions = defaultHistoryEvents,
    options?: CallOptions,
  ): Promise<HistoryEvent<C>[]> {
    if (typeof first !== "number") {
      const { direction = "forward", limit = defaultHistoryEvents } = first;
      return this.#events({ ...first, direction, limit });
    }
    const events = await this.#events({ ...options, limit: first, direction: "backward" });
    return events.reverse();
  }

  /**
   * All events, oldest first, fetched page by page while they are consumed: memory is bounded by a page. Events that are
   * written meanwhile are given too.
   */
  async *export<A extends AggregateName<C> = AggregateName<C>>(
    options: ExportOptions<A> = {},
  ): AsyncGenerator<HistoryEvent<C, A>, void, undefined> {
    const { pageEvents = defaultPageEvents, from = 1, ...rest } = options;
    for (let next = from; ; ) {
      const page = await this.#page({ ...rest, from: next, limit: pageEvents, direction: "forward" });
      if (page.length === 0) return;
      next = page[page.length - 1]!.seq + 1;
      yield* page as HistoryEvent<C, A>[];
    }
  }

  /**
   * As many events as asked for, or all there are. A page may hold fewer than its limit when they are large (a reply is
   * one frame), so that only an empty page, or the first event of all, says that there are no more.
   */
  async #events(query: PageQuery): Promise<HistoryEvent<C>[]> {
    const step = query.direction === "forward" ? 1 : -1;
    let events = await this.#page(query);
    let page = events;
    while (page.length > 0 && events.length < query.limit) {
      const from = page[page.length - 1]!.seq + step;
      if (from === 0) break;
      page = await this.#page({ ...query, from, limit: query.limit - events.length });
      events = events.concat(page);
    }
    return events;
  }

  #page(query: PageQuery): Promise<HistoryEvent<C>[]> {
    const { limit, direction, from = 0, aggregate = "" } = query;
    const fields = { entity: this.id, aggregate, from, limit, direction };
    return this.#session.request(requestKind.history, this.#hash, writeHistoryBody, fields, query, readEvents);
  }
}

type AnyWriteOptions = WriteOptions & { readonly aggregate?: string };

interface PageQuery extends CallOptions {
  readonly limit: number;
  readonly direction: "forward" | "backward";
  readonly from?: number | undefined;
  readonly aggregate?: string | undefined;
}

const defaultHistoryEvents = 100;
const defaultPageEvents = 1_000;

function readSnapshot(value: unknown): Snapshot<unknown> {
  const { state, seq } = (value ?? {}) as Partial<Snapshot<unknown>>;
  if (!Number.isSafeInteger(seq)) throw misshapen("a state without its sequence");
  return { state, seq: seq as number };
}

function readEvents(value: unknown): HistoryEvent[] {
  if (!Array.isArray(value) || value.length > limits.historyEventsMax) throw misshapen("a page that is no list");
  return value.map(readEvent);
}

function readEvent(event: WireEvent): HistoryEvent {
  if (!Array.isArray(event) || event.length !== 9) throw misshapen("an event that is no list of nine");
  const [seq, time, aggregate, type, payload, metadata, id, schemaVersion, position] = event as WireEvent;
  return {
    seq,
    time,
    aggregate,
    type,
    payload,
    metadata: metadata ?? undefined,
    id: id ?? undefined,
    schemaVersion,
    position,
  };
}

function misshapen(what: string): HeddleError {
  return new HeddleError("BAD_FRAME", { problem: `the node answered with ${what}` });
}
