// ReaderWaits: erasures of a shard that are done but for what readers of its log still have (P6).
//
// Owns the asking: for many at a time, soon at first and then every now and then, until each is gone.
//
// RW1. What waits here holds up nothing else, and asks no more than one question at a time.
// RW2. What does not go on there is told as soon as it is known, and asked about again all the same.
// Not promised: when. A sink that is away for a day is waited for for a day.
import { HeddleError } from "@heddle/kernel";
import { messageOf } from "./decoding.ts";
import {
  type CopiesState,
  nextTurnOf,
  type ReaderCopies,
  type ShardOptions,
  type TombstonePlace,
} from "./shard-options.ts";

/** Tombstones in one question. */
const askedAtOnce = 200;
const firstPauseMs = 5;
const pauseMsMax = 250;

interface Wait {
  readonly tombstone: TombstonePlace;
  readonly gone: PromiseWithResolvers<void>;
  readonly onProblem: (error: HeddleError) => void;
}

export class ReaderWaits {
  readonly #readers: ReaderCopies;
  readonly #schedule: ShardOptions["schedule"];
  /** By entity; those that were asked about longest ago first. */
  readonly #waits = new Map<string, Wait>();
  #isAsking = false;
  #stopped = false;

  constructor(readers: ReaderCopies, schedule: ShardOptions["schedule"]) {
    this.#readers = readers;
    this.#schedule = schedule;
  }

  /** Resolves when nothing is left; never, once it is stopped. May be called again for the same tombstone. */
  wait(tombstone: TombstonePlace, onProblem: (error: HeddleError) => void): Promise<void> {
    let wait = this.#waits.get(tombstone.entity);
    if (wait === undefined) {
      wait = { tombstone, gone: Promise.withResolvers(), onProblem };
      this.#waits.set(tombstone.entity, wait);
    }
    if (!this.#isAsking) void this.#ask();
    return wait.gone.promise;
  }

  stop(): void {
    this.#stopped = true;
    this.#waits.clear();
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    let pauseMs = firstPauseMs;
    // Those of the same turn are asked about together.
    await nextTurnOf({ schedule: this.#schedule });
    while (this.#waits.size > 0 && !this.#stopped) {
      const asked = [...this.#waits.values()].slice(0, askedAtOnce);
      const answers = await this.#answersFor(asked);
      if (this.#stopped) return;
      const before = this.#waits.size;
      for (const [i, wait] of asked.entries()) this.#take(wait, answers[i]!);
      pauseMs = this.#waits.size < before ? firstPauseMs : Math.min(2 * pauseMs, pauseMsMax);
      if (this.#waits.size > 0) await new Promise<void>((resolve) => this.#schedule(resolve, pauseMs));
    }
    this.#isAsking = false;
  }

  async #answersFor(asked: readonly Wait[]): Promise<readonly CopiesState[]> {
    try {
      return await this.#readers.gone(asked.map(({ tombstone }) => tombstone));
    } catch (thrown) {
      const error =
        thrown instanceof HeddleError ? thrown : new HeddleError("OUTCOME_UNKNOWN", { problem: messageOf(thrown) });
      return asked.map(() => error);
    }
  }

  #take(wait: Wait, answer: CopiesState): void {
    this.#waits.delete(wait.tombstone.entity);
    if (answer === "gone") {
      wait.gone.resolve();
      return;
    }
    this.#waits.set(wait.tombstone.entity, wait);
    if (answer !== "waiting") wait.onProblem(answer);
  }
}
