// DyingNode: the storm's node, a process of its own that is killed and started again on the same folder, and a client that asks
// until there is an answer.
//
// N1. A call that has no answer is asked again with the same id, by whichever client there is then.
// N2. Every second kill takes the client with it: the calls that were under way are then known to the node by their ids only. After
//     the other kills the SDK's session sends them again, as it does by itself.
// N3. Nobody asks again for a saga that had begun before it has ended: it goes on by itself when its shard is open again.
// Not promised: an answer while the node does not start; `kill` rejects then.
import { Heddle, HeddleError } from "@heddle/client";
import type { NodeOptions } from "@heddle/runtime";
import { freePort } from "../../../infra/servers/index.ts";
import { type Server, startNodeProcess } from "../driver/processes.ts";
import type stormBank from "./domain.ts";
import type { StormClient } from "./domain.ts";

type Client = Heddle<typeof stormBank>;

/** A call may wait for so long for a node that is being started. */
const patienceMs = 60_000;
const reconnectDelayMaxMs = 100;
/** A call that takes milliseconds is not met by more kills than that. */
const asksMax = 10;
const pollMs = 50;

export class DyingNode {
  readonly client: StormClient;
  kills = 0;
  /** Calls that were asked once more, by N1. */
  askedAgain = 0;
  /** Sagas that were seen to end, or had ended, before anybody asked for them again. */
  sagasEndedAlone = 0;
  readonly #options: NodeOptions & { readonly port: number };
  #server: Server;
  #db: Client;

  /** Errors: whatever kept the node from starting. */
  static async start(options: Omit<NodeOptions, "port">): Promise<DyingNode> {
    // One for all lives, so that clients find the next; not the system's choice, see freePort.
    const fixed = { ...options, port: await freePort() };
    return new DyingNode(fixed, await startNodeProcess(fixed));
  }

  private constructor(options: NodeOptions & { readonly port: number }, server: Server) {
    this.#options = options;
    this.#server = server;
    this.#db = this.#newClient();
    this.client = {
      entity: (id) => this.#db.entity(id),
      getMany: (items, how) => this.#ask((db) => db.getMany(items, how)),
      sagas: (how) => this.#ask((db) => db.sagas(how)),
      transaction: (run, how) => this.#ask((db) => db.transaction(run, how)),
      runSaga: (name, id, input, how) =>
        this.#ask(
          (db) => db.runSaga(name, id, input, how),
          () => this.#sagaHasEnded(id),
        ),
    };
  }

  get shards(): number {
    return this.#server.shards;
  }

  get threads(): number {
    return this.#server.threads;
  }

  async durability(): Promise<string> {
    return (await this.#db.ready()).durability;
  }

  /** SIGKILL, and a new life. Errors: whatever kept the node from starting again. */
  async kill(): Promise<void> {
    this.kills++;
    const dying = this.kills % 2 === 0 ? this.#db : undefined;
    if (dying !== undefined) this.#db = this.#newClient();
    await this.#server.kill();
    await dying?.close({ timeoutMs: 1 });
    this.#server = await startNodeProcess(this.#options);
  }

  /** Stops it in order. */
  async close(): Promise<void> {
    await this.#db.close({ timeoutMs: 1 });
    await this.#server.close();
  }

  #newClient(): Client {
    return new Heddle<typeof stormBank>({
      host: "127.0.0.1",
      port: this.#options.port,
      clientName: "storm",
      timeoutMs: patienceMs,
      connectTimeoutMs: patienceMs,
      reconnectDelayMaxMs,
    });
  }

  async #ask<T>(ask: (db: Client) => Promise<T>, beforeNext?: () => Promise<unknown>): Promise<T> {
    for (let asked = 1; ; asked++) {
      try {
        return await ask(this.#db);
      } catch (error) {
        if (!isOpen(error) || asked === asksMax) throw error;
      }
      this.askedAgain++;
      await beforeNext?.();
    }
  }

  // N3. One that had not begun is not there, and never comes: its request died with the node.
  async #sagaHasEnded(id: string): Promise<void> {
    for (const until = performance.now() + patienceMs; performance.now() < until; ) {
      const state = await this.#ask((db) => stateOfSaga(db, id));
      if (state === undefined) return;
      if (state !== "RUNNING" && state !== "COMPENSATING") {
        this.sagasEndedAlone++;
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`the saga ${id} had begun, and did not end by itself within ${patienceMs} ms`);
  }
}

/** Undefined when there is no such saga. */
async function stateOfSaga(db: Client, id: string): Promise<string | undefined> {
  try {
    return (await db.showSaga(id)).state;
  } catch (error) {
    if (error instanceof HeddleError && error.code === "NO_SUCH_SAGA") return undefined;
    throw error;
  }
}

/** Whether the call may have taken effect or may still, or would be answered if it were made again. */
function isOpen(error: unknown): boolean {
  return error instanceof HeddleError && (error.retryable || error.code === "CLOSED");
}
