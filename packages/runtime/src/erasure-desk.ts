// ErasureDesk: the main thread's part in erasures that go beyond shards. It hands what a shard asks to the threads whose readers
// keep copies, and gives back what all of them say.
//
// Keeps nothing: a question whose thread is lost is answered with an error, and the shard asks again.
import { HeddleError } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { type ErasureAsk, type ErasureQuestion, joinStates, type WireCopiesState } from "./erasure-messages.ts";
import type { FromThread, ToThread } from "./thread-messages.ts";

/** A thread of readers: a ReaderLink. */
export interface AskedReader {
  ask(question: ErasureAsk): Promise<unknown>;
}

export interface ErasureDeskOptions {
  /** The thread of the publisher, if the node publishes. */
  readonly publisher: AskedReader | undefined;
  /** The thread of projections, if there are any. */
  readonly projections: AskedReader | undefined;
}

export class ErasureDesk {
  readonly #options: ErasureDeskOptions;
  readonly #all: readonly AskedReader[];

  constructor(options: ErasureDeskOptions) {
    this.#options = options;
    this.#all = [options.publisher, options.projections].filter((reader) => reader !== undefined);
  }

  /** Takes what a shard thread asks, and tells it the answer. Other messages are not meant. */
  onQuestion(message: FromThread, shardThread: { tell(message: ToThread): void }): void {
    if (message.kind !== "erasure") return;
    const { id, question } = message;
    this.#answer(question).then(
      (states) => shardThread.tell({ kind: "erasure-answer", id, states }),
      (thrown: unknown) => {
        const error =
          thrown instanceof HeddleError ? thrown : new HeddleError("OUTCOME_UNKNOWN", { problem: String(thrown) });
        shardThread.tell({ kind: "erasure-answer", id, error: toWireError(error) });
      },
    );
  }

  async #answer(erasure: ErasureQuestion): Promise<readonly WireCopiesState[]> {
    if (erasure.what === "bury") {
      await this.#options.publisher?.ask({ erasure });
      return [];
    }
    const said = await Promise.all(
      this.#all.map(async (reader) => (await reader.ask({ erasure })) as readonly WireCopiesState[]),
    );
    return erasure.tombstones.map((_, i) => joinStates(said.map((states) => states[i]!)));
  }
}
