// For sibling packages and tests.
export * from "./index.ts";
export { Shard, type ShardOptions, type ShardLimits, defaultShardLimits } from "./shard.ts";
export { EntryDecoder, type StoredEvent } from "./stored-events.ts";
export { compare, comparison, freeze } from "./plain-data.ts";
export type { ReplySink } from "./waiting-replies.ts";
export { SessionWindow } from "./sessions.ts";
export { syncBucketsUs } from "./stats.ts";
