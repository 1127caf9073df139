// http: the HTTP/JSON side of a node.
//
// Takes over the sockets of the node's port that speak HTTP, checks what they send, and calls the shards through a
// `Gateway`. Owns the routes, their OpenAPI document, the text of /metrics, and the bounds on HTTP connections (P7, P8).

// Bounds
export { type HttpBounds, httpBounds } from "./bounds.ts";
export type { HostNames } from "./browser-guard.ts";
// What it needs of the node
export type { AggregateInfo, CompiledContextInfo, Gateway, JsonSchema, NodeFacts, Readiness } from "./gateway.ts";
// Serving
export { type HttpDoor, type HttpDoorOptions, openHttpDoor } from "./http-door.ts";
export type { EventLoopDelay, NodeMetrics, ShardFigures, ShardMetrics } from "./metrics.ts";
export type { SyncHistogram } from "./metrics-page.ts";
