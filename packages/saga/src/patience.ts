// Patience: every time that a saga waits, and every bound on how much of it there is.

export interface SagaLimits {
  /** Sagas under way at once, for each shard; beyond it new ones are refused as OVERLOADED. */
  readonly activeSagasMax: number;
  /** The same for the bytes of their steps. */
  readonly activeBytesMax: number;
  /** Sagas that are read again at once after the shard has opened. */
  readonly resumedAtOnceMax: number;
  /** How long a saga may take to commit, in ms, where its caller says nothing; then it goes back. */
  readonly timeoutMs: number;
  /** How long a step may take, in ms, where nobody says anything; then the saga goes back. */
  readonly stepTimeoutMs: number;
  /** After the saga's time is up, how long outcomes are asked for that nobody knows; then it is stuck. */
  readonly outcomeGraceMs: number;
  /** How long compensations are tried that meet errors which may pass; then the saga is stuck. */
  readonly compensationPatienceMs: number;
  /** The pause before a step is asked again, in ms. It doubles with each, and varies by half. */
  readonly retryDelayMs: number;
  readonly retryDelayMaxMs: number;
  /** A step that is asked again so often has the outcomes of the others recorded, rather than at the next milestone. */
  readonly settledAfterTries: number;
}

export const defaultSagaLimits: SagaLimits = {
  activeSagasMax: 16_384,
  activeBytesMax: 64 << 20,
  resumedAtOnceMax: 256,
  timeoutMs: 30_000,
  stepTimeoutMs: 10_000,
  outcomeGraceMs: 15_000,
  compensationPatienceMs: 60_000,
  retryDelayMs: 10,
  retryDelayMaxMs: 2_000,
  settledAfterTries: 3,
};

/** Timers of a shard's sagas go off together, this many ms apart. */
export const tickMs = 5;
