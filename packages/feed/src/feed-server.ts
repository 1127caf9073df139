// FeedServer: answers questions for the events of a shard's feed behind a place, as soon as there are some. Keeps nothing of a
// reader from one question to the next.
//
// S1. Every question gets one answer: a page with events, an empty page whose place may be further on, or an error.
// S2. A page has all events that match between the place that was asked for and the page's end, and nothing else.
// S3. Questions take turns: one that is far behind holds none up that is not, for longer than it takes to read a slice (P8).
// S4. The same questions at the same place are one piece of work: a thousand readers of one feed cost about as much as one.
// Not promised: that an answer waits for a full page.
import type { CompiledContext } from "@heddle/domain/internal";
import { type Clock, HeddleError } from "@heddle/kernel";
import {
  encodeErrorReply,
  encodeReply,
  encodeValue,
  type FeedFields,
  type FeedPosition,
  frameOffset,
  frameReply,
  readFeedBody,
  readUnwatchBody,
  replyKind,
  requestCall,
  TextCache,
} from "@heddle/protocol/internal";
import { FeedDecoder } from "./feed-decoder.ts";
import { checkFeedNames } from "./feed-names.ts";
import { FeedPage } from "./feed-page.ts";
import type { FeedChunk } from "./feed-source.ts";
import type { LogFeed } from "./log-feed.ts";

export interface FeedServerOptions {
  readonly source: Pick<LogFeed, "shardCount" | "end" | "read" | "beginsAt" | "mark" | "changedSince">;
  readonly domain: CompiledContext;
  readonly clock: Clock;
  /** Takes one reply to each question; `requestBytes` is the credit that it gives back. */
  readonly reply: (connection: number, requestBytes: number, frame: Uint8Array) => void;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
}

export interface FeedServerStats {
  /** Questions without an answer yet. */
  readonly waiting: number;
  /** Since the start. */
  readonly events: number;
  readonly pages: number;
}

/** Bytes of log that a question reads before the next has its turn: one to three milliseconds. */
const sliceBytes = 256 << 10;
/** Work goes on for so many milliseconds before others of the thread have their turn. */
const turnMs = 4;
/** Questions that may wait at the same time (P8). */
const waitersMax = 16_384;
/** So often somebody who waits looks by himself. */
const lookMs = 1_000;

interface Waiter {
  readonly connection: number;
  readonly call: number;
  readonly requestBytes: number;
  readonly deadline: number;
  topic: Topic;
}

/** The same question of any number of readers. */
interface Topic {
  readonly shard: number;
  /** What is asked for, without the place. */
  readonly filter: string;
  readonly decoder: FeedDecoder;
  limit: number;
  /** All before it was looked at, and nothing was found. */
  position: FeedPosition;
  /** The place is as it was asked for. */
  isNew: boolean;
  readonly waiters: Set<Waiter>;
}

export class FeedServer {
  readonly #options: FeedServerOptions;
  readonly #texts = new TextCache();
  /** By what is asked for and from where. */
  readonly #topics = new Map<string, Topic>();
  readonly #waiters = new Map<number, Set<Waiter>>();
  #waiterCount = 0;
  /** Topics that have something to read, in the order of their turns. */
  readonly #ready = new Set<Topic>();
  /** By shard, topics that have read all there is. */
  readonly #atEnd: Set<Topic>[];
  /** What was read last in this turn. */
  #lastRead: { readonly shard: number; readonly from: number; readonly chunk: FeedChunk } | undefined;
  #isScheduled = false;
  #isWatching = false;
  #isClosed = false;
  #events = 0;
  #pages = 0;

  constructor(options: FeedServerOptions) {
    this.#options = options;
    this.#atEnd = Array.from({ length: options.source.shardCount }, () => new Set<Topic>());
  }

