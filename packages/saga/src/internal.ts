// For sibling packages and tests.
export * from "./index.ts";
export { defaultSagaLimits, type SagaLimits } from "./patience.ts";
export { type SagaFacts, sagaAggregate } from "./saga-aggregate.ts";
export { SagaCopies } from "./saga-copies.ts";
export { alarmOfSaga, SagaRunner } from "./saga-runner.ts";
export type { SagaRunnerOptions } from "./saga-runner-options.ts";
