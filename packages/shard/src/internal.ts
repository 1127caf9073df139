// For sibling packages and tests.
export { encodeState } from "./checkpoint.ts";
export * from "./index.ts";
export { compare, comparison, freeze } from "./plain-data.ts";
export { SessionWindow } from "./sessions.ts";
export { defaultShardLimits, Shard, type ShardLimits, type ShardOptions } from "./shard.ts";
export { syncBucketsUs } from "./stats.ts";
export { EntryDecoder, type StoredEvent } from "./stored-events.ts";
export type { ReplySink } from "./waiting-replies.ts";
