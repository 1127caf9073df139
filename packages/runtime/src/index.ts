// runtime: puts one node together. Router, shard threads, listener (binary and HTTP on one port), administration.
//
// Owns processes, threads, sockets and folders; decides nothing about entities. Promises P8 at the door (bounded
// queues) and that a lost shard thread is started again without a caller left hanging.

// Running a node
export { type HeddleNode, type NodeOptions, startNode } from "./start-node.ts";
export { version } from "./version.ts";
