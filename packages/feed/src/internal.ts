// For sibling packages and tests.
export { DurableEnds } from "./durable-ends.ts";
export {
  FeedDecoder,
  FeedEntry,
  type FeedFilter,
  type FeedReset,
  type FeedVisitor,
} from "./feed-decoder.ts";
export { FeedServer, type FeedServerOptions, type FeedServerStats } from "./feed-server.ts";
export type { FeedChunk, FeedSource } from "./feed-source.ts";
export {
  GroupCoordinator,
  type GroupCoordinatorOptions,
  type GroupFigures,
  type GroupStore,
  ReaderGroupStore,
} from "./groups/index.ts";
export * from "./index.ts";
export { LandingPlaces, type LandingPlacesOptions } from "./landing-places.ts";
export { LogFeed, type LogFeedOptions } from "./log-feed.ts";
export type { NatsFeed, NatsLink, NatsPublisher, NatsPublisherOptions, NatsPublisherStats } from "./nats/index.ts";
export { type ErasedLife, NatsErasures } from "./nats/nats-erasures.ts";
export { checkNatsOptions, type NatsOptions, sinkName } from "./nats/nats-options.ts";
export { ReaderState } from "./reader-state.ts";

/** The publisher, and the feed from NATS, with the client that they need. */
export const loadNats = () => import("./nats/index.ts");
