// Heddle: the door to a node. Spreads entities over sessions; everything else is theirs.
import type { AggregateName, AnyContext, Immutable, SagaInput, SagaName } from "@heddle/domain";
import { HeddleError, hashEntity, limits, parseEntityId } from "@heddle/kernel";
import type {
  AppendResult,
  EntityPage,
  ImportOptions,
  ImportResult,
  ListedGroup,
  ListedProjection,
  ListQuery,
  ProjectionRebuilt,
  QueryParameters,
  QueryResult,
  QueryRow,
  ReminderPage,
  SagaPage,
  SagaQuery,
  SagaRecord,
  SagaResult,
  StoredType,
} from "@heddle/protocol";
import type { Welcome } from "@heddle/protocol/internal";
import { importEntities, listPage, listPages, requestKind, sumTypes, writeAppendBody } from "@heddle/protocol/internal";
import type { AppendManyItem } from "./call-types.ts";
import { copyPort } from "./copy-port.ts";
import { Entity } from "./entity.ts";
import { type FeedEventOf, type SubscribeOptions, subscribeToAll, type TypesOf } from "./feed-subscription.ts";
import { type GetManyItem, type GetManyStates, getMany } from "./get-many.ts";
import {
  forgetGroup,
  type GroupEventOf,
  type GroupOptions,
  listGroups,
  subscribeToGroup,
} from "./group-subscription.ts";
import { type HeddleOptions, readOptions } from "./options.ts";
import { type Ports, systemPorts } from "./ports.ts";
import {
  listProjections,
  operateProjection,
  type ProjectionOptions,
  type QueryOptions,
  type RebuildOptions,
  rebuildProjection,
  runQuery,
  type SkipOptions,
} from "./queries.ts";
import { listReminders, type RemindersOptions } from "./reminders.ts";
import type { AppendManyResult } from "./results.ts";
import { runTransaction } from "./run-transaction.ts";
import {
  listSagas,
  newSaga,
  operateSaga,
  runNamedSaga,
  type SagaBuilder,
  type SagaInterventionOptions,
  type SagaOptions,
  showSaga,
} from "./saga.ts";
import type { CallOptions } from "./session.ts";
import { Sessions } from "./sessions.ts";
import { shardPort } from "./shard-port.ts";
import type { Subscription } from "./subscription.ts";
import type { Transaction, TransactionOptions, TransactionResult } from "./transaction.ts";

/** What a node says of itself. */
export type NodeInfo = Welcome;

/** What `entities` can be asked. */
export interface EntitiesOptions extends ListQuery, CallOptions {}

/** What `import` can be given. */
export interface ImportCallOptions extends ImportOptions, CallOptions {}

/**
 * A client of one node. Give it the type of your context, and names, payloads and states are known to the compiler:
 * `new Heddle<typeof bank>({ host: "localhost", port: 9090 })`, or `new Heddle("heddle://localhost:9090/bank")`. In a browser it
 * takes a WebSocket: `new Heddle("ws://localhost:9090")`.
 *
 * It connects with the first call. An open connection keeps the process alive: end with `close`, or declare it with
 * `await using`.
 */
export class Heddle<C extends AnyContext = AnyContext> implements AsyncDisposable {
  readonly #sessions: Sessions;

  /** Errors: `INVALID_REQUEST`, naming the option. `ports` are for tests and simulators. */
  constructor(options?: HeddleOptions, more?: undefined, ports?: Ports);
  constructor(url: string, options?: HeddleOptions, ports?: Ports);
  constructor(first: string | HeddleOptions = {}, options: HeddleOptions = {}, ports: Ports = systemPorts) {
    const settings = typeof first === "string" ? readOptions(first, options) : readOptions(undefined, first);
    this.#sessions = new Sessions(settings, ports);
  }

  /**
   * Connects now, rather than with the first call.
   * Errors: `CONNECTION_FAILED` after `connectTimeoutMs`; `UNSUPPORTED_VERSION`, `UNKNOWN_CONTEXT`.
   */
  ready(): Promise<NodeInfo> {
    return this.#sessions.ready();
  }

