// StuckWarning: what the log says of a saga that waits for an operator, when it becomes stuck and when its shard opens with it.
import { sagaOfEntity, stepStates, type WireOutcome } from "@heddle/protocol/internal";

export const stuckWarning = "a saga is stuck and waits for an operator";

/** The step that it is stuck with, and what to do. `step` counts from 1. */
export function stuckFacts(
  saga: string,
  entities: readonly string[],
  outcomes: readonly WireOutcome[],
): Record<string, unknown> {
  const id = sagaOfEntity(saga);
  const at = outcomes.findIndex(([state]) => stepStates[state] === "stuck" || stepStates[state] === "unknown");
  const [state, , , problem] = outcomes[at] ?? [];
  return {
    saga: id,
    step: at + 1,
    entity: entities[at],
    state: state === undefined ? undefined : stepStates[state],
    code: problem?.[0],
    advice: `heddle sagas show ${id} tells what it did; then heddle sagas retry or resolve`,
  };
}
