// NatsFeed: the feed of a context from the streams that a publisher filled, for readers without a node of their own.
//
// Reads messages by their sequence, many at a time, and holds every record against its checksum. Where a message is missing
// its repair is asked for: the same records, without what was erased since.
//
// G1. What it gives are the log's records, in order, without a gap and without a double, whatever the streams went through.
// G2. What it can not give it says: `FEED_GAP`, and after that the same position is asked for again with the same answer until
//     a publisher has filled the gap.
// G3. Of each shard at most one chunk is read ahead.
// Not promised: that it hears of a record at once: the call to look may get lost, and then it looks after `pollMs`.
import { newEntryView, visitRecords } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import type { StoredMsg } from "@nats-io/jetstream";
import type { FeedChunk, FeedSource } from "../feed-source.ts";
import { isNothing, messagesFrom } from "./batch.ts";
import { connectNats, type NatsLink, natsError } from "./connection.ts";
import {
  type LogMessage,
  logHeaders,
  messageVersion,
  type Names,
  namesOf,
  readLogMessage,
  streamMetadata,
} from "./names.ts";
import { type NatsOptions, sinkName } from "./nats-options.ts";
import { recordsProblem } from "./records.ts";

export interface NatsFeedOptions {
  readonly context: string;
  readonly nats: NatsOptions;
  /** For tests. */
  readonly connect?: (options: NatsOptions) => Promise<NatsLink>;
  readonly pollMs?: number;
}

const pollMsDefault = 1_000;
/** Messages asked for at once. */
const batchMessages = 256;
/** Places in a shard's stream that are remembered, for readers at different positions. */
const placesMax = 64;

interface Piece {
  readonly bytes: Uint8Array;
  /** Position behind the last record. */
  readonly to: number;
}

export class NatsFeed implements FeedSource {
  readonly shardCount: number;
  readonly #options: NatsFeedOptions;
  readonly #names: Names;
  readonly #sink: string;
  readonly #ends: number[];
  /** By shard: the sequence at which reading goes on from a position. */
  readonly #places: Map<number, number>[];
  readonly #ahead: ({ readonly from: number; readonly chunk: Promise<Chunk | undefined> } | undefined)[];
  #link: Promise<NatsLink>;
  #mark = 0;
  #waiters = new Set<() => void>();
  #polling: Promise<void> | undefined;
  #problem: HeddleError | undefined;
  #closed = false;

