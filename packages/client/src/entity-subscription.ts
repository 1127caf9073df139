// A subscription to one entity: its history, and then what comes, without a seam: each question says from which sequence
// on, and the node waits where it has nothing yet.
import { HeddleError } from "@heddle/kernel";
import { readWatchPage, requestKind, u48Max, type WatchFields, writeWatchBody } from "@heddle/protocol/internal";
import type { HistoryEvent } from "./call-types.ts";
import type { HistorySource } from "./history-pages.ts";
import { LongPoll, pollWaitMs } from "./long-poll.ts";
import type { Sessions } from "./sessions.ts";
import { Subscription } from "./subscription.ts";
import { readEvents } from "./wire-values.ts";

/** What `Entity.subscribe` can be given. */
export interface EntitySubscribeOptions {
  /**
   * The sequence to begin at, which may be one that is still to come; "now": behind the last event that there is when
   * `subscribe` is called. Default 1.
   */
  readonly from?: number | "now" | undefined;
  /** Ends it: the loop throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Events asked for at once. The node gives fewer when they are large. */
const pageEvents = 1_000;

interface Page {
  readonly events: readonly HistoryEvent[];
  readonly next: number;
}

/** Errors: throws `INVALID_REQUEST`. */
export function subscribeToEntity(
  sessions: Sessions,
  source: HistorySource,
  aggregate: string,
  { from = 1, signal }: EntitySubscribeOptions,
): Subscription<HistoryEvent> {
  const fields = { entity: source.id, aggregate, limit: pageEvents };
  const question = { kind: requestKind.watch, hash: source.hash, body: writeWatchBody, decode: readPage };
  let poll: LongPoll<WatchFields, Page> | undefined;
  let next = from === "now" ? 0 : checkedFrom(from);
  // Asked at once, and on the way that appends to the entity take, so that it stands between those before and those after.
  const now = from === "now" ? whereNowIs(source, aggregate, signal) : undefined;
  return new Subscription(async (ending) => {
    if (next === 0) next = await now!;
    poll ??= new LongPoll(sessions, question, ending);
    const page = await poll.ask({ ...fields, from: next, waitMs: pollWaitMs });
    next = page.next;
    return page.events;
  }, signal);
}

function whereNowIs({ id, hash, session }: HistorySource, aggregate: string, signal?: AbortSignal): Promise<number> {
  const fields = { entity: id, aggregate, from: 0, limit: 1, waitMs: 0 };
  const decode = (value: unknown) => readPage(value).next;
  const now = session.request<number, typeof fields>(
    requestKind.watch,
    hash,
    writeWatchBody,
    fields,
    { signal },
    decode,
  );
  // Whoever reads is told; one who never does has not asked.
  now.catch(() => {});
  return now;
}

function readPage(value: unknown): Page {
  const { events, next } = readWatchPage(value);
  return { events: readEvents(events), next };
}

function checkedFrom(from: unknown): number {
  if (Number.isSafeInteger(from) && (from as number) >= 1 && (from as number) <= u48Max) return from as number;
  const problem = `wanted a sequence, a whole number from 1 on, or "now", found ${String(from)}`;
  throw new HeddleError("INVALID_REQUEST", { path: "from", problem });
}
