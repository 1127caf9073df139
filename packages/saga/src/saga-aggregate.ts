// The aggregate of a saga's own entity, `$saga/<id>`: what is on record of it. Only a saga runner writes its events.
//
// Step outcomes are recorded together with the next milestone, because they need no record of their own: asked again with the
// same id, an entity gives the same answer. After the end the state holds what a repeated call is answered with, and no
// bodies of steps: the history has them.
import { defineAggregate, event } from "@heddle/domain";
import { systemKinds } from "@heddle/kernel";
import type { SagaIntervention, SagaState } from "@heddle/protocol";
import type { WireOutcome, WireProblem } from "@heddle/protocol/internal";

export interface SagaFacts {
  /** NONE before it began. */
  readonly state: SagaState | "NONE";
  /** Tells whether a repeated call brings the same steps: a CRC-32 of what the caller sent. */
  readonly fingerprint: number;
  /** Of a saga that the domain module defines; empty otherwise. */
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly deadline: number;
  readonly endedAt: number;
  /** How long a step may take that says nothing itself, in ms. */
  readonly stepTimeoutMs: number;
  /** By step. */
  readonly entities: readonly string[];
  /** As `encodeSagaSteps` writes them; empty once it has ended. */
  readonly steps: Uint8Array;
  /** Compensations have begun, or may have. */
  readonly goesBack: boolean;
  readonly why: WireProblem | null;
  /** By step; empty as long as there is none. */
  readonly outcomes: readonly WireOutcome[];
  readonly interventions: readonly SagaIntervention[];
}

export interface Started {
  readonly at: number;
  readonly deadline: number;
  readonly stepTimeoutMs: number;
  readonly name: string;
  readonly fingerprint: number;
  readonly entities: readonly string[];
  readonly steps: Uint8Array;
}

export interface StepsSettled {
  readonly outcomes: readonly WireOutcome[];
}

export interface CompensationBegan extends StepsSettled {
  readonly why: WireProblem | null;
}

export interface Ended extends CompensationBegan {
  readonly at: number;
}

export interface Retried {
  readonly at: number;
  readonly reason: string;
  readonly by: string;
}

export interface Resolved extends Retried {
  readonly as: "COMMITTED" | "COMPENSATED";
}

/** Interventions that are kept in the state, the last ones; the history has all. */
const interventionsKept = 20;
const nothing = new Uint8Array();
const noOutcomes: readonly WireOutcome[] = [];
const noInterventions: readonly SagaIntervention[] = [];

/** Shared by all: states are frozen. */
const notBegun: SagaFacts = {
  state: "NONE",
  fingerprint: 0,
  name: "",
  startedAt: 0,
  deadline: 0,
  endedAt: 0,
  stepTimeoutMs: 0,
  entities: [],
  steps: nothing,
  goesBack: false,
  why: null,
  outcomes: noOutcomes,
  interventions: noInterventions,
};

export const sagaAggregate = defineAggregate(systemKinds.saga, {
  version: 1,
  initial: () => notBegun,
  events: {
    // The first event of a history: nothing is taken over.
    Started: event(own<Started>(), (_, e) => ({
      state: "RUNNING" as const,
      fingerprint: e.fingerprint,
      name: e.name,
      startedAt: e.at,
      deadline: e.deadline,
      endedAt: 0,
      stepTimeoutMs: e.stepTimeoutMs,
      entities: e.entities,
      steps: e.steps,
      goesBack: false,
      why: null,
      outcomes: noOutcomes,
      interventions: noInterventions,
    })),
    StepsSettled: event(own<StepsSettled>(), (s, e) => ({ ...s, outcomes: e.outcomes })),
    CompensationBegan: event(own<CompensationBegan>(), (s, e) => ({
      ...s,
      state: "COMPENSATING" as const,
      goesBack: true,
      why: e.why,
      outcomes: e.outcomes,
    })),
    Committed: event(own<Ended>(), (s, e) => ended(s, e, "COMMITTED")),
    Compensated: event(own<Ended>(), (s, e) => ended(s, e, "COMPENSATED")),
    Stuck: event(own<Ended>(), (s, e) => ({
      ...s,
      state: "STUCK" as const,
      why: e.why,
      outcomes: e.outcomes,
      endedAt: e.at,
    })),
    Retried: event(own<Retried>(), (s, { at, reason, by }) => ({
      ...s,
      state: s.goesBack ? ("COMPENSATING" as const) : ("RUNNING" as const),
      endedAt: 0,
      interventions: [...s.interventions, { action: "retry" as const, reason, by, time: at }].slice(-interventionsKept),
    })),
    Resolved: event(own<Resolved>(), (s, { at, as, reason, by }) => ({
      ...s,
      state: as,
      endedAt: at,
      steps: nothing,
      interventions: [...s.interventions, { action: "resolve" as const, as, reason, by, time: at }].slice(
        -interventionsKept,
      ),
    })),
  },
});

function ended(s: SagaFacts, e: Ended, state: "COMMITTED" | "COMPENSATED"): SagaFacts {
  return {
    state,
    fingerprint: s.fingerprint,
    name: s.name,
    startedAt: s.startedAt,
    deadline: s.deadline,
    endedAt: e.at,
    stepTimeoutMs: s.stepTimeoutMs,
    entities: s.entities,
    steps: nothing,
    goesBack: s.goesBack,
    why: e.why,
    outcomes: e.outcomes,
    interventions: s.interventions,
  };
}

// What arrives is what a runner of this version wrote: there is nothing to check.
function own<T>(): OwnSchema<T> {
  return { "~standard": { version: 1, vendor: "heddle", validate: (value) => ({ value: value as T }) } };
}

/** A Standard Schema. */
interface OwnSchema<T> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => { readonly value: T };
    readonly types?: { readonly input: T; readonly output: T };
  };
}
