// testkit: what tests of a domain are written with.
//
// Owns no behaviour of the product: it runs the same compiled aggregates as a shard does, and in a simulation the same shards.

// Given, when, then: the rules of one aggregate, and the rows of one projection
export {
  type CommandCall,
  command,
  type Given,
  type GivenEvent,
  given,
  type Then,
  type ThenEvent,
  type When,
} from "./given.ts";
export type { GivenFact, GivenRows } from "./given-rows.ts";
// What clients saw, held against one serial order
export { type CheckHistoryOptions, checkHistory, describeHistoryFaults } from "./history-checker/check-history.ts";
export type {
  AtomicOperation,
  History,
  HistoryEvent,
  HistoryModel,
  HistoryOperation,
  HistoryOutcome,
  HistoryRead,
  HistoryWrite,
  SagaOperation,
  SagaStepRun,
  StoredHistory,
} from "./history-checker/history.ts";
export type { HistoryFault, HistoryRule } from "./history-checker/history-fault.ts";
export {
  type AtomicAnswer,
  HistoryRecorder,
  type SentOperation,
  type SentSaga,
} from "./history-checker/history-recorder.ts";
// A disk that tears, drops, flips, fails and runs full
export { seededRandom } from "./seeded-random.ts";
export { SimulatedDisk, type SimulatedDiskOptions, type Survival } from "./simulated-disk.ts";
// A whole node under faults, out of one seed
export { defaultFaults, type Faults } from "./simulation/faults.ts";
export { simulate } from "./simulation/simulate.ts";
export type { SimulatedWorld, SimulateOptions, SimulationCounts, SimulationResult } from "./simulation/simulation.ts";
// Upcasters by themselves: how an event reads that was stored in an older shape
export { type Stored, type StoredEvent, stored } from "./stored.ts";
