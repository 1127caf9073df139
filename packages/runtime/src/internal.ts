// For sibling packages, apps and tests.

export { lock, logFolderOf, openDataFolder, partitionFolderOf, readDataFolder } from "./data-folder.ts";
export * from "./index.ts";
export {
  type AuditProblem,
  type AuditReport,
  auditFolder,
  type DoctorReport,
  doctorFolder,
  type ExaminedShard,
  exportFolder,
  type LogLevel,
  nodeLogger,
  type RebuildReport,
  rebuildIndex,
} from "./admin/index.ts";
export type { NodeControls } from "./start-node.ts";
