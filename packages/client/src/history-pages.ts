// HistoryPages: a range of an entity's events, fetched page by page while they are consumed.
import { requestKind, writeHistoryBody } from "@heddle/protocol/internal";
import type { HistoryEvent } from "./call-types.ts";
import type { CallOptions, Session } from "./session.ts";
import { millisecondsOf, type Time } from "./times.ts";
import { readEvents } from "./wire-values.ts";

/** Which events of an entity. Every bound is inclusive. Errors: `INVALID_REQUEST` for a range that runs backwards. */
export interface HistoryRange<A extends string = string> {
  /** The sequence to begin at. Default: the first event, or the last one when going backward. */
  readonly from?: number | undefined;
  /** The sequence to end at. Default: the last event, or the first one when going backward. */
  readonly to?: number | undefined;
  /** Only events from this time on: milliseconds since 1970, or a Date. */
  readonly since?: Time | undefined;
  /** Only events up to this time. */
  readonly until?: Time | undefined;
  /** "forward" (default) gives rising sequences, "backward" falling ones. */
  readonly direction?: "forward" | "backward" | undefined;
  /** Only the events of one aggregate. Left out, Heddle's own are given too: see `asSystemEvent`. */
  readonly aggregate?: A | undefined;
}

/** What `history` can be asked. */
export interface HistoryOptions<A extends string = string> extends HistoryRange<A>, CallOptions {
  /** Events at most, 1 to 10,000. Default 100. `events` gives all of them. */
  readonly limit?: number | undefined;
}

/** What `events` can be asked. Time-out and signal hold for each page. */
export interface EventsOptions<A extends string = string> extends HistoryRange<A>, CallOptions {
  /** Events fetched at once, 1 to 10,000. Default 1,000. */
  readonly pageEvents?: number | undefined;
}

/** Whose events: an entity's id, its hash, and the session that its calls take. */
export interface HistorySource {
  readonly id: string;
  readonly hash: number;
  readonly session: Session;
}

/**
 * Pages in order, none of them empty, of `pageEvents` or fewer and not more than `total` events together. The node may
 * give fewer than a page's limit when they are large (a reply is one frame), so that only an empty page, or the end of the
 * range, says that there are no more.
 */
export async function* historyPages(
  source: HistorySource,
  range: HistoryRange & CallOptions,
  pageEvents: number,
  total: number = Number.POSITIVE_INFINITY,
): AsyncGenerator<HistoryEvent[], void, undefined> {
  const { direction = "forward", to = 0 } = range;
  const end = to > 0 ? to : direction === "forward" ? Number.POSITIVE_INFINITY : 1;
  let left = total;
  let from = range.from;
  for (;;) {
    const page = await historyPage(source, { ...range, from }, Math.min(pageEvents, left));
    const last = page[page.length - 1];
    if (last === undefined) return;
    yield page;
    left -= page.length;
    if (left <= 0 || last.seq === end) return;
    from = direction === "forward" ? last.seq + 1 : last.seq - 1;
  }
}

async function historyPage(
  { id, hash, session }: HistorySource,
  range: HistoryRange & CallOptions,
  limit: number,
): Promise<HistoryEvent[]> {
  const { direction = "forward", from = 0, to = 0, aggregate = "" } = range;
  const [since = 0, until = 0] = [millisecondsOf(range.since), millisecondsOf(range.until)];
  const fields = { entity: id, aggregate, from, to, since, until, limit, direction };
  if (isEmpty(range)) return [];
  return session.request(requestKind.history, hash, writeHistoryBody, fields, range, readEvents);
}

// In a request 0 stands for a bound that was left out; a caller who says 0 has computed a range that holds nothing.
function isEmpty({ direction, from, to, until }: HistoryRange): boolean {
  const isForward = direction !== "backward";
  return (isForward ? to === 0 : from === 0) || (until !== undefined && millisecondsOf(until) === 0);
}
