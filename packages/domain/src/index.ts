// domain: what a user writes. Aggregates, events, upcasters, invariants and commands, as pure functions over plain data.
//
// Owns the syntax of a domain module and the types that flow from it to the client.
// P3 starts here: an aggregate carries its rules. P7 too: every payload and input has a schema.
// Not promised: that a fold or an upcaster is pure; @heddle/testkit's given/when/then looks for those that are not.

// What a context tells a client at compile time
export type {
  AggregateName,
  CommandInput,
  CommandName,
  EventInputOf,
  EventOf,
  EventType,
  Payload,
  PayloadInput,
  SagaActIn,
  SagaInput,
  SagaName,
  State,
} from "./context-types.ts";
// What those make and take
export type {
  Aggregate,
  AggregateDefinition,
  AnyAggregate,
  CommandContext,
  CommandDefinition,
  Decided,
  EventDefinition,
  Immutable,
  Rejection,
  Schemas,
} from "./define-aggregate.ts";
// Writing a domain module
export { command, defineAggregate, event, reject } from "./define-aggregate.ts";
export { type AnyContext, type Context, defineContext } from "./define-context.ts";
// Projections
export {
  type AnyProjection,
  type ColumnBase,
  type Columns,
  type ColumnType,
  defineProjection,
  type EventOfProjection,
  type Json,
  type Projection,
  type ProjectionDefinition,
  type ProjectionEvent,
  type RowOf,
  type RowOfProjection,
} from "./define-projection.ts";
// Sagas by name
export {
  type AnySaga,
  defineSaga,
  type Saga,
  type SagaAct,
  type SagaPlan,
  type SagaStep,
  type SagaStepOptions,
  step,
} from "./define-saga.ts";
export type { EventOptions } from "./event-options.ts";
