// For sibling packages, apps and tests.

export { lock, logFolderOf, openDataFolder, partitionFolderOf, readDataFolder } from "./data-folder.ts";
export * from "./index.ts";
export type { NodeControls } from "./start-node.ts";
