// Heddle: the door to a node. Spreads entities over sessions; everything else is theirs.
import type { AnyContext, Immutable, SagaInput, SagaName } from "@heddle/domain";
import { HeddleError, hashEntity, limits, parseEntityId } from "@heddle/kernel";
import type {
  AppendResult,
  EntityPage,
  ImportOptions,
  ImportResult,
  ListQuery,
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
import { type GetManyItem, type GetManyStates, getMany } from "./get-many.ts";
import { type HeddleOptions, readOptions } from "./options.ts";
import { type Ports, systemPorts } from "./ports.ts";
import { listReminders, type RemindersOptions } from "./reminders.ts";
import type { AppendManyResult } from "./results.ts";
import {
  listSagas,
  operateSaga,
  runNamedSaga,
  SagaBuilder,
  type SagaInterventionOptions,
  type SagaOptions,
  showSaga,
} from "./saga.ts";
import type { CallOptions } from "./session.ts";
import { Sessions } from "./sessions.ts";
import { shardPort } from "./shard-port.ts";
import { runTransaction, type Transaction, type TransactionOptions, type TransactionResult } from "./transaction.ts";

/** What a node says of itself. */
export type NodeInfo = Welcome;

/** What `entities` can be asked. */
export interface EntitiesOptions extends ListQuery, CallOptions {}

/** What `import` can be given. */
export interface ImportCallOptions extends ImportOptions, CallOptions {}

/**
 * A client of one node. Give it the type of your context, and names, payloads and states are known to the compiler:
 * `new Heddle<typeof bank>({ host: "localhost", port: 9090 })`, or `new Heddle("heddle://localhost:9090/bank")`.
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
    return new SagaBuilder<C>(id, this.#sessions, options);
  }

  /**
   * Runs a saga that the domain module defines, by its name: `runSaga("transfer", "transfer-002", { … })`. As `commit`
   * otherwise.
   *
   * Errors: `UNKNOWN_SAGA`; `INVALID_PAYLOAD` for an input that its schema refuses; `DOMAIN_FAILED`.
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
    return operateSaga(this.#sessions, id, options.as ?? ("" as "COMMITTED"), options);
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
