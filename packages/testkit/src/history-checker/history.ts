// History: what clients asked for, when, and what they were told; and what the store holds in the end.
//
// Every event carries a marker that no other event has, so that it can be found again wherever it turns up. Times are any
// numbers that rise; of two operations one was over before the other began exactly if its `end` is smaller than the other's
// `start`. A clock that counts up at each sending and each answer (`HistoryRecorder`) is the sharpest there is.
// What an operation without an answer did is nobody's guess: its outcome is `unknown`, its end is Infinity.

export interface HistoryEvent {
  /** Unique in the history: a reference in the event's payload, say. */
  readonly marker: string;
  /** What the model folds: an amount, a payload. Must be the same wherever the event turns up. */
  readonly value?: unknown;
}

/**
 * `ok`: took effect. `rejected`: a rule said no; nothing was written, and what was read on the way was true at that moment.
 * `failed`: certainly without effect, and what was read counts for nothing. `unknown`: may have taken effect at any time since
 * its start, or never.
 */
export type HistoryOutcome = "ok" | "rejected" | "failed" | "unknown";

/** An entity as an operation saw it, before it wrote anything itself. */
export interface HistoryRead {
  readonly entity: string;
  /** Events that the entity had: its last sequence, 0 for none. */
  readonly seq: number;
  /** State that was seen. Held against the model, if there is one. */
  readonly state?: unknown;
  /** Markers that were seen, in rising order, the last of them at `seq`: a whole history, or its end. */
  readonly markers?: readonly string[];
  /** An earlier state that was asked for by name (`getAt`, a page of history): what it held is checked, not when. */
  readonly past?: boolean;
}

/** Events that an operation gave to one entity: one append, one command, one operation of a transaction. */
export interface HistoryWrite {
  readonly entity: string;
  /**
   * In their order. Of a command that was refused or has no answer: those that it would have decided on, as far as they are
   * known. A command that decided on no events is a read.
   */
  readonly events: readonly HistoryEvent[];
  /** Sequence of the first event, as the receipt has it. Of outcome `ok` only. */
  readonly firstSeq?: number;
  /** A condition that the caller gave: the entity's last sequence before. */
  readonly expectedSeq?: number;
}

/**
 * One call that happens at one moment, whole or not at all: an append, a command, a get, a transaction, a `getMany`.
 *
 * A call that is sent again with the same id is one operation: it starts with the first sending, and ends with the first
 * answer that is not `unknown`. The reads of a transaction are those that its commit held: a function that ran again has left
 * its earlier reads behind, they are operations of their own (`get`).
 */
export interface AtomicOperation {
  readonly kind: "append" | "execute" | "get" | "transaction";
  readonly client: string;
  readonly start: number;
  /** Infinity without an answer. */
  readonly end: number;
  readonly outcome: HistoryOutcome;
  readonly reads: readonly HistoryRead[];
  readonly writes: readonly HistoryWrite[];
}

export interface SagaStepRun {
  readonly entity: string;
  readonly forward: readonly HistoryEvent[];
  /** Null where nothing undoes it. */
  readonly back: readonly HistoryEvent[] | null;
  /** Steps of one stage run side by side; a stage begins when the one before is done. Left out: the step's place. */
  readonly stage?: number;
  /** As the result or the record has it; `waiting` (never asked) and `refused` left no trace. */
  readonly state?: "waiting" | "done" | "refused" | "unknown" | "compensated" | "stuck";
}

/**
 * A saga: atomic in the end, isolated never. Each of its steps is an atomic write of its own.
 *
 * `resolved`: an operator declared an end; nothing follows for the events but that none is there twice or undone without
 * having been done. `stuck`, `unknown`: the same, and what the steps' own states say.
 */
export interface SagaOperation {
  readonly kind: "saga";
  readonly client: string;
  readonly saga: string;
  readonly start: number;
  /** Infinity without an answer. A `stuck` saga that somebody retries goes on: it ends with its last answer. */
  readonly end: number;
  readonly outcome: "committed" | "compensated" | "stuck" | "resolved" | "failed" | "unknown";
  readonly steps: readonly SagaStepRun[];
}

export type HistoryOperation = AtomicOperation | SagaOperation;

/** All events of an entity when everything was over, by sequence from 1. */
export interface StoredHistory {
  readonly entity: string;
  readonly events: readonly HistoryEvent[];
}

export interface History {
  readonly operations: readonly HistoryOperation[];
  /** Every entity that was written to or read. One that is not named has no events. */
  readonly stored: readonly StoredHistory[];
}

/** What reads of states are held against. Without one only sequences and markers are checked. */
export interface HistoryModel<State = unknown> {
  initial(entity: string): State;
  apply(state: State, event: HistoryEvent): State;
  /** Whether what a reader saw is this state. Default: the same JSON. */
  isSame?(state: State, seen: unknown): boolean;
}
