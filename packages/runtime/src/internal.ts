// For sibling packages, apps and tests.

export {
  type AuditProblem,
  type AuditReport,
  auditFolder,
  auditRules,
  backUpFolder,
  type ChainVerification,
  checkBackup,
  type DoctorReport,
  doctorFolder,
  type ExaminedShard,
  exportChainHeads,
  exportFromBackup,
  type LogLevel,
  nodeLogger,
  type RebuildReport,
  type RehearsalReport,
  rebuildIndex,
  rehearseFolder,
  restoreFolder,
  type StoredSchema,
  storedSchema,
  verifyChainHeads,
} from "./admin/index.ts";
export {
  lock,
  logFolderOf,
  openDataFolder,
  partitionFolderOf,
  projectionsFileOf,
  readDataFolder,
} from "./data-folder.ts";
export { type ErasureProof, erasureChecks, verifyErasure } from "./erasure-check/index.ts";
export { FrameTurns } from "./frame-turns.ts";
export * from "./index.ts";
export { loadDomain, systemAggregates } from "./load-domain.ts";
export { type Projector, type ProjectorOptions, startProjector } from "./projector.ts";
export type { NodeControls } from "./start-node.ts";
export { ThreadCalls } from "./thread-calls.ts";
export {
  ReplyBatch,
  replyBlockHeaderBytes,
  replyMessageHeaderBytes,
  requestBlockHeaderBytes,
  requestMessageHeaderBytes,
  visitReplies,
  visitRequests,
} from "./thread-messages.ts";
