// What needs a NATS client. Loaded by those who have a server to talk to, and only then: see `loadNats`.
export { connectNats, type NatsLink } from "./connection.ts";
export { EventNotes } from "./event-publisher.ts";
export { FilledGaps } from "./filled-gaps.ts";
export { NatsFeed, type NatsFeedOptions } from "./nats-feed.ts";
export { NatsPublisher, type NatsPublisherOptions, type NatsPublisherStats } from "./publisher.ts";
