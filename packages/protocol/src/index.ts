// protocol: what travels between a client and a node. Pure; runs in a browser.
//
// Owns the frames, the layouts of requests and replies, and the values that calls resolve to; the format of exports; and
// what is made of several requests, for the SDK and a node's own doors alike: forks, imports, lists over all shards.
// Decoders check every bound: whatever the bytes are, the outcome is a value or a typed error (P7). Knows no sockets and
// no time.

// What listings, exports, imports and erasures give
export type { ErasureReceipt } from "./erasure-receipt.ts";
export type { ExportedEvent, ExportHeader } from "./export-format.ts";
// Versions
export { protocolVersion } from "./frames.ts";
// What is said about consumer groups
export type { ListedGroup, ListedMember } from "./groups.ts";
export type { ImportOptions, ImportProgress, ImportResult } from "./import-entities.ts";
export type { EntityPage, ListedEntity, ListQuery } from "./list-pages.ts";
// A point in an entity's history
export type { Moment } from "./moment.ts";
// What is said about queries and projections
export type {
  ListedProjection,
  LogPlace,
  ProjectionFailure,
  ProjectionRebuild,
  ProjectionRebuilt,
  ProjectionState,
  QueryConsistency,
  QueryParameter,
  QueryParameters,
  QueryResult,
  QueryRow,
  QueryValue,
} from "./projections.ts";
export type { Receipt } from "./receipt.ts";
// What appends and commands resolve to
export { RejectedError } from "./rejected-error.ts";
// What is said about reminders
export type {
  LastReminder,
  ListedReminder,
  MissedPolicy,
  ReminderOutcome,
  ReminderPage,
  ReminderQuery,
  ReminderReceipt,
  ReminderRecord,
} from "./reminders.ts";
export type { AppendResult, Rejection, RejectionFacts, TransactionRejection } from "./replies.ts";
export type {
  ListedSaga,
  SagaIntervention,
  SagaPage,
  SagaProblem,
  SagaQuery,
  SagaRecord,
  SagaResult,
  SagaState,
  SagaStepContent,
  SagaStepOutcome,
  SagaStepState,
} from "./sagas.ts";
export type { StoredType } from "./stored-types.ts";
// What Heddle writes into histories by itself
export { asSystemEvent, type SystemEvent } from "./system-events.ts";
