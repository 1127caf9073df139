// For sibling packages and tests.
export { encodeState } from "./encode-state.ts";
export * from "./index.ts";
export { compare, comparison, freeze } from "./plain-data.ts";
export { SessionWindow } from "./sessions.ts";
export { Shard } from "./shard.ts";
export { defaultShardLimits, type ShardLimits, type ShardOptions } from "./shard-options.ts";
export { syncBucketsUs } from "./stats.ts";
export { EntryDecoder, type StoredEvent } from "./stored-events.ts";
export type { ReplySink } from "./waiting-replies.ts";
