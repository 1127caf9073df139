// For sibling packages, apps and tests.
export * from "./index.ts";
export { lock, logFolderOf, openDataFolder, partitionFolderOf, readDataFolder } from "./data-folder.ts";
export type { NodeControls } from "./start-node.ts";
