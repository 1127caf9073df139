// admin: looking after data folders from outside of a node. Audit, rehearsal, hash chains, doctor, proofs of erasures,
// backups, index rebuild.
//
// All but the rebuild and a restore only read, and may run beside a node; those two need the folder to themselves.

// Is what is stored right?
export { type AuditOptions, type AuditReport, auditFolder } from "./audit.ts";
export { type AuditProblem, type AuditRule, auditRules } from "./audit-problems.ts";
// Copies elsewhere, and out of them
export {
  type ExportedFromBackup,
  type ExportFromBackupOptions,
  exportFromBackup,
} from "./backed-up-entity.ts";
export {
  type BackUpFolderOptions,
  backUpFolder,
  type CheckBackupOptions,
  checkBackup,
  type RestoreFolderOptions,
  restoreFolder,
} from "./backups.ts";
// Hash chains, kept elsewhere and verified later
export {
  type ChainHeadsExport,
  type ChainMismatch,
  type ChainVerification,
  type ExportChainHeadsOptions,
  exportChainHeads,
  type VerifyChainHeadsOptions,
  verifyChainHeads,
} from "./chain-heads.ts";
// Is the disk good enough, and can everything be read?
export { type DoctorOptions, type DoctorReport, doctorFolder, type ExaminedShard, type Finding } from "./doctor.ts";
export type { LogDamage, LogExamination, SegmentFacts } from "./examine-log.ts";
export type { MachineFacts } from "./machine-facts.ts";
// What a program that runs a node needs besides
export { type LogLevel, nodeLogger } from "./node-logger.ts";
export type { ProbedPartition } from "./partition-probe.ts";
// Making partitions anew
export { type RebuildOptions, type RebuildReport, rebuildIndex } from "./rebuild-index.ts";
export type { RebuiltShard } from "./rebuilt-index.ts";
// What would new code make of what is stored?
export { type RehearsalReport, type RehearseOptions, rehearseFolder } from "./rehearse.ts";
export type { AdminProgress } from "./shard-pool.ts";
export type { EntityDifference, FaultCount, NotCompared, RehearsalFault } from "./slice-rehearsal.ts";
// What is stored, type by type
export { type StoredSchema, type StoredSchemaOptions, storedSchema } from "./stored-schema.ts";
export type { SyncLatency } from "./sync-latency.ts";
