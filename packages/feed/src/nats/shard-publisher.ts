// ShardPublisher: sends one shard's log to its stream, over one connection, and erases there what the log has erased.
//
// It sends from where the stream ends, several messages at a time; each says which one it expects to be the last, so that a
// message that gets lost takes all behind it with it (S1, and no gap and no other order is possible). After any failure it
// waits until nothing is under way and begins anew: with reading the stream.
import type { HeddleError } from "@heddle/kernel";
import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { isStoreFull, isUnanswered, natsError } from "./connection.ts";
import { LogStream, type LogStreamOptions, StoredOtherwise, type Tip } from "./log-stream.ts";
import type { ErasedLife, NatsErasures } from "./nats-erasures.ts";
import { abortedPositions, wholeRecords } from "./records.ts";

/**
 * `closed`: the stream is to be read before anything is sent. `opening`: that is under way. `sending`: it follows the log.
 * `erasing`: nothing is sent meanwhile. `failed`: waits for what is under way, and for the time to begin anew.
 */
type State = "closed" | "opening" | "sending" | "erasing" | "failed";

export interface ShardPublisherOptions extends LogStreamOptions {
  readonly erasures: NatsErasures;
  /** Erases the messages of single events, if there are any. Resolves when they are gone. */
  readonly eraseEvents: (lives: readonly ErasedLife[]) => Promise<void>;
  /** Counts over all connections. */
  readonly counts: PublisherCounts;
  readonly now: () => number;
  /** There may be something to do: to be turned soon. */
  readonly wake: () => void;
  /** The connection is no longer to be trusted. */
  readonly giveUp: (error: HeddleError) => void;
}

export interface PublisherCounts {
  messages: number;
  bytes: number;
  /** Messages that were sent and not acknowledged: most of them are sent again. */
  unacknowledged: number;
  erased: number;
}

/** After a refusal the stream is looked at again after so long: somebody has to do something first. */
const refusedPauseMs = 5_000;
/** Somebody else wrote to the stream, or it has no room. */
const failedPauseMs = 500;
/** JetStream's number for "another message is the last one, by its id". */
const wrongLastMessageId = 10070;
/** Also where the server's acknowledgements are slow, so that there is a limit to what is sent anew. */
const messagesUnderWayMax = 256;

export class ShardPublisher {
  readonly shard: number;
  readonly #options: ShardPublisherOptions;
  readonly #stream: LogStream;
  #state: State = "closed";
  #notBefore = 0;
  #eraseNotBefore = 0;
  /** Behind what was sent. */
  #sent: Tip = { position: 0, lastSeq: 0 };
  #messagesUnderWay = 0;
  bytesUnderWay = 0;
  /** Position behind the last record that is known to be in the stream. */
  published = 0;
  #problem: HeddleError | undefined;
  #eraseProblem: HeddleError | undefined;

  constructor(options: ShardPublisherOptions) {
    this.#options = options;
    this.shard = options.shard;
    this.#stream = new LogStream(options);
  }

  /** What keeps the stream from following the log, or erased entries from being gone. */
  get problem(): HeddleError | undefined {
    return this.#problem ?? this.#eraseProblem;
  }

  /** Nothing of this shard is under way. */
  get isQuiet(): boolean {
    return this.#messagesUnderWay === 0 && this.#state !== "opening" && this.#state !== "erasing";
  }

