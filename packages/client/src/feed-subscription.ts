// A subscription to all entities: the feeds of all shards, merged, each asked on from where it was.
import type { AggregateName, AnyContext, EventType } from "@heddle/domain";
import {
  type FeedFields,
  FeedMerge,
  type FeedPage,
  type FeedPort,
  readFeedEnds,
  readFeedPage,
  requestKind,
  writeFeedBody,
} from "@heddle/protocol/internal";
import type { HistoryEvent } from "./call-types.ts";
import { LongPoll, pollWaitMs } from "./long-poll.ts";
import type { Sessions } from "./sessions.ts";
import { Subscription } from "./subscription.ts";

/** Which events, and from where on. What is left out asks for all. */
export interface SubscribeOptions<A extends string = string, T extends string = string> {
  /** Only events of entities of this kind: `account` for `account/…`. */
  readonly kind?: string | undefined;
  readonly aggregate?: A | undefined;
  readonly types?: readonly T[] | undefined;
  /**
   * "beginning" (default); "now": what becomes durable after this call; or the `cursor` of an event: what lies behind it.
   */
  readonly from?: "beginning" | "now" | (string & {}) | undefined;
  /** Ends it: the loop throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** An event of any entity. `aggregate` and `type` tell the payloads apart. */
export type FeedEventOf<
  C extends AnyContext = AnyContext,
  A extends AggregateName<C> = AggregateName<C>,
  T extends string = string,
> = Extract<HistoryEvent<C, A>, { readonly type: T }> & {
  readonly entity: string;
  readonly shard: number;
  /** Place in the entry at `position`, from 0: the two together name the event within its shard. */
  readonly index: number;
  /**
   * Goes on behind this event, given as `from`. Text, the same for all events of a context. It is made when it is asked for,
   * and is not among the event's own fields: name it where you copy or print an event.
   */
  readonly cursor: string;
};

/** The types of events that an aggregate, or a choice of several, has. */
export type TypesOf<C extends AnyContext, A extends AggregateName<C>> = { [G in A]: EventType<C, G> }[A];

/** Events of one shard asked for at once. The node gives fewer when they are large. */
const pageEvents = 1_000;

export function subscribeToAll(sessions: Sessions, options: SubscribeOptions): Subscription<FeedEventOf> {
  const { signal, ...query } = options;
  const polls: LongPoll<FeedFields, FeedPage>[] = [];
  const port: FeedPort = {
    shardCount: () => sessions.shardCount(),
    ends: () => endsOf(sessions, signal),
    page(shard, fields, ending) {
      const decode = (value: unknown) => readFeedPage(value, shard);
      const question = { kind: requestKind.feed, hash: shard, body: writeFeedBody, decode };
      polls[shard] ??= new LongPoll(sessions, question, ending);
      return polls[shard].ask(fields);
    },
  };
  // Made at once: with "now" it stands between the calls that were made before and those that come.
  const merge = new FeedMerge(port, query, pageEvents);
  return new Subscription(async (ending) => {
    const { events } = await merge.next(pollWaitMs, ending);
    return events as readonly FeedEventOf[];
  }, signal);
}

// Each connection is asked, because each has calls of its own that come before and behind: a feed begins at the least.
async function endsOf(sessions: Sessions, signal: AbortSignal | undefined): Promise<readonly number[]> {
  const fields: FeedFields = { from: "now", waitMs: 0, limit: 1, kind: "", aggregate: "", types: [] };
  const asked = sessions.all.map((session) =>
    session.request<readonly number[], FeedFields>(
      requestKind.feed,
      0,
      writeFeedBody,
      fields,
      { signal },
      readFeedEnds,
    ),
  );
  const [first, ...others] = await Promise.all(asked);
  return first!.map((end, shard) => Math.min(end, ...others.map((ends) => ends[shard]!)));
}