  /**
   * Errors: `SINK_UNAVAILABLE`, also as long as nothing was published for the context; `SINK_REFUSED`.
   */
  static async open(options: NatsFeedOptions): Promise<NatsFeed> {
    const link = await (options.connect ?? connectNats)(options.nats);
    const sink = sinkName(options.nats);
    try {
      const feed = new NatsFeed(options, link, await shardCountOf(link, options.context, sink));
      feed.#listen(link);
      await feed.#look();
      if (feed.#problem !== undefined) throw feed.#problem;
      return feed;
    } catch (error) {
      await link.close();
      throw natsError(sink, error);
    }
  }

  private constructor(options: NatsFeedOptions, link: NatsLink, shardCount: number) {
    this.#options = options;
    this.#names = namesOf(options.context);
    this.#sink = sinkName(options.nats);
    this.shardCount = shardCount;
    this.#ends = new Array<number>(shardCount).fill(0);
    this.#places = Array.from({ length: shardCount }, () => new Map());
    this.#ahead = new Array(shardCount).fill(undefined);
    this.#link = Promise.resolve(link);
  }

  end(shard: number): number {
    return this.#ends[shard]!;
  }

  get mark(): number {
    return this.#mark;
  }

  /** Why nothing new is heard of at present. */
  get problem(): HeddleError | undefined {
    return this.#problem;
  }

  async read(shard: number, from: number, bytesMax: number): Promise<FeedChunk | undefined> {
    if (from >= this.end(shard)) return undefined;
    const ahead = this.#ahead[shard];
    this.#ahead[shard] = undefined;
    let chunk: Chunk | undefined;
    try {
      chunk = await (ahead?.from === from ? ahead.chunk : this.#fetch(shard, from, bytesMax));
    } catch (error) {
      throw natsError(this.#sink, error);
    }
    if (chunk !== undefined && chunk.to < this.end(shard)) {
      const next = { from: chunk.to, chunk: this.#fetch(shard, chunk.to, bytesMax) };
      // Whoever asks for it is told; if nobody does, nobody misses it.
      next.chunk.catch(() => {});
      this.#ahead[shard] = next;
    }
    return chunk;
  }

  async changedSince(mark: number, timeoutMs: number): Promise<void> {
    const pollMs = this.#options.pollMs ?? pollMsDefault;
    const deadline = performance.now() + timeoutMs;
    while (this.#mark === mark && !this.#closed) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, Math.min(left, pollMs));
      this.#waiters.add(resolve);
      await promise;
      clearTimeout(timer);
      this.#waiters.delete(resolve);
      if (this.#mark === mark && !this.#closed) {
        this.#polling ??= this.#look().finally(() => {
          this.#polling = undefined;
        });
        await this.#polling;
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of this.#waiters) wake();
    const link = await this.#link.catch(() => undefined);
    await link?.close();
  }

  // --- How far the streams are ---

  async #connected(): Promise<NatsLink> {
    const link = await this.#link.catch(() => undefined);
    if (link !== undefined && !link.isLost) return link;
    if (this.#closed) throw new HeddleError("CLOSED", { what: "the feed" });
    const again = (this.#options.connect ?? connectNats)(this.#options.nats);
    this.#link = again;
    const made = await again;
    if (this.#closed) await made.close();
    this.#listen(made);
    return made;
  }

  #listen({ nc }: NatsLink): void {
    nc.subscribe(this.#names.storedSubjects, {
      callback: (error, message) => {
        if (error !== null) return;
        const shard = Number(message.subject.slice(message.subject.lastIndexOf(".") + 1));
        const [part, parts] = (message.headers?.get(logHeaders.part) || "1/1").split("/");
        const to = Number(message.headers?.get(logHeaders.to));
        if (part === parts && shard < this.shardCount && Number.isSafeInteger(to)) this.#reaches(shard, to);
      },
    });
  }

  #reaches(shard: number, to: number): void {
    if (to <= this.#ends[shard]!) return;
    this.#ends[shard] = to;
    this.#mark++;
    for (const wake of this.#waiters) wake();
  }

  /** Looks how far each stream is. */
  async #look(): Promise<void> {
    try {
      const link = await this.#connected();
      await Promise.all(this.#ends.map((_, shard) => this.#lookAt(link, shard)));
      this.#problem = undefined;
    } catch (error) {
      this.#problem = natsError(this.#sink, error);
    }
  }

  async #lookAt(link: NatsLink, shard: number): Promise<void> {
    const last = await this.#lastOf(link, this.#names.logStream(shard), this.#names.logSubject(shard));
    // Of a record in parts, the last may be still to come.
    let to = last === undefined ? 0 : last.part === last.parts ? last.to : last.from;
    for (;;) {
      const repair = await this.#repairAt(link, shard, to);
      if (repair === undefined) break;
      to = repair.to;
    }
    this.#reaches(shard, to);
  }

  // --- Reading ---

  async #fetch(shard: number, from: number, bytesMax: number): Promise<Chunk | undefined> {
    const link = await this.#connected();
    const remembered = this.#places[shard]!.get(from);
    const seq = remembered ?? (await this.#locate(link, shard, from)).seq;
    const found = await this.#collect(link, shard, from, seq, bytesMax);
    // A stream that was made anew has other sequences.
    const chunk =
      found instanceof Chunk || remembered === undefined
        ? found
        : await this.#collect(link, shard, from, (await this.#locate(link, shard, from)).seq, bytesMax);
    if (chunk instanceof Chunk || chunk === undefined) return chunk;
    throw chunk;
  }

  // A chunk; undefined when there is nothing yet; or an error, which a look at a better place may disprove.
  async #collect(
    link: NatsLink,
    shard: number,
    from: number,
    firstSeq: number,
    bytesMax: number,
  ): Promise<Chunk | HeddleError | undefined> {
    const pieces: Piece[] = [];
    const parts = new Parts();
    let position = from;
    let bytes = 0;
    for (let seq = firstSeq; pieces.length === 0 || parts.isUnderWay; ) {
      const messages = await this.#batch(link, shard, seq, bytesMax);
      if (messages.length === 0) {
        const repair = await this.#repairOver(link, shard, position);
        if (repair === undefined) break;
        pieces.push(repair);
        position = repair.to;
      }
      for (const message of messages) {
        while (message.from > position) {
          const repair = await this.#repairOver(link, shard, position);
          if (repair === undefined) {
            if (pieces.length > 0) break;
            return this.#gap(shard, position, String(message.from));
          }
          pieces.push(repair);
          bytes += repair.bytes.length;
          position = repair.to;
        }
        if (message.from > position) break;
        seq = message.seq + 1;
        const whole = parts.add(message);
        if (whole === undefined || whole.to <= position) continue;
        const piece = (await this.#checked(link, shard, whole)) ?? undefined;
        if (piece === undefined) {
          if (pieces.length > 0) break;
          return this.#gap(shard, position, "records that do not fit their checksums");
        }
        const start = piece.to - piece.bytes.length;
        pieces.push(start < position ? { to: piece.to, bytes: piece.bytes.subarray(position - start) } : piece);
        bytes += piece.bytes.length;
        position = piece.to;
        this.#remember(shard, position, seq);
        if (bytes >= bytesMax) break;
      }
      if (pieces.length > 0) break;
    }
    if (pieces.length > 0) return new Chunk(shard, pieces);
    // The stream ends before what was known of it: it was lost, and is filled anew.
    this.#ends[shard] = Math.min(this.#ends[shard]!, from);
    return undefined;
  }

  async #checked(
    link: NatsLink,
    shard: number,
    piece: Piece & { from: number; salt: number },
  ): Promise<Piece | undefined> {
    if (recordsProblem(piece.bytes, piece.to, piece.salt) === undefined) return piece;
    return this.#repair(link, shard, piece.from);
  }

  async #repair(link: NatsLink, shard: number, from: number): Promise<Piece | undefined> {
    const { repairStream, repairSubject } = this.#names;
    const first = await this.#repairAt(link, shard, from);
    if (first === undefined) return undefined;
    const parts = new Parts();
    let whole = parts.add(first);
    for (let part = 2; part <= first.parts; part++) {
      const next = await this.#lastOf(link, repairStream, repairSubject(shard, from, part));
      if (next === undefined) return undefined;
      whole = parts.add(next);
    }
    return whole !== undefined && recordsProblem(whole.bytes, whole.to, whole.salt) === undefined ? whole : undefined;
  }

  // What a position lies in, from there on. A reader may have come to where a message ended, and stand in the middle of the repair
  // that has taken the place of several.
  async #repairOver(link: NatsLink, shard: number, position: number): Promise<Piece | undefined> {
    const repair = await this.#repair(link, shard, position);
    if (repair !== undefined) return repair;
    for (let { from } = await this.#locate(link, shard, position); from < position; ) {
      const before = await this.#repair(link, shard, from);
      if (before === undefined) return undefined;
      if (before.to > position) {
        // Where a segment of the log begins there are positions without bytes.
        const start = before.to - before.bytes.length;
        return { to: before.to, bytes: before.bytes.subarray(Math.max(0, position - start)) };
      }
      from = before.to;
    }
    return undefined;
  }

  /**
   * Sequence of the first message that goes beyond a position, or of the next one that will be stored; and `from`, where the
   * message before that one ends.
   */
  async #locate(link: NatsLink, shard: number, position: number): Promise<{ seq: number; from: number }> {
    const last = await this.#lastOf(link, this.#names.logStream(shard), this.#names.logSubject(shard));
    let low = 1;
    let high = (last?.seq ?? 0) + 1;
    let from = 0;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const message = await this.#messageFrom(link, shard, middle);
      if (message === undefined || message.to > position) high = middle;
      else {
        low = message.seq + 1;
        from = message.to;
      }
    }
    return { seq: low, from };
  }

  #remember(shard: number, position: number, seq: number): void {
    const places = this.#places[shard]!;
    places.delete(position);
    places.set(position, seq);
    if (places.size > placesMax) places.delete(places.keys().next().value!);
  }

  #gap(shard: number, from: number, found: string): HeddleError {
    return new HeddleError("FEED_GAP", { source: `the stream ${this.#names.logStream(shard)}`, shard, from, found });
  }

  // --- Messages ---

  async #batch(link: NatsLink, shard: number, seq: number, bytesMax: number): Promise<LogMessage[]> {
    const stream = this.#names.logStream(shard);
    const messages = await messagesFrom(link, stream, { seq, batch: batchMessages, max_bytes: bytesMax });
    return messages.map((message) => this.#understood(stream, message));
  }

  async #messageFrom(link: NatsLink, shard: number, seq: number): Promise<LogMessage | undefined> {
    const stream = this.#names.logStream(shard);
    const message = await link.jsm.direct.getMessage(stream, { seq, next_by_subj: this.#names.logSubject(shard) });
    return message === null ? undefined : this.#understood(stream, message);
  }

  #repairAt(link: NatsLink, shard: number, from: number): Promise<LogMessage | undefined> {
    return this.#lastOf(link, this.#names.repairStream, this.#names.repairSubject(shard, from, 1));
  }

  async #lastOf(link: NatsLink, stream: string, subject: string): Promise<LogMessage | undefined> {
    let message: StoredMsg | null;
    try {
      message = await link.jsm.direct.getMessage(stream, { last_by_subj: subject });
    } catch (error) {
      // The shard has no stream as long as it has no records.
      if (isNothing(error)) return undefined;
      throw error;
    }
    return message === null ? undefined : this.#understood(stream, message);
  }

  #understood(stream: string, message: StoredMsg): LogMessage {
    const read = readLogMessage(message);
    if (read === undefined) throw this.#foreign(stream, message.seq);
    return read;
  }

  #foreign(stream: string, seq: number): HeddleError {
    const message = `message ${seq} of the stream ${stream} is none of a log: somebody else publishes there`;
    return new HeddleError("SINK_REFUSED", { sink: this.#sink, message });
  }
}

