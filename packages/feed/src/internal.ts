// For sibling packages and tests.
export { DurableEnds } from "./durable-ends.ts";
export type { FeedChunk, FeedSource } from "./feed-source.ts";
export * from "./index.ts";
