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
  ListedEntity,
  Receipt,
  Rejection,
  RejectionFacts,
  StoredType,
  SystemEvent,
} from "@heddle/protocol";
export { asSystemEvent } from "@heddle/protocol";
export type { AppendManyItem, HistoryEvent, WriteOptions } from "./call-types.ts";
// One entity
export { type DeleteOptions, Entity, type ForkOptions, type RestoreOptions } from "./entity.ts";
export type { ExportOptions } from "./entity-export.ts";
// Talking to a node
export { type EntitiesOptions, Heddle, type ImportCallOptions, type NodeInfo } from "./heddle.ts";
export type { EventsOptions, HistoryOptions, HistoryRange } from "./history-pages.ts";
export type { HeddleOptions } from "./options.ts";
export { type AppendManyResult, committed, type FailedItem, RejectedError } from "./results.ts";
export type { CallOptions } from "./session.ts";
export type { MomentInput, Time } from "./times.ts";
export type { Snapshot } from "./wire-values.ts";
