// Sessions: the connections of one client, and which of them a call takes: by the entity's hash, so that the calls of one
// entity stay in order.
import type { Clock } from "@heddle/kernel";
import type { Welcome } from "@heddle/protocol/internal";
import type { Settings } from "./options.ts";
import type { Ports } from "./ports.ts";
import { type CallOptions, Session } from "./session.ts";
import { Turns } from "./turns.ts";

/** Waiting calls of one connection: the node counts each for some kilobytes of the reply that may come. */
const waitingCallsMax = 1_000;

export class Sessions {
  readonly ports: Ports;
  readonly #settings: Settings;
  /** Of a call that says nothing else. */
  readonly timeoutMs: number;
  readonly turns = new Turns();
  /** Those of calls, each over a connection of its own. */
  readonly all: readonly Session[];
  /** Made when they are needed; most clients have none, or one. */
  readonly #waiting: Session[] = [];
  #isClosed = false;
  /** Called when the client begins to close, while calls can still be made. */
  readonly onClosing = new Set<() => void>();
  /** Fixed for the life of a data folder; undefined until it was asked for. */
  knownShardCount: number | undefined;

  constructor(settings: Settings, ports: Ports) {
    this.ports = ports;
    this.#settings = settings;
    this.timeoutMs = settings.timeoutMs;
    this.all = Array.from({ length: settings.connections }, () => new Session(settings, ports));
  }

  get clock(): Clock {
    return this.ports.clock;
  }

  /** For an entity's hash, or a shard's number where a shard is asked. */
  of(hash: number): Session {
    return this.all[hash % this.all.length]!;
  }

  /**
   * For a question that the node answers when there is something to tell: it holds no call up, and no other waits behind it.
   * To be asked for anew for each. `close` cuts it off at once, with `CLOSED`.
   */
  waiting(): Session {
    const free = this.#waiting.find((session) => session.size < waitingCallsMax);
    if (free !== undefined) return free;
    const session = new Session(this.#settings, this.ports, "waiting");
    this.#waiting.push(session);
    // One that is made after the end says so to its callers.
    if (this.#isClosed) void session.close(0);
    return session;
  }

  /** What the node says of itself. Errors: as `Session.ready`, and the signal's reason. */
  async ready(options?: CallOptions): Promise<Welcome> {
    options?.signal?.throwIfAborted();
    const nodes = await Promise.all(this.all.map((session) => session.ready()));
    options?.signal?.throwIfAborted();
    return nodes[0]!;
  }

  /** Errors: as `ready`. */
  async shardCount(options?: CallOptions): Promise<number> {
    this.knownShardCount ??= (await this.ready(options)).shardCount;
    return this.knownShardCount;
  }

  async close(timeoutMs: number): Promise<void> {
    for (const say of this.onClosing) say();
    this.#isClosed = true;
    await Promise.all([...this.#waiting, ...this.all].map((session) => session.close(timeoutMs)));
  }
}
