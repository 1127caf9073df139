// For sibling packages and tests: running what a user wrote.

// Running, on the hot path
export {
  type CompiledAggregate,
  type CompiledCommand,
  type CompiledContext,
  type CompiledEvent,
  compileAggregate,
  compileContext,
  type DecidedEvent,
  type Decision,
} from "./compile.ts";
export type {
  ColumnValue,
  CompiledColumn,
  CompiledProjection,
  KeyedRow,
  Row,
  RowFunction,
  RowKey,
} from "./compile-projection.ts";
export { aggregatesOf } from "./compile-projection.ts";
export type { CompiledSaga } from "./compile-saga.ts";
// Types of one aggregate by itself
export type { TypesOf } from "./context-types.ts";
export type { EventInputs, EventOutputs, InputOf } from "./define-aggregate.ts";
// What user code threw, as a sentence
export { describeThrown } from "./describe-thrown.ts";
export * from "./index.ts";
// Loading
export { loadContext } from "./load-context.ts";
export type { Validated } from "./schema.ts";
export type { StoredType } from "./stored-types.ts";
export { schemaVersionMax } from "./upcasters.ts";
