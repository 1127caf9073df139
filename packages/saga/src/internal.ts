// For sibling packages and tests.
export * from "./index.ts";
export { defaultSagaLimits, type SagaLimits } from "./patience.ts";
export { type SagaFacts, sagaAggregate } from "./saga-aggregate.ts";
export { SagaCopies } from "./saga-copies.ts";
export type { SagaRunnerOptions } from "./saga-host.ts";
export { alarmOfSaga, SagaRunner } from "./saga-runner.ts";
