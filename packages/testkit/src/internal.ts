// For sibling packages and tests.
export * from "./index.ts";
export { Chance } from "./simulation/chance.ts";
export { noFaults } from "./simulation/faults.ts";
export type { Seams } from "./simulation/simulated-node.ts";
export type { Packed } from "./simulation/simulated-port.ts";
export { type InnerOptions, type Planting, runSimulation } from "./simulation/simulation-run.ts";
export type { Trace } from "./simulation/trace.ts";
