// Heddle: the door to a node. Spreads entities over sessions; everything else is theirs.
import type { AnyContext } from "@heddle/domain";
import { HeddleError, hashEntity, limits, parseEntityId } from "@heddle/kernel";
import type { AppendResult, EntityPage, ImportOptions, ImportResult, ListQuery, StoredType } from "@heddle/protocol";
import type { Welcome } from "@heddle/protocol/internal";
import { importEntities, listPage, listPages, requestKind, sumTypes, writeAppendBody } from "@heddle/protocol/internal";
import type { AppendManyItem } from "./call-types.ts";
import { copyPort } from "./copy-port.ts";
import { Entity } from "./entity.ts";
import { type HeddleOptions, readOptions } from "./options.ts";
import { type Ports, systemPorts } from "./ports.ts";
import type { AppendManyResult } from "./results.ts";
import type { CallOptions } from "./session.ts";
import { Sessions } from "./sessions.ts";
import { shardPort } from "./shard-port.ts";

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
