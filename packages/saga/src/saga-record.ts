// SagaRecord: a saga as an operator sees it, made of what is on record and of the bodies of its steps.
import type { SagaRecord, SagaState, SagaStepContent } from "@heddle/protocol";
import {
  newAppendView,
  newExecuteView,
  outcomeOfWire,
  readAppendBody,
  readExecuteBody,
  readSagaSteps,
  requestKind,
  type TextCache,
  type WireOutcome,
} from "@heddle/protocol/internal";
import type { SagaFacts } from "./saga-aggregate.ts";
import { decoded } from "./step-plans.ts";

/** What a live saga knows beyond its record. */
export interface LiveFacts {
  readonly state: SagaState;
  readonly outcomes: readonly WireOutcome[];
}

/** `steps` are those of the record, or of its history where it has ended. */
export function sagaRecord(
  saga: string,
  facts: SagaFacts,
  steps: Uint8Array,
  live: LiveFacts | undefined,
  texts: TextCache,
): SagaRecord {
  const outcomes = live?.outcomes ?? facts.outcomes;
  const state = live?.state ?? facts.state;
  return {
    saga,
    state: state === "NONE" ? "RUNNING" : state,
    ...(facts.name === "" ? {} : { name: facts.name }),
    startedAt: facts.startedAt,
    deadline: facts.deadline,
    ...(facts.endedAt === 0 ? {} : { endedAt: facts.endedAt }),
    steps: readSagaSteps(steps, 0, steps.length).map((range, i) => ({
      entity: facts.entities[i]!,
      ...(outcomes[i] === undefined ? { state: "waiting" as const } : outcomeOfWire(outcomes[i])),
      stage: range.stage,
      forward: contentOf(range.forwardKind, steps, range.forwardFrom, range.forwardTo, texts),
      back: range.backKind === 0 ? null : contentOf(range.backKind, steps, range.backFrom, range.backTo, texts),
    })),
    interventions: facts.interventions,
  };
}

function contentOf(kind: number, bytes: Uint8Array, from: number, to: number, texts: TextCache): SagaStepContent {
  if (kind === requestKind.execute) {
    const view = newExecuteView();
    readExecuteBody(bytes, from, to, texts, view);
    return {
      aggregate: view.aggregate,
      command: view.command,
      input: decoded(bytes, view.inputFrom, to),
    };
  }
  const view = newAppendView();
  readAppendBody(bytes, from, to, texts, view);
  const payloads = decoded(bytes, view.payloadsFrom, to);
  const events = (Array.isArray(payloads) ? payloads : [payloads]).map((payload, i) => ({
    type: view.types[view.typeIndexes === 0 ? 0 : bytes[view.typeIndexes + i]!]!,
    payload,
  }));
  return { aggregate: view.aggregate, events };
}
