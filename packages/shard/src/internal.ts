// For sibling packages and tests.
export { type AlarmSource, alarmNever } from "./alarm-source.ts";
export type { AlarmListQuery, ShardAlarms } from "./alarms.ts";
export { initialStates } from "./decide.ts";
export { snapshotsOf } from "./encode-state.ts";
export type { Frame } from "./frame.ts";
export * from "./index.ts";
export { appendOwn, decideOwn, OwnEvent, type OwnShard, type PayloadPacker, whenDurable } from "./own-shard.ts";
export { compare, comparison, freeze } from "./plain-data.ts";
export { aggregateOfAppend, aggregateOfCommand } from "./proposals.ts";
export { SessionWindow } from "./sessions.ts";
export { Shard } from "./shard.ts";
export { innerConnectionMin, isInner, type ShardCalls, type WriteBody } from "./shard-calls.ts";
export {
  type CopiesState,
  type CopyHolder,
  defaultShardLimits,
  type ReaderCopies,
  type ShardLimits,
  type ShardOptions,
  type TombstonePlace,
} from "./shard-options.ts";
export { syncBucketsUs } from "./stats.ts";
export { EntryDecoder, type StoredEvent, upcast } from "./stored-events.ts";
export { isJournal, type JournalFacts, journalEntity, readJournal } from "./transactions/journal.ts";
export { OpenTransactions } from "./transactions/open-transactions.ts";
export type { ReplySink } from "./waiting-replies.ts";