class Chunk implements FeedChunk {
  readonly shard: number;
  readonly from: number;
  readonly to: number;
  readonly #pieces: readonly Piece[];

  constructor(shard: number, pieces: readonly Piece[]) {
    this.shard = shard;
    this.from = pieces[0]!.to - pieces[0]!.bytes.length;
    this.to = pieces.at(-1)!.to;
    this.#pieces = pieces;
  }

  visit(visitor: Parameters<FeedChunk["visit"]>[0]): void {
    const view = newEntryView();
    for (const { bytes, to } of this.#pieces) visitRecords(bytes, 0, bytes.length, to - bytes.length, view, visitor);
  }
}

/** Puts a record together that came in parts. Those of one that was begun and not ended are dropped. */
class Parts {
  #pieces: Uint8Array[] = [];
  #from = -1;

  get isUnderWay(): boolean {
    return this.#pieces.length > 0;
  }

  /** The whole, once its last part is there. */
  add({ part, parts, from, to, salt, data }: LogMessage): (Piece & { from: number; salt: number }) | undefined {
    if (parts === 1) {
      this.#pieces = [];
      return { from, to, salt, bytes: data };
    }
    if (part === 1 || from !== this.#from) this.#pieces = [];
    this.#from = from;
    // A part without those before it is of no use.
    if (part !== this.#pieces.length + 1) return undefined;
    this.#pieces.push(data);
    if (part < parts) return undefined;
    const bytes = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return { from, to, salt, bytes };
  }
}

// Any of the streams tells; one that is not there yet has no records.
async function shardCountOf({ jsm }: NatsLink, context: string, sink: string): Promise<number> {
  for await (const { config } of jsm.streams.list(namesOf(context).logSubjects)) {
    const { [streamMetadata.version]: version, [streamMetadata.shardCount]: count } = config.metadata ?? {};
    if (version !== messageVersion)
      throw new HeddleError("SINK_REFUSED", {
        sink,
        message: `the stream ${config.name} has layout ${String(version)}, this program knows ${messageVersion}`,
      });
    if (count !== undefined) return Number(count);
  }
  throw new HeddleError("SINK_UNAVAILABLE", {
    sink,
    message: `nothing has been published for the context ${context} yet`,
  });
}
