// For sibling packages and tests.
export { initialStates } from "./decide.ts";
export { encodeState } from "./encode-state.ts";
export type { Frame } from "./frame.ts";
export * from "./index.ts";
export { compare, comparison, freeze } from "./plain-data.ts";
export { SessionWindow } from "./sessions.ts";
export { Shard } from "./shard.ts";
export { innerConnectionMin, isInner, type ShardCalls, type WriteBody } from "./shard-calls.ts";
export { defaultShardLimits, type ShardLimits, type ShardOptions } from "./shard-options.ts";
export { syncBucketsUs } from "./stats.ts";
export { EntryDecoder, type StoredEvent } from "./stored-events.ts";
export type { ReplySink } from "./waiting-replies.ts";
