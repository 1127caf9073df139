// What the listener's side has to know of the feed thread.
import type { GroupFigures, NatsOptions } from "@heddle/feed/internal";
import type { NatsFigures } from "./nats-publishing.ts";
import type { ReaderLinkOptions } from "./reader-link.ts";
import type { ReaderStart } from "./thread-messages.ts";

/** What the feed thread is told when it starts. */
export interface FeedSettings {
  /** File of what readers keep: see `ReaderState`. */
  readonly state: string;
  /** Where the logs are published, if anywhere. */
  readonly nats: NatsOptions | undefined;
}

/** What the feed thread says of itself. */
export interface FeedStats {
  /** Questions that wait for events. */
  readonly waiting: number;
  /** Events and pages that were given out since the thread started. */
  readonly events: number;
  readonly pages: number;
  readonly groups: readonly GroupFigures[];
  /** Left out where nothing is published. */
  readonly nats?: NatsFigures;
}

export function feedThread(start: ReaderStart<FeedSettings>): ReaderLinkOptions<FeedStats>["kind"] {
  return {
    what: "feed thread",
    file: "feed-thread",
    name: "heddle-feed",
    start,
    noStats: { waiting: 0, events: 0, pages: 0, groups: [] },
    facts: {},
  };
}
