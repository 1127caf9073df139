// For sibling packages, apps and tests.

export {
  type AuditProblem,
  type AuditReport,
  auditFolder,
  auditRules,
  type DoctorReport,
  doctorFolder,
  type ExaminedShard,
  exportFolder,
  type LogLevel,
  nodeLogger,
  type RebuildReport,
  rebuildIndex,
} from "./admin/index.ts";
export { lock, logFolderOf, openDataFolder, partitionFolderOf, readDataFolder } from "./data-folder.ts";
export * from "./index.ts";
export type { NodeControls } from "./start-node.ts";
