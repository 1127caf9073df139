// event-log: segments, group commit, recovery, erasure in place. The log is the truth; everything else of a shard derives
// from it.
//
// Promises P2 (nothing is reported durable before its sync has returned), P5 (a torn tail is cut, damage is refused) and,
// of P6, that no byte of an erased entry's payloads is left in the log's folder.
// Not promised: anything about what entries mean, or their order between shards.

// Modes
export type { Durability } from "./event-log.ts";
