// SagaSteps: which events of sagas count, for projections with `sagas: "settled"`.
//
// A saga's steps lie in the logs of their entities, and its end in the log of its own entity, `$saga/…`: a track may read the end
// before or after the steps. Each outcome is kept until no step of its saga can come any more: until all shards, and all entities
// whose events wait, are past the ends that the logs had when the outcome was read.
//
// G1. Steps of a COMMITTED saga count, steps and compensations of a COMPENSATED one do not. A resolution by an operator decides
//     for a stuck one.
// G2. A saga whose record was erased with one of its entities had ended: its step counts at another entity unless that entity
//     has its compensation, too.
import { systemKinds } from "@heddle/kernel";
import type { SagaOutcome } from "./sink.ts";

/** More are not kept: one stuck saga that nobody resolves must not fill the memory (P8). */
export const outcomesMax = 1_000_000;

const ends: ReadonlySet<string> = new Set(["Committed", "Compensated", "Resolved"]);

/** Whether an event of a saga's own entity says how it ended. */
export function isSagaEnd(aggregate: string, type: string): boolean {
  return aggregate === systemKinds.saga && ends.has(type);
}

export function isSagaEntity(entity: string): boolean {
  return entity.startsWith(`${systemKinds.saga}/`);
}

/** What an event of {@link isSagaEnd} says. */
export function outcomeOf(type: string, payload: unknown): SagaOutcome["outcome"] {
  const as = type === "Resolved" ? (payload as { readonly as?: unknown }).as : type.toUpperCase();
  return as === "COMMITTED" ? "committed" : "compensated";
}

/** The id of the compensation of a step, whose own id is given. */
export function compensationOf(stepId: string): string {
  return `${stepId.slice(0, -1)}c`;
}

export class SagaSteps {
  readonly #outcomes: Map<string, SagaOutcome>;
  /** Since the last write. */
  readonly changes = new Map<string, SagaOutcome | null>();

  readonly #kept: number;

  /** `kept`: so many of the last outcomes are not forgotten. */
  constructor(outcomes: readonly SagaOutcome[], kept: number) {
    this.#kept = kept;
    this.#outcomes = new Map(outcomes.map((outcome) => [outcome.saga, outcome]));
  }

  get size(): number {
    return this.#outcomes.size;
  }

  /** `saga` is the id of its entity. */
  outcomeOf(saga: string): SagaOutcome | undefined {
    return this.#outcomes.get(saga);
  }

  /** Takes in how a saga ended. One that was known stays: an erasure takes nothing back. */
  settle(outcome: SagaOutcome): void {
    if (outcome.outcome === "unknown" && this.#outcomes.has(outcome.saga)) return;
    this.#outcomes.set(outcome.saga, outcome);
    this.changes.set(outcome.saga, outcome);
  }

  /** Forgets sagas none of whose steps can come any more; `low` says, by shard, below what everything has been folded. */
  forget(low: readonly number[]): void {
    for (const outcome of this.#outcomes.values()) {
      if (this.#outcomes.size <= this.#kept) return;
      // In the order in which they came: the ends only grow.
      if (!outcome.ends.every((end, shard) => low[shard]! >= end)) return;
      this.#outcomes.delete(outcome.saga);
      this.changes.set(outcome.saga, null);
    }
  }
}
