// For sibling packages and tests.

export { backUpShard, type RunTasks, type ShardBackup } from "./back-up.ts";
export { consistentEnds } from "./consistent-cut.ts";
export * from "./index.ts";
export { keyNames, type Named } from "./key-names.ts";
export { firstLife, lifeAfter } from "./life.ts";
export type { BackUpTask } from "./plan-shard.ts";
export { type RestoredShard, type RestoreTask, restoreShard } from "./restore.ts";
export { type VerifiedShard, type VerifyTask, verifyShard } from "./verify.ts";
