// What is said about sagas: results for whoever began one, records and lists for operators.
import type { Receipt } from "./receipt.ts";

/**
 * `RUNNING`: forward steps are under way. `COMPENSATING`: what happened is being undone. The other three are ends, but that an
 * operator may retry or resolve a `STUCK` one: a compensation cannot complete, or a step's outcome cannot be learned.
 */
export type SagaState = "RUNNING" | "COMPENSATING" | SagaResult["resultType"];

/**
 * `waiting`: not asked yet, or not answered yet. `done`: its events are durable. `refused`: a rule or an error said no, and
 * nothing was written. `unknown`: asked, and nobody can say whether it took effect. `compensated`: done, and undone. `stuck`:
 * done, and its compensation cannot complete.
 */
export type SagaStepState = "waiting" | "done" | "refused" | "unknown" | "compensated" | "stuck";

export interface SagaStepOutcome {
  readonly entity: string;
  readonly state: SagaStepState;
  /** Of the step, once it is done. */
  readonly receipt?: Receipt;
  /** Of its compensation. */
  readonly compensation?: Receipt;
  /** What said no, or what the last attempt met: a rejection's or an error's code, message and facts. */
  readonly problem?: SagaProblem;
}

export interface SagaProblem {
  readonly code: string;
  readonly message: string;
  readonly facts: unknown;
}

/** What an operator did about a stuck saga. */
export interface SagaIntervention {
  readonly action: "retry" | "resolve";
  /** The end that a resolution declares. */
  readonly as?: "COMMITTED" | "COMPENSATED";
  readonly reason: string;
  /** Who, as the caller said; empty if nobody was named. */
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** What a saga came to. The same for everybody who asks with the same id and the same steps, whenever. */
export interface SagaResult {
  readonly resultType: "COMMITTED" | "COMPENSATED" | "STUCK";
  readonly saga: string;
  /** In the order in which they were given. */
  readonly steps: readonly SagaStepOutcome[];
  /** True when the saga had been begun by an earlier call. */
  readonly duplicate: boolean;
}

/** A saga as an operator sees it. */
export interface SagaRecord {
  readonly saga: string;
  readonly state: SagaState;
  /** Of a saga that was run by the name it has in the domain module. */
  readonly name?: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** When it turned back, or will, if it is not committed by then. In milliseconds since 1970. */
  readonly deadline: number;
  readonly endedAt?: number;
  readonly steps: readonly (SagaStepOutcome & {
    /** What the step does, and what undoes it: an event's or a command's name and payload; null where nothing does. */
    readonly forward: SagaStepContent;
    readonly back: SagaStepContent | null;
    /** Steps with the same number run side by side. */
    readonly stage: number;
  })[];
  readonly interventions: readonly SagaIntervention[];
}

export interface SagaStepContent {
  readonly aggregate: string;
  readonly command?: string;
  readonly input?: unknown;
  readonly events?: readonly { readonly type: string; readonly payload: unknown }[];
}

/** A line of a list. */
export interface ListedSaga {
  readonly saga: string;
  readonly state: SagaState;
  readonly name?: string;
  readonly startedAt: number;
  readonly endedAt?: number;
}

export interface SagaQuery {
  /** Default `all`; `unfinished` are running, compensating and stuck ones. */
  readonly only?: "all" | "unfinished" | "stuck" | undefined;
  /** 1 to 10,000. Default 100. */
  readonly limit?: number | undefined;
  /** From the page before. */
  readonly cursor?: string | undefined;
}

/** Behind the last page there is no cursor. */
export type SagaPage = readonly ListedSaga[] & { readonly cursor: string | undefined };
