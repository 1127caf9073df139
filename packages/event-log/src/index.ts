// event-log: segments, group commit, recovery. The log is the truth; everything else of a shard derives from it.
//
// Promises P2 (nothing is reported durable before its sync has returned) and P5 (a torn tail is cut, damage is refused).
// Not promised: anything about what entries mean, or their order between shards.

// Modes
export type { Durability } from "./event-log.ts";