  /** Takes a whole request frame of kind `feed`, `bytes[from, to)`. Errors: `BAD_FRAME`, `INVALID_REQUEST`, `OVERLOADED`. */
  receive(connection: number, shard: number, bytes: Uint8Array, from: number, to: number): void {
    const fields = readFeedBody(bytes, from + frameOffset.requestBody, to, this.#texts);
    const call = requestCall(bytes, from);
    checkFeedNames(this.#options.domain, fields);
    const end = this.#options.source.end(shard);
    // Where a feed ends is told where requests come in, in the order in which they come: see `asksForEnds`.
    if (fields.from === "now") throw noPlace(shard, "it is no place");
    if (fields.from.record > end) throw noPlace(shard, `the log ends at ${end}`);
    if (this.#isClosed) throw closing(shard);
    if (this.#waiterCount >= waitersMax) {
      const queue = "questions that wait for events";
      throw new HeddleError("OVERLOADED", { queue, depth: this.#waiterCount, depthMax: waitersMax });
    }
    const deadline = this.#options.clock.monotonic() + fields.waitMs;
    const topic = this.#topicOf(shard, fields, fields.from);
    const waiter: Waiter = { connection, call, requestBytes: to - from, deadline, topic };
    topic.waiters.add(waiter);
    const ofConnection = this.#waiters.get(connection);
    if (ofConnection === undefined) this.#waiters.set(connection, new Set([waiter]));
    else ofConnection.add(waiter);
    this.#waiterCount++;
    this.#makeReady(topic);
  }

  /** Takes a whole request frame of kind `unfeed`: nobody waits for the answer to a question any more. Errors: `BAD_FRAME`. */
  forget(connection: number, bytes: Uint8Array, from: number, to: number): void {
    const { call } = readUnwatchBody(bytes, from + frameOffset.requestBody, to, this.#texts);
    for (const waiter of this.#waiters.get(connection) ?? []) if (waiter.call === call) this.#answerEmpty(waiter);
    this.#options.reply(connection, to - from, encodeReply(replyKind.value, requestCall(bytes, from), null));
  }

  /** Nobody waits for answers over this connection any more. They are given all the same: their credit comes back with them. */
  connectionClosed(connection: number): void {
    for (const waiter of this.#waiters.get(connection) ?? []) this.#answerEmpty(waiter);
  }

  /** Answers those whose time is up. */
  tick(): void {
    const now = this.#options.clock.monotonic();
    for (const waiters of this.#waiters.values()) {
      for (const waiter of waiters) if (waiter.deadline <= now) this.#answerEmpty(waiter);
    }
  }

  stats(): FeedServerStats {
    return { waiting: this.#waiterCount, events: this.#events, pages: this.#pages };
  }

  /** Whoever waits is told to ask again, and so is whoever comes now. */
  close(): void {
    this.#isClosed = true;
    for (const topic of [...this.#topics.values()]) this.#fail(topic, closing(topic.shard));
  }

  // --- Topics ---

  #topicOf(shard: number, fields: FeedFields, position: FeedPosition): Topic {
    const { kind, aggregate, types, limit } = fields;
    const filter = [limit, kind, aggregate, ...types].join("\0");
    const known = this.#topics.get(keyOf(shard, position, filter));
    if (known !== undefined) return known;
    const decoder = new FeedDecoder(
      this.#options.domain,
      {
        kind: kind === "" ? undefined : kind,
        aggregate: aggregate === "" ? undefined : aggregate,
        types: types.length === 0 ? undefined : new Set(types),
      },
      this.#texts,
    );
    const topic: Topic = { shard, filter, decoder, limit, position, isNew: true, waiters: new Set() };
    this.#topics.set(keyOf(shard, position, filter), topic);
    return topic;
  }

  /** Nothing was found up to here. Others may have come to the same place on their own. */
  #advance(topic: Topic, position: FeedPosition): Topic {
    this.#topics.delete(keyOf(topic.shard, topic.position, topic.filter));
    topic.position = position;
    topic.isNew = false;
    const key = keyOf(topic.shard, position, topic.filter);
    const other = this.#topics.get(key);
    if (other === undefined) {
      this.#topics.set(key, topic);
      return topic;
    }
    for (const waiter of topic.waiters) {
      waiter.topic = other;
      other.waiters.add(waiter);
    }
    topic.waiters.clear();
    this.#drop(topic);
    return other;
  }

  #drop(topic: Topic): void {
    const key = keyOf(topic.shard, topic.position, topic.filter);
    if (this.#topics.get(key) === topic) this.#topics.delete(key);
    this.#ready.delete(topic);
    this.#atEnd[topic.shard]!.delete(topic);
  }

  #makeReady(topic: Topic): void {
    this.#atEnd[topic.shard]!.delete(topic);
    this.#ready.add(topic);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => this.#work());
  }

  // --- Working ---

  #work(): void {
    this.#isScheduled = false;
    const { clock } = this.#options;
    const until = clock.monotonic() + turnMs;
    for (const topic of this.#ready) {
      this.#ready.delete(topic);
      this.#read(topic);
      if (clock.monotonic() >= until) break;
    }
    // An erasure may overwrite what was read: it is not shown in a later turn.
    this.#lastRead = undefined;
    const next = this.#ready.values().next();
    if (!next.done) this.#makeReady(next.value);
  }

  #read(topic: Topic): void {
    const page = new FeedPage(topic.limit);
    let end: FeedPosition;
    try {
      const chunk = this.#chunkAt(topic);
      if (chunk === undefined) {
        this.#waitAtEnd(topic);
        return;
      }
      end = topic.decoder.visit(chunk, { events: (entry) => page.add(entry) }, topic.position);
    } catch (error) {
      this.#fail(topic, error);
      return;
    }
    if (page.events > 0) this.#answer(topic, page, end);
    else if (page.failure !== undefined) this.#fail(topic, page.failure);
    else this.#makeReady(this.#advance(topic, end));
  }

  #chunkAt(topic: Topic): FeedChunk | undefined {
    const { shard, isNew } = topic;
    const from = topic.position.record;
    if (this.#lastRead?.shard === shard && this.#lastRead.from === from) return this.#lastRead.chunk;
    const { source } = this.#options;
    try {
      const chunk = source.read(shard, from, sliceBytes);
      this.#lastRead = chunk === undefined ? undefined : { shard, from, chunk };
      return chunk;
    } catch (error) {
      // A place that came from outside may be no place of this log; one that was reached here is, so that this is damage.
      if (isNew && from < source.end(shard) && !source.beginsAt(shard, from)) {
        throw noPlace(shard, "no record begins there");
      }
      throw error;
    }
  }

  #waitAtEnd(topic: Topic): void {
    const now = this.#options.clock.monotonic();
    for (const waiter of topic.waiters) if (waiter.deadline <= now) this.#answerEmpty(waiter);
    if (topic.waiters.size === 0) return;
    this.#atEnd[topic.shard]!.add(topic);
    if (!this.#isWatching) void this.#watch();
  }

  // Goes on for as long as somebody waits at the end of a shard's feed.
  async #watch(): Promise<void> {
    const { source } = this.#options;
    this.#isWatching = true;
    for (;;) {
      // Taken first: what changes while the ends are looked at is seen in the next round.
      const { mark } = source;
      let waits = false;
      for (const [shard, topics] of this.#atEnd.entries()) {
        const end = topics.size === 0 ? 0 : source.end(shard);
        for (const topic of topics) {
          if (topic.position.record < end) this.#makeReady(topic);
          else waits = true;
        }
      }
      if (!waits) break;
      await source.changedSince(mark, lookMs);
    }
    this.#isWatching = false;
  }

  // --- Answers ---

  #answer(topic: Topic, page: FeedPage, end: FeedPosition): void {
    const body = page.encode(end);
    if (body === undefined) {
      if (page.events === 1) {
        this.#fail(topic, page.tooLarge());
        return;
      }
      topic.limit = page.events >>> 1;
      this.#makeReady(topic);
      return;
    }
    for (const { connection, requestBytes, call } of topic.waiters) {
      this.#say(connection, requestBytes, call, body);
      this.#events += page.events;
    }
    this.#removeAll(topic);
  }

  #answerEmpty(waiter: Waiter): void {
    const { record, skip } = waiter.topic.position;
    this.#say(waiter.connection, waiter.requestBytes, waiter.call, encodeValue([record, skip, []]));
    this.#remove(waiter);
  }

  #fail(topic: Topic, thrown: unknown): void {
    if (!(thrown instanceof HeddleError)) throw thrown;
    for (const { connection, requestBytes, call } of topic.waiters) {
      this.#options.reply(connection, requestBytes, encodeErrorReply(call, thrown));
    }
    this.#removeAll(topic);
  }

  #say(connection: number, requestBytes: number, call: number, body: Uint8Array): void {
    this.#pages++;
    this.#options.reply(connection, requestBytes, frameReply(replyKind.value, call, body));
  }

  #removeAll(topic: Topic): void {
    for (const waiter of topic.waiters) this.#remove(waiter);
    this.#drop(topic);
  }

  #remove(waiter: Waiter): void {
    const { topic, connection } = waiter;
    const ofConnection = this.#waiters.get(connection);
    if (!ofConnection?.delete(waiter)) return;
    if (ofConnection.size === 0) this.#waiters.delete(connection);
    this.#waiterCount--;
    topic.waiters.delete(waiter);
    if (topic.waiters.size === 0) this.#drop(topic);
  }
}

function keyOf(shard: number, { record, skip }: FeedPosition, filter: string): string {
  return `${shard}\0${record}\0${skip}\0${filter}`;
}

function noPlace(shard: number, why: string): HeddleError {
  const problem = `it is no place in the feed of shard ${shard}: ${why}`;
  return new HeddleError("INVALID_REQUEST", { path: "from", problem });
}

function closing(shard: number): HeddleError {
  return new HeddleError("SHARD_STOPPED", { shard, reason: "the node is closing" });
}
