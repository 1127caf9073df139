// kernel: what every other package stands on. Imports nothing of Heddle, knows no input or output.
//
// Owns the shape of entity ids, routing (P1 rests on it: one id, one shard), typed errors (P7), and the bounds (P8).

// Ports
export { type Clock, type Random, systemClock, systemRandom } from "./clock.ts";
// What can go wrong
export {
  type ErrorCode,
  type ErrorFacts,
  errorTable,
  HeddleError,
  isHeddleError,
  type PayloadIssue,
} from "./errors.ts";
// Routing
export { hashEntity, shardOf } from "./hash.ts";
// Naming entities
export {
  type EntityId,
  entityIdProblem,
  isSystemEntity,
  kindOf,
  parseAnyEntityId,
  parseEntityId,
} from "./ids.ts";
// Bounds
export { limits } from "./limits.ts";
export { systemKinds } from "./system-kinds.ts";
