// shard: the actor that runs one shard. Mailbox, decide, commit, reply; activation; checkpoints.
//
// Promises P1 (one writer, gapless sequences), P2 (replies wait for durability), P3 (rules hold at every commit),
// P4 (an id takes effect once), P8 (its queues are bounded). Transactions over several shards are strictly serializable.
// Knows nothing of threads and sockets, and reaches other shards through ShardCalls only.
// Not promised: order between entities that no transaction has together.

// What a shard tells about itself
export type { ShardState, ShardStats } from "./stats.ts";
