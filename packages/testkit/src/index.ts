// testkit: what tests of a domain are written with.
//
// Owns no behaviour of the product: it runs the same compiled aggregates as a shard does.

// Given, when, then: the rules of one aggregate
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
// A disk that tears, drops, flips, fails and runs full
export { seededRandom } from "./seeded-random.ts";
export { SimulatedDisk, type SimulatedDiskOptions, type Survival } from "./simulated-disk.ts";
// Upcasters by themselves: how an event reads that was stored in an older shape
export { type Stored, type StoredEvent, stored } from "./stored.ts";
