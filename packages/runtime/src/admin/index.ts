// admin: looking after data folders from outside of a node. Audit, doctor, export, index rebuild.
//
// All but the rebuild only read, and may run beside a node; a rebuild needs the folder to itself.

// Is what is stored right?
export { type AuditOptions, type AuditReport, auditFolder } from "./audit.ts";
export { type AuditProblem, type AuditRule, auditRules } from "./audit-problems.ts";
// Is the disk good enough, and can everything be read?
export { type DoctorOptions, type DoctorReport, doctorFolder, type ExaminedShard, type Finding } from "./doctor.ts";
export type { LogDamage, LogExamination, SegmentFacts } from "./examine-log.ts";
// Everything as it was written
export { type ExportedEvent, type ExportFolderOptions, exportFolder } from "./export-folder.ts";
export type { MachineFacts } from "./machine-facts.ts";
// What a program that runs a node needs besides
export { type LogLevel, nodeLogger } from "./node-logger.ts";
export type { ProbedPartition } from "./partition-probe.ts";
// Making partitions anew
export { type RebuildOptions, type RebuildReport, rebuildIndex } from "./rebuild-index.ts";
export type { RebuiltShard } from "./rebuild-shard.ts";
export type { AdminProgress } from "./shard-pool.ts";
export type { SyncLatency } from "./sync-latency.ts";
