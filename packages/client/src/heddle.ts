// Heddle: the door to a node. Spreads entities over sessions; everything else is theirs.
import type { AnyContext } from "@heddle/domain";
import { HeddleError, hashEntity, limits, parseEntityId } from "@heddle/kernel";
import type { AppendResult } from "@heddle/protocol";
import { requestKind, type Welcome, writeAppendBody } from "@heddle/protocol/internal";
import type { AppendManyItem } from "./call-types.ts";
import { Entity } from "./entity.ts";
import { type HeddleOptions, readOptions, type Settings } from "./options.ts";
import { type Ports, systemPorts } from "./ports.ts";
import type { AppendManyResult } from "./results.ts";
import { type CallOptions, Session } from "./session.ts";

/** What a node says of itself. */
export type NodeInfo = Welcome;

/**
 * A client of one node. Give it the type of your context, and names, payloads and states are known to the compiler:
 * `new Heddle<typeof bank>({ host: "localhost", port: 9090 })`, or `new Heddle("heddle://localhost:9090/bank")`.
 *
 * It connects with the first call. An open connection keeps the process alive: end with `close`, or declare it with
 * `await using`.
 */
export class Heddle<C extends AnyContext = AnyContext> implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #sessions: readonly Session[];

  /** Errors: `INVALID_REQUEST`, naming the option. `ports` are for tests and simulators. */
  constructor(options?: HeddleOptions, more?: undefined, ports?: Ports);
  constructor(url: string, options?: HeddleOptions, ports?: Ports);
  constructor(first: string | HeddleOptions = {}, options: HeddleOptions = {}, ports: Ports = systemPorts) {
    this.#settings = typeof first === "string" ? readOptions(first, options) : readOptions(undefined, first);
    this.#sessions = Array.from({ length: this.#settings.connections }, () => new Session(this.#settings, ports));
  }

  /**
   * Connects now, rather than with the first call.
   * Errors: `CONNECTION_FAILED` after `connectTimeoutMs`; `UNSUPPORTED_VERSION`, `UNKNOWN_CONTEXT`.
   */
  async ready(): Promise<NodeInfo> {
    const nodes = await Promise.all(this.#sessions.map((session) => session.ready()));
    return nodes[0]!;
  }

  /** One entity, by its id. Errors: throws `INVALID_ENTITY_ID`. */
  entity(id: string): Entity<C> {
    const parsed = parseEntityId(id);
    const hash = hashEntity(parsed);
    return new Entity<C>(parsed, hash, this.#sessionOf(hash));
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
      const { aggregate = "", type, payload, expectedSeq, id, metadata } = item;
      const fields = { entity, aggregate, events: [{ type, payload }], expectedSeq, id, metadata };
      const session = this.#sessionOf(hash);
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
   * Waits for unanswered calls, at most `timeoutMs` (default 10,000), then closes the connections. Calls that are cut off
   * reject with `OUTCOME_UNKNOWN`, later ones with `CLOSED`. May be called again.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const timeoutMs = options.timeoutMs ?? closeTimeoutMs;
    await Promise.all(this.#sessions.map((session) => session.close(timeoutMs)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #sessionOf(hash: number): Session {
    return this.#sessions[hash % this.#sessions.length]!;
  }
}

const closeTimeoutMs = 10_000;
