// What threads say to each other about erasures: shards ask, readers that keep copies of the log's events answer (P6). Rare, so
// everything is an object, and goes over the main thread (erasure-desk.ts).
import { HeddleError } from "@heddle/kernel";
import { fromWireError, toWireError, type WireError } from "@heddle/kernel/internal";
import type { CopiesState, TombstonePlace } from "@heddle/shard/internal";

/** `bury`: these entries are about to go. `gone`: they have gone from the log; what is left of them elsewhere? */
export type ErasureQuestion =
  | { readonly what: "bury"; readonly tombstone: TombstonePlace; readonly positions: Float64Array }
  | { readonly what: "gone"; readonly tombstones: readonly TombstonePlace[] };

/** An error as it travels. */
export type WireCopiesState = "gone" | "waiting" | WireError;

export function toWireState(state: CopiesState): WireCopiesState {
  return state instanceof HeddleError ? toWireError(state) : state;
}

export function fromWireState(state: WireCopiesState): CopiesState {
  return typeof state === "string" ? state : fromWireError(state);
}

/** A question as a thread of readers gets it. */
export interface ErasureAsk {
  readonly erasure: ErasureQuestion;
}

export function isErasureAsk(question: unknown): question is ErasureAsk {
  return typeof question === "object" && question !== null && "erasure" in question;
}

/** What a thread of readers has that keeps copies. Answers at once, without waiting for them. */
export interface CopyKeeper {
  /** Durable when it returns. Only for those that have to be told. */
  bury?(tombstone: TombstonePlace, positions: Float64Array): void;
  gone(tombstones: readonly TombstonePlace[]): readonly CopiesState[];
}

/** For `Reader.ask` of such a thread. */
export function answerErasure({ erasure }: ErasureAsk, keeper: CopyKeeper): readonly WireCopiesState[] {
  if (erasure.what === "gone") return keeper.gone(erasure.tombstones).map(toWireState);
  keeper.bury?.(erasure.tombstone, erasure.positions);
  return [];
}

/** What several readers say of the same tombstone: it is gone when it is gone everywhere, and an error is told first. */
export function joinStates(states: readonly WireCopiesState[]): WireCopiesState {
  let joined: WireCopiesState = "gone";
  for (const state of states) {
    if (typeof state !== "string") return state;
    if (state === "waiting") joined = state;
  }
  return joined;
}
