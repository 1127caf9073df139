// client: the SDK.
//
// Owns connections to a node, the coalescing of calls, time-outs, retries and back-pressure, and the types that flow from
// a domain module to its callers.
// P4: a call that is retried, over however many connections, takes effect once. P7: bad input is refused with a typed
// error before it leaves. P8: memory for unanswered calls is bounded; a full socket and a busy node slow the caller.
// Not promised: that a call which timed out or was aborted had no effect; the order of calls to different entities.
// Needs no native code; everything but the TCP transport runs in a browser.

// What can go wrong
export { type ErrorCode, type ErrorFacts, HeddleError, isHeddleError } from "@heddle/kernel";
// What calls resolve to
export type {
  AppendResult,
  EntityPage,
  ErasureReceipt,
  ImportProgress,
  ImportResult,
  LastReminder,
  ListedEntity,
  ListedGroup,
  ListedMember,
  ListedProjection,
  ListedReminder,
  ListedSaga,
  LogPlace,
  MissedPolicy,
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
  Receipt,
  Rejection,
  RejectionFacts,
  ReminderOutcome,
  ReminderPage,
  ReminderQuery,
  ReminderReceipt,
  ReminderRecord,
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
  StoredType,
  SystemEvent,
  TransactionRejection,
} from "@heddle/protocol";
export { asSystemEvent } from "@heddle/protocol";
export type { AppendManyItem, HistoryEvent, WriteOptions } from "./call-types.ts";
// One entity
export { type DeleteOptions, Entity, type ForkOptions, type RestoreOptions } from "./entity.ts";
export type { ExportOptions } from "./entity-export.ts";
export type { EntitySubscribeOptions } from "./entity-subscription.ts";
export type { FeedEventOf, SubscribeOptions } from "./feed-subscription.ts";
// Several entities together
export type { GetManyItem, GetManyStates } from "./get-many.ts";
export type { GroupEventOf, GroupOptions } from "./group-subscription.ts";
// Talking to a node
export { type EntitiesOptions, Heddle, type ImportCallOptions, type NodeInfo } from "./heddle.ts";
export type { EventsOptions, HistoryOptions, HistoryRange } from "./history-pages.ts";
export type { HeddleOptions } from "./options.ts";
// Query models
export type { ProjectionOptions, QueryOptions, RebuildOptions, SkipOptions } from "./queries.ts";
// Reminders
export type { ReminderBrings, ReminderInput, RemindersOptions, ReminderWhen, RemindOptions } from "./reminders.ts";
export { type AppendManyResult, committed, type FailedItem, RejectedError } from "./results.ts";
// Several entities one after the other
export {
  SagaBuilder,
  type SagaInterventionOptions,
  type SagaOptions,
  SagaSide,
  type SagaStepCallOptions,
} from "./saga.ts";
export type { CallOptions } from "./session.ts";
export type { Subscription } from "./subscription.ts";
export type { MomentInput, Time } from "./times.ts";
export type {
  CommittedTransaction,
  RejectedTransaction,
  Transaction,
  TransactionOptions,
  TransactionResult,
  TransactionWriteOptions,
} from "./transaction.ts";
export type { Snapshot } from "./wire-values.ts";