  /** One entity, by its id. Errors: throws `INVALID_ENTITY_ID`. */
  entity(id: string): Entity<C> {
    return new Entity<C>(id, this.#sessions);
  }

  /**
   * Appends to many entities, one event an item, each for itself: some may succeed and others not. Gives one result for
   * each item, in their order; an item's operating error is a value with the code `FAILED`, so that one bad item does
   * not hide the receipts of the rest. Items of one entity take effect in their order.
   *
   * Errors: rejects with `INVALID_REQUEST` for more than 10,000 items, and with the signal's reason when it is aborted.
   */
  async appendMany(items: readonly AppendManyItem<C>[], options?: CallOptions): Promise<AppendManyResult[]> {
    if (items.length > limits.appendManyItemsMax) {
      const problem = `${items.length} items in one call, at most ${limits.appendManyItemsMax} are allowed`;
      throw new HeddleError("INVALID_REQUEST", { problem });
    }
    const results = items.map((item) => this.#appendItem(item as unknown as AppendManyItem, options));
    return Promise.all(results);
  }

  async #appendItem(item: AppendManyItem, options: CallOptions | undefined): Promise<AppendManyResult> {
    try {
      const entity = parseEntityId(item.entity);
      const hash = hashEntity(entity);
      const { aggregate = "", type, payload, expectedSeq, id, metadata, newLife } = item;
      const fields = { entity, aggregate, events: [{ type, payload }], expectedSeq, id, metadata, newLife };
      const session = this.#sessions.of(hash);
      return await session.request<AppendResult, typeof fields>(
        requestKind.append,
        hash,
        writeAppendBody,
        fields,
        options,
      );
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      return { ok: false, code: "FAILED", error };
    }
  }

  /**
   * Changes several entities together: everything that the function wrote becomes durable at one moment, or nothing does, and
   * nobody sees a part of it. What it read is as it was at that moment, too; if somebody was quicker, the function runs again,
   * up to `attempts` times. So it must have no effects of its own, and should wait for nothing but its reads.
   *
   * Resolves to `{ ok: true, value, receipts }`; to a rejection when a rule, a command or a condition that the function gave
   * says no; to what `tx.reject` made. What the function throws rejects the call. Nothing is written in all these cases.
   *
   * Where it gives `id`, call it again with the same arguments: the function runs before anybody knows that it did already.
   * Best it writes what depends on its arguments only, and leaves to commands what depends on states.
   *
   * Errors: `TRANSACTION_CONFLICT`; `INVALID_REQUEST`, also when nothing was read or written; as an append besides.
   */
  transaction<T>(
    run: (tx: Transaction<C>) => T | Promise<T>,
    options?: TransactionOptions,
  ): Promise<TransactionResult<T>> {
    const untyped = run as (tx: Transaction) => unknown;
    return runTransaction(this.#sessions, untyped, options) as Promise<TransactionResult<T>>;
  }

  /**
   * Reads the states of several entities, at most 10,000, as they were at one moment: no transaction and no append took effect
   * between one read and another. One state for each item, in their order.
   *
   * Errors: as `Entity.get`; one that cannot be read fails the whole.
   */
  getMany<const I extends readonly GetManyItem<C>[]>(items: I, options?: CallOptions): Promise<GetManyStates<C, I>> {
    return getMany(this.#sessions, items, options) as Promise<GetManyStates<C, I>>;
  }

  /**
   * A saga: changes several entities step by step, and undoes what it did when a step says no. Put together with `step` and
   * `parallel`, run with `commit`. The id makes it happen once for good. Others see its entities between the steps.
   *
   * Errors: throws `INVALID_REQUEST` for what is no id: 1 to 160 bytes of text.
   */
  saga(id: string, options?: SagaOptions): SagaBuilder<C> {
    return newSaga<C>(this.#sessions, id, options);
  }

  /**
   * Runs a saga that the domain module defines, by its name: `runSaga("transfer", "transfer-002", { … })`. As `commit`
   * otherwise.
   *
   * Errors: `UNKNOWN_SAGA`; `INVALID_PAYLOAD` for an input that its schema refuses; `INVALID_REQUEST` for one of which no saga can be made; `DOMAIN_FAILED`.
   */
  runSaga<N extends SagaName<C>>(
    name: N,
    id: string,
    input: Immutable<SagaInput<C, N>>,
    options?: SagaOptions,
  ): Promise<SagaResult> {
    return runNamedSaga(this.#sessions, name, id, input, options);
  }

  /**
   * One page of the sagas that there are; `only` tells the unfinished and the stuck ones. `sagas({ …, cursor })` goes on behind
   * a page. Errors: `INVALID_REQUEST`, naming the option.
   */
  sagas(options: SagaQuery & CallOptions = {}): Promise<SagaPage> {
    return listSagas(this.#sessions, options);
  }

  /** What a saga did, step by step, and what operators did about it. Errors: `NO_SUCH_SAGA`. */
  showSaga(id: string, options?: CallOptions): Promise<SagaRecord> {
    return showSaga(this.#sessions, id, options);
  }

  /**
   * Lets a stuck saga try again what it could not learn or undo. Resolves when it has ended, or is stuck again.
   * Errors: `NO_SUCH_SAGA`, `SAGA_NOT_STUCK`; `INVALID_REQUEST` without a reason.
   */
  retrySaga(id: string, options: SagaInterventionOptions): Promise<SagaResult> {
    return operateSaga(this.#sessions, id, undefined, options);
  }

  /**
   * Ends a stuck saga by declaration, after somebody has repaired what it left: nothing is written to the entities of its steps.
   * Errors: as `retrySaga`.
   */
  resolveSaga(
    id: string,
    options: SagaInterventionOptions & { readonly as: "COMMITTED" | "COMPENSATED" },
  ): Promise<SagaResult> {
    // Left out by who has no compiler, it must not become a retry.
    return operateSaga(this.#sessions, id, options?.as ?? ("" as "COMMITTED"), options);
  }

  /**
   * The entities that there are, page by page, in the order of their ids' UTF-8 bytes, over all shards. None is woken for
   * it. Each page is a list of `{ entity, seq, time, chain, erased }` with a `cursor`, which is undefined on the last one:
   * `entities({ …, cursor })` goes on behind a page. Time-out and signal hold for each request.
   *
   * Errors: `INVALID_REQUEST`, naming the option.
   */
  async *entities(options: EntitiesOptions = {}): AsyncGenerator<EntityPage, void, undefined> {
    const { shardCount } = await this.#sessions.ready(options);
    yield* listPages(shardPort(this.#sessions, options).list, shardCount, options);
  }

  /**
   * Entities that have reminders, in the order in which the first of each is due; a page. `reminders({ cursor })` goes on behind
   * one. Errors: `INVALID_REQUEST`.
   */
  reminders(options: RemindersOptions = {}): Promise<ReminderPage> {
    return listReminders(this.#sessions, options);
  }

  /**
   * Asks the tables that projections keep: one SELECT, with parameters by place (`?`) or by name (`:name`). Rows are objects by
   * column; integers beyond 2^53 are big integers, bytes are `Uint8Array`, booleans are 1 and 0, times are milliseconds.
   *
   * With `after`, the receipt of a write, it sees that write: nobody else's promise, so give it wherever somebody reads back
   * what was just written.
   *
   * Errors: `QUERY_REFUSED` for what is no SELECT, or has parameters that do not fit; `QUERY_LIMIT` beyond `rowsMax` or
   * `timeoutMs`; `PROJECTION_LAGS`; `NO_QUERY_SINK`; `SINK_UNAVAILABLE`; `SINK_REFUSED`.
   */
  query<R = QueryRow>(sql: string, params?: QueryParameters, options: QueryOptions = {}): Promise<QueryResult<R>> {
    return runQuery(this.#sessions, sql, params, options) as Promise<QueryResult<R>>;
  }

  /** Every projection in each of its sinks: its state, how far it is, what it has set aside. */
  projections(options?: CallOptions): Promise<ListedProjection[]> {
    return listProjections(this.#sessions, options);
  }

  /**
   * Makes a projection's rows anew from the log, beside those that are read, which it then replaces at one moment. Resolves when
   * that is done.
   *
   * Errors: `UNKNOWN_PROJECTION`; `PROJECTION_LAGS` when it is paused, or stopped on the way.
   */
  rebuildProjection(projection: string, options: RebuildOptions = {}): Promise<ProjectionRebuilt[]> {
    return rebuildProjection(this.#sessions, projection, options);
  }

  /** Lets a projection take no more events, until `resumeProjection`, also over restarts. Errors: `UNKNOWN_PROJECTION`. */
  async pauseProjection(projection: string, options?: ProjectionOptions): Promise<void> {
    await operateProjection(this.#sessions, "pause", projection, options);
  }

  /** Lets a paused projection go on, and one that stopped try again. Errors: `UNKNOWN_PROJECTION`. */
  async resumeProjection(projection: string, options?: ProjectionOptions): Promise<void> {
    await operateProjection(this.#sessions, "resume", projection, options);
  }

  /**
   * Gives a projection the events of an entity again that it has set aside. Errors: `UNKNOWN_PROJECTION`, `NOT_SET_ASIDE`.
   */
  async retrySetAside(projection: string, entity: string, options?: ProjectionOptions): Promise<void> {
    await operateProjection(this.#sessions, "retry", projection, options, { entity });
  }

  /**
   * Leaves out the one event that a projection could not take, and goes on behind it. Errors: `UNKNOWN_PROJECTION`,
   * `NOT_SET_ASIDE`; `INVALID_REQUEST` without a reason.
   */
  async skipSetAside(projection: string, entity: string, { reason, by, ...options }: SkipOptions): Promise<void> {
    await operateProjection(this.#sessions, "skip", projection, options, { entity, reason, by: by ?? "" });
  }

  /** One page of `entities`, which may be empty. */
  async entitiesPage(options: EntitiesOptions = {}): Promise<EntityPage> {
    const { shardCount } = await this.#sessions.ready(options);
    return listPage(shardPort(this.#sessions, options).list, shardCount, options);
  }

  /**
   * What event types there are events of, with the schema versions that they were written with and how many of each.
   * Erased events do not count.
   */
  async types(options?: CallOptions): Promise<StoredType[]> {
    const { shardCount } = await this.#sessions.ready(options);
    const { types } = shardPort(this.#sessions, options);
    return sumTypes(await Promise.all(Array.from({ length: shardCount }, (_, shard) => types(shard))));
  }

  /**
   * Writes what `Entity.export` gave, of one entity or of several one after the other, line by line. Sequences, times,
   * metadata, ids and states are as exported. Importing again goes on where it ended: what is there is compared, and
   * nothing is written twice. Time-out and signal hold for each request.
   *
   * Errors: `EXPORT_DAMAGED` with the line; `ENTITY_EXISTS` for an entity that has anything else than a beginning of its
   * export, and `ERASED` for one that was erased here; `INVALID_REQUEST` for one that was erased before it was exported,
   * unless `renumber` is given; throws `RejectedError` when a rule of today says no. Entities before may be there then.
   */
  async import(
    lines: AsyncIterable<string> | Iterable<string>,
    options: ImportCallOptions = {},
  ): Promise<ImportResult> {
    const as = options.as === undefined ? undefined : parseEntityId(options.as);
    return importEntities(copyPort(this.#sessions, options), lines, { ...options, as });
  }

  /**
   * Committed events of all entities, those that there are and then those that come, each once: `for await (const event of
   * db.subscribe({ kind: "account", types: ["Credited"], from }))`. Events of an entity come in order; between entities there
   * is none. It lasts until the loop is left: a node that is away is waited for, once it was there. Keep an event's `cursor`
   * when you have done with it, and the next subscription goes on behind it, after whatever has happened.
   *
   * What was erased is left out; where no aggregate is asked for, Heddle's own events tell of it: see `asSystemEvent`. Slow
   * readers are not sent more than they ask for: one page of each shard, at most 1,000 events or about 256 KiB.
   *
   * Errors: the loop throws `INVALID_REQUEST`, also for a cursor from elsewhere; `UNKNOWN_AGGREGATE`, `UNKNOWN_EVENT_TYPE`,
   * `DOMAIN_FAILED` where an upcaster throws, `CONNECTION_FAILED`, `CLOSED`, and the signal's reason.
   */
  subscribe<A extends AggregateName<C> = AggregateName<C>, const T extends TypesOf<C, A> = TypesOf<C, A>>(
    options?: SubscribeOptions<A, T> & { readonly group?: undefined },
  ): Subscription<FeedEventOf<C, A, T>>;
  /**
   * The same as a member of a consumer group, with others who name the same `group`, in this process or elsewhere: each event
   * is given to one of them, the events of an entity in their order and to one member at a time. Each loop is a member. The node
   * keeps how far the group is; asking for the next event says that the one before is dealt with, and what nobody has said so of
   * comes again: an event may come twice, after a crash, or when the loop is left while it is at it. Members that come and go
   * share the entities anew; one that is silent for 10 s is taken for dead.
   *
   * Errors: as above; throws `INVALID_REQUEST` for `handleTimeoutMs`; the loop throws it where other members asked for other events,
   * and `DATA_FOLDER_UNWRITABLE` when the node cannot keep the group's place.
   */
  subscribe<A extends AggregateName<C> = AggregateName<C>, const T extends TypesOf<C, A> = TypesOf<C, A>>(
    options: GroupOptions<A, T>,
  ): Subscription<GroupEventOf<C, A, T>>;
  subscribe(options: SubscribeOptions | GroupOptions = {}): Subscription<GroupEventOf> {
    if ("group" in options && options.group !== undefined) return subscribeToGroup(this.#sessions, options);
    return subscribeToAll(this.#sessions, options as SubscribeOptions);
  }

  /** Consumer groups, their members, and how far they are. */
  groups(options?: CallOptions): Promise<ListedGroup[]> {
    return listGroups(this.#sessions, options);
  }

  /**
   * Lets a consumer group be no more, with its place: one of the same name begins anew. Whether there was such a group.
   * Errors: `INVALID_REQUEST` for one that has members.
   */
  forgetGroup(group: string, options?: CallOptions): Promise<boolean> {
    return forgetGroup(this.#sessions, group, options);
  }

  /**
   * Waits for unanswered calls, at most `timeoutMs` (default 10,000), then closes the connections. Calls that are cut off
   * reject with `OUTCOME_UNKNOWN`, later ones with `CLOSED`. May be called again.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    await this.#sessions.close(options.timeoutMs ?? closeTimeoutMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const closeTimeoutMs = 10_000;
