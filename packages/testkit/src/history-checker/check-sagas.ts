// Sagas: what is there of each step bears out what the saga says of itself.
import { describeOperation, type FoundMoments } from "./find-moments.ts";
import type { History, SagaOperation, SagaStepRun } from "./history.ts";
import type { ReportFault } from "./history-fault.ts";

export function checkSagas(history: History, found: FoundMoments, report: ReportFault): void {
  for (const operation of history.operations) {
    if (operation.kind !== "saga") continue;
    for (const [index, step] of operation.steps.entries()) checkStep(operation, step, index, found, report);
  }
}

function checkStep(
  saga: SagaOperation,
  step: SagaStepRun,
  index: number,
  found: FoundMoments,
  report: ReportFault,
): void {
  const { entity, forward, back, state } = step;
  const isDone = found.countThere(entity, forward) > 0;
  const isUndone = back !== null && found.countThere(entity, back) > 0;
  const says = (text: string) =>
    report("saga", `step ${index} (${entity}) of ${describeOperation(saga)} ${text}`, saga);
  if (isUndone && !isDone) says("was compensated, and had not happened");
  if (isUndone && isDone && seqOf(back, found) < seqOf(forward, found)) says("was compensated before it happened");
  // A step without events leaves no trace to go by, neither done nor undone.
  const hasForward = forward.length > 0;
  const hasBack = back !== null && back.length > 0;
  const { outcome } = saga;
  if (outcome === "committed") {
    if (hasForward && !isDone) says("did not happen, and the saga is committed");
    if (isUndone) says("was compensated, and the saga is committed");
  }
  if (outcome === "compensated" && isDone && !isUndone && (back === null || hasBack)) {
    says("happened and was not compensated, and the saga is compensated");
  }
  if (outcome === "failed" && (isDone || isUndone)) says("happened, and the saga was refused");
  if (outcome === "resolved") return;
  const wants = state === undefined ? undefined : traces[state];
  if (wants === undefined) return;
  if (hasForward && wants.done !== isDone)
    says(`${isDone ? "happened" : "did not happen"}, and is said to be ${state}`);
  else if (hasBack && wants.undone !== isUndone) {
    says(`was ${isUndone ? "" : "not "}compensated, and is said to be ${state}`);
  }
}

/** What a step's state says about its events. A step of unknown outcome may be there or not. */
const traces: Record<
  NonNullable<SagaStepRun["state"]>,
  { readonly done: boolean; readonly undone: boolean } | undefined
> = {
  waiting: { done: false, undone: false },
  refused: { done: false, undone: false },
  done: { done: true, undone: false },
  stuck: { done: true, undone: false },
  compensated: { done: true, undone: true },
  unknown: undefined,
};

function seqOf(events: SagaStepRun["forward"], found: FoundMoments): number {
  return found.places.get(events[0]!.marker)?.seq ?? 0;
}
