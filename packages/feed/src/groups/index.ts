// Consumer groups: members share the events of a feed, each entity's with one of them at a time.
export { GroupCoordinator, type GroupCoordinatorOptions, type GroupFigures } from "./group-coordinator.ts";
export { type GroupStore, ReaderGroupStore } from "./group-store.ts";
