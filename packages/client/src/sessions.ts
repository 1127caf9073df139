// Sessions: the connections of one client, and which of them a call takes: by the entity's hash, so that the calls of one
// entity stay in order.
import type { Clock } from "@heddle/kernel";
import type { Welcome } from "@heddle/protocol/internal";
import type { Settings } from "./options.ts";
import type { Ports } from "./ports.ts";
import { type CallOptions, Session } from "./session.ts";
import { Turns } from "./turns.ts";

export class Sessions {
  readonly ports: Ports;
  /** Of a call that says nothing else. */
  readonly timeoutMs: number;
  readonly turns = new Turns();
  readonly #all: readonly Session[];
  /** Fixed for the life of a data folder; undefined until it was asked for. */
  knownShardCount: number | undefined;

  constructor(settings: Settings, ports: Ports) {
    this.ports = ports;
    this.timeoutMs = settings.timeoutMs;
    this.#all = Array.from({ length: settings.connections }, () => new Session(settings, ports));
  }

  get clock(): Clock {
    return this.ports.clock;
  }

  /** For an entity's hash, or a shard's number where a shard is asked. */
  of(hash: number): Session {
    return this.#all[hash % this.#all.length]!;
  }

  /** What the node says of itself. Errors: as `Session.ready`, and the signal's reason. */
  async ready(options?: CallOptions): Promise<Welcome> {
    options?.signal?.throwIfAborted();
    const nodes = await Promise.all(this.#all.map((session) => session.ready()));
    options?.signal?.throwIfAborted();
    return nodes[0]!;
  }

  /** Errors: as `ready`. */
  async shardCount(options?: CallOptions): Promise<number> {
    this.knownShardCount ??= (await this.ready(options)).shardCount;
    return this.knownShardCount;
  }

  async close(timeoutMs: number): Promise<void> {
    await Promise.all(this.#all.map((session) => session.close(timeoutMs)));
  }
}
