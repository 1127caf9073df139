// feed: committed events of a shard, in order, from a position.
//
// Owns the reading of logs beside the shards that write them, subscriptions over all entities, consumer groups, and the NATS
// publisher. There is no outbox: a reader is a position in the log.
// Promises P2 for readers (nobody sees what is not durable), P5 (no gap and no double after a crash), P8 (a slow reader holds
// nothing up and takes no memory).
// Not promised: order between entities.
export {};
