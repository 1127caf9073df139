// HistoryRecorder: writes a history down while it happens, with a clock that ticks at each sending and each answer.
//
// All clients of one history must share one recorder, and so one process; the order of its ticks is then the real one.
// It keeps everything: a hundred thousand operations are some hundred megabytes.
import type {
  AtomicOperation,
  History,
  HistoryOperation,
  HistoryOutcome,
  HistoryRead,
  HistoryWrite,
  SagaOperation,
  SagaStepRun,
  StoredHistory,
} from "./history.ts";

/** What an answer told, beyond its outcome. */
export interface AtomicAnswer {
  readonly reads?: readonly HistoryRead[];
  /** The writes again, now with the sequences of their receipts; a command's with the events that it decided on. */
  readonly writes?: readonly HistoryWrite[];
}

/** An operation that was sent. Each may be answered once; one that never is stays `unknown`. */
export interface SentOperation {
  answer(outcome: HistoryOutcome, told?: AtomicAnswer): void;
}

export interface SentSaga {
  answer(outcome: SagaOperation["outcome"], states?: readonly SagaStepRun["state"][]): void;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class HistoryRecorder {
  readonly operations: HistoryOperation[] = [];
  #clock = 0;

  /** Before it is sent, with everything that it may write: what is found beyond that was invented. */
  send(client: string, kind: AtomicOperation["kind"], writes: readonly HistoryWrite[] = []): SentOperation {
    const operation: Mutable<AtomicOperation> = {
      kind,
      client,
      start: this.tick(),
      end: Infinity,
      outcome: "unknown",
      reads: [],
      writes,
    };
    this.operations.push(operation);
    return {
      answer: (outcome, told) => {
        operation.end = outcome === "unknown" ? Infinity : this.tick();
        operation.outcome = outcome;
        operation.reads = told?.reads ?? [];
        operation.writes = told?.writes ?? writes;
      },
    };
  }

  /** Before it is sent. */
  sendSaga(client: string, saga: string, steps: readonly SagaStepRun[]): SentSaga {
    const operation: Mutable<SagaOperation> = {
      kind: "saga",
      client,
      saga,
      start: this.tick(),
      end: Infinity,
      outcome: "unknown",
      steps,
    };
    this.operations.push(operation);
    return {
      answer: (outcome, states) => {
        operation.end = outcome === "unknown" ? Infinity : this.tick();
        operation.outcome = outcome;
        if (states !== undefined) operation.steps = steps.map((step, i) => withState(step, states[i]));
      },
    };
  }

  /** For operations that are recorded in another way. */
  tick(): number {
    return ++this.#clock;
  }

  /** With what the store holds in the end. */
  finish(stored: readonly StoredHistory[]): History {
    return { operations: this.operations, stored };
  }
}

function withState(step: SagaStepRun, state: SagaStepRun["state"]): SagaStepRun {
  return state === undefined ? step : { ...step, state };
}
