// ReaderErasures: a shard thread's way to the readers that keep copies of what its shards' logs have (P6), over the main thread.
//
// Not promised: an answer, if the main thread has none; the thread is ending then.
import type { Random } from "@heddle/kernel";
import { fromWireError, type WireError } from "@heddle/kernel/internal";
import type { CopiesState, ReaderCopies, TombstonePlace } from "@heddle/shard/internal";
import { type ErasureQuestion, fromWireState, type WireCopiesState } from "./erasure-messages.ts";

/** Which readers of a node keep copies. */
export interface CopyingReaders {
  /** NATS: it has to be told which entries go. */
  readonly publisher: boolean;
  /** These learn it from the tombstone, which they read like everything else. */
  readonly projections: boolean;
}

export interface ReaderErasuresOptions {
  readonly readers: CopyingReaders;
  readonly random: Random;
  readonly say: (message: {
    readonly kind: "erasure";
    readonly id: number;
    readonly question: ErasureQuestion;
  }) => void;
}

export class ReaderErasures implements ReaderCopies {
  readonly #options: ReaderErasuresOptions;
  readonly #asked = new Map<number, PromiseWithResolvers<readonly WireCopiesState[]>>();
  /** Answers to a thread that was lost come to the next one, and must not be taken for its own. */
  #nextId: number;

  constructor(options: ReaderErasuresOptions) {
    this.#options = options;
    this.#nextId = options.random.safeInteger() % 2 ** 52;
  }

  async bury({ entity, shard, seq, position }: TombstonePlace, positions: Float64Array): Promise<void> {
    if (!this.#options.readers.publisher) return;
    await this.#ask({ what: "bury", tombstone: { entity, shard, seq, position }, positions });
  }

  async gone(tombstones: readonly TombstonePlace[]): Promise<readonly CopiesState[]> {
    const places = tombstones.map(({ entity, shard, seq, position }) => ({ entity, shard, seq, position }));
    return (await this.#ask({ what: "gone", tombstones: places })).map(fromWireState);
  }

  /** An answer that came over the main thread. */
  onAnswer({ id, states, error }: ErasureAnswer): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error !== undefined) asked?.reject(fromWireError(error));
    else asked?.resolve(states ?? []);
  }

  #ask(question: ErasureQuestion): Promise<readonly WireCopiesState[]> {
    const id = this.#nextId++;
    const asked = Promise.withResolvers<readonly WireCopiesState[]>();
    this.#asked.set(id, asked);
    this.#options.say({ kind: "erasure", id, question });
    return asked.promise;
  }
}

export interface ErasureAnswer {
  readonly id: number;
  /** One for each tombstone that was asked about. */
  readonly states?: readonly WireCopiesState[];
  readonly error?: WireError;
}
