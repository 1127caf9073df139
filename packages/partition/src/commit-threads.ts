// CommitThreads: knows when the threads on which lmdb commits have come to their end.
//
// lmdb says that a commit is durable while the thread that made it has still a few lines to run, and those use the environment.
// Its `close` waits for commits and not for such threads: an environment that is closed at that moment is freed under one of
// them, which ends the process with SIGSEGV, every thousandth time or so on a busy machine (seen in cores: WriteWorker::Write,
// notifyUserCallbacks). So whoever closes waits for them here.

import { invariant } from "@heddle/kernel/internal";
import type { RootDatabase } from "lmdb";

/** What lmdb's JavaScript calls to have instructions carried out on a thread of the pool. */
interface NativeEnvironment {
  startWriting?: (instructions: unknown, onStatus: (status: number) => unknown) => unknown;
}

/** Statuses that come while the thread runs; any other is said after its end. */
const underWay: ReadonlySet<number> = new Set([1, 2]);

export class CommitThreads {
  #running = 0;
  #ended: PromiseWithResolvers<void> | undefined;

  /** To be made before the first write. */
  constructor(root: RootDatabase<Uint8Array, Uint8Array>) {
    const { env } = root as unknown as { readonly env?: NativeEnvironment };
    const startWriting = env?.startWriting;
    invariant(startWriting !== undefined, "partition/lmdb-writes-through-its-environment");
    const counted: typeof startWriting = (instructions, onStatus) => {
      this.#running++;
      return startWriting.call(env, instructions, (status) => {
        if (!underWay.has(status)) this.#end();
        return onStatus(status);
      });
    };
    Object.defineProperty(env, "startWriting", { value: counted });
  }

  /** Resolves when none runs. */
  async ended(): Promise<void> {
    while (this.#running > 0) {
      this.#ended ??= Promise.withResolvers<void>();
      await this.#ended.promise;
    }
  }

  #end(): void {
    this.#running--;
    if (this.#running > 0) return;
    this.#ended?.resolve();
    this.#ended = undefined;
  }
}