  /** Does what there is to do now. `room`: bytes that may be sent; a message is sent whole if there is any. */
  turn(room: number): void {
    const { source, erasures, now } = this.#options;
    switch (this.#state) {
      case "closed":
        if (now() >= this.#notBefore && source.end(this.shard) > 0) void this.#open();
        return;
      case "opening":
      case "erasing":
        return;
      case "failed":
        if (this.#messagesUnderWay === 0) this.#state = "closed";
        return;
      case "sending":
        if (!erasures.isDue(this.shard) || now() < this.#eraseNotBefore) this.#send(room);
        else if (this.#messagesUnderWay === 0) void this.#erase();
    }
  }

  async #open(): Promise<void> {
    this.#state = "opening";
    try {
      this.#sent = await this.#stream.open();
      this.published = this.#sent.position;
      this.#problem = undefined;
      this.#state = "sending";
    } catch (error) {
      this.#fail(error);
    }
    this.#options.wake();
  }

  #send(room: number): void {
    const { source, messageBytes, shard, erasures } = this.#options;
    const bytesMax = Math.min(messageBytes, this.#stream.partBytes);
    let left = room;
    while (left > 0 && this.#messagesUnderWay < messagesUnderWayMax && this.#sent.position < source.end(shard)) {
      let bytes: Uint8Array;
      let facts: { from: number; to: number; salt: number };
      try {
        const run = source.readRecords(shard, this.#sent.position, bytesMax);
        if (run === undefined) return;
        // A copy, because the client writes it to the socket only when this turn is over.
        bytes = run.bytes.slice(0, wholeRecords(run.bytes, bytesMax, Number.POSITIVE_INFINITY));
        facts = { from: run.from, to: run.to - run.bytes.length + bytes.length, salt: run.salt };
        const aborted = abortedPositions(bytes);
        if (aborted.length > 0) erasures.buryAborted(shard, facts.from, aborted);
      } catch (error) {
        this.#fail(error);
        return;
      }
      this.#sendMessage(bytes, facts);
      left -= bytes.length;
    }
  }

  #sendMessage(bytes: Uint8Array, facts: { from: number; to: number; salt: number }): void {
    const { counts, crashPoint } = this.#options;
    const acks = this.#stream.send(bytes, facts, this.#sent);
    const share = bytes.length / acks.length;
    this.#sent = { position: facts.to, lastSeq: this.#sent.lastSeq + acks.length };
    this.#messagesUnderWay += acks.length;
    this.bytesUnderWay += bytes.length;
    crashPoint("publisher:sent");
    for (const [index, ack] of acks.entries()) {
      const settled = () => {
        this.#messagesUnderWay--;
        this.bytesUnderWay -= share;
      };
      ack.then(
        () => {
          settled();
          counts.messages++;
          counts.bytes += share;
          // Once one of them has failed, what those behind it were told means nothing.
          if (index === acks.length - 1 && this.#state === "sending") this.published = facts.to;
          crashPoint("publisher:acknowledged");
          this.#options.wake();
        },
        (error: unknown) => {
          settled();
          counts.unacknowledged++;
          if (this.#state !== "failed") this.#fail(error);
          this.#options.wake();
        },
      );
    }
  }

  async #erase(): Promise<void> {
    const { erasures, counts, eraseEvents, sink } = this.#options;
    this.#state = "erasing";
    try {
      for (let task = erasures.next(this.shard); task !== undefined; task = erasures.next(this.shard)) {
        const isClean = await this.#stream.erase(task.positions, this.published);
        if (!isClean) {
          // Sending goes on meanwhile.
          this.#eraseNotBefore = this.#options.now() + failedPauseMs;
          break;
        }
        try {
          await eraseEvents(task.lives);
        } catch (error) {
          // Their stream is another one: what becomes of it does not keep this one from following its log.
          this.#eraseNotBefore = this.#options.now() + refusedPauseMs;
          this.#eraseProblem = natsError(sink, error);
          break;
        }
        counts.erased += task.positions.length;
        erasures.done(task);
        this.#eraseProblem = undefined;
      }
      this.#problem = undefined;
      this.#state = "sending";
    } catch (error) {
      this.#fail(error);
    }
    this.#options.wake();
  }

  #fail(cause: unknown): void {
    const { now, sink, giveUp } = this.#options;
    const error = natsError(sink, cause);
    this.#state = "failed";
    if (cause instanceof StoredOtherwise) return;
    const anotherWasLast =
      cause instanceof JetStreamApiError &&
      (cause.code === JetStreamApiCodes.StreamWrongLastSequence || cause.code === wrongLastMessageId);
    if (error.code === "SINK_UNAVAILABLE") {
      giveUp(error);
      return;
    }
    this.#notBefore =
      now() + (isStoreFull(cause) || anotherWasLast || isUnanswered(cause) ? failedPauseMs : refusedPauseMs);
    // What follows a message that was refused is refused because of it; the first one said why.
    if (!anotherWasLast) this.#problem = error;
  }
}
