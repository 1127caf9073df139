// NatsPublisher: sends the log of each shard to JetStream, record by record, for as long as the node runs.
//
// There is no outbox. How far it is stands in the streams themselves: whenever a connection is made, the end of each stream
// is read, held against the log, and what is missing is sent. So it does not matter how long NATS was away, what it lost, or
// where this process died.
//
// N1. What is sent is durable in the log (P2), and each stream has the log's records in order, once, without a gap.
// N2. What is under way is bounded (P8): whoever is slow is sent larger messages, not more of them.
// N3. A stream that is the copy of another log is left as it is, and told (`problems`).
// N4. An entry that was erased is erased there too before `NatsErasures` says so (P6).
// Not promised: that an acknowledged message survives the server's power cut; that is the server's `sync_interval`. What it
// lost is sent again.
import type { HeddleError } from "@heddle/kernel";
import { connectNats, type NatsLink, natsError } from "./connection.ts";
import { EventPublisher, type EventPublisherOptions, eraseEvents } from "./event-publisher.ts";
import type { FilledGaps } from "./filled-gaps.ts";
import { namesOf } from "./names.ts";
import type { NatsErasures } from "./nats-erasures.ts";
import { checkNatsOptions, type NatsOptions, sinkName } from "./nats-options.ts";
import type { RecordSource } from "./record-source.ts";
import { type PublisherCounts, ShardPublisher } from "./shard-publisher.ts";

export interface NatsPublisherOptions {
  readonly context: string;
  readonly nats: NatsOptions;
  readonly source: RecordSource;
  readonly erasures: NatsErasures;
  readonly gaps: FilledGaps;
  /** Besides, one message for each event. */
  readonly events?: Pick<EventPublisherOptions, "source" | "domain" | "json" | "notes"> | undefined;
  /** Told once when something begins to be wrong, and with undefined when all is well again. */
  readonly onProblem?: (problem: HeddleError | undefined) => void;
  /** For tests. */
  readonly connect?: (options: NatsOptions) => Promise<NatsLink>;
  readonly messageBytes?: number;
  readonly ackTimeoutMs?: number;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export interface NatsPublisherStats extends Readonly<PublisherCounts> {
  readonly isConnected: boolean;
  /** Connections that were made. */
  readonly connections: number;
  /** By shard: position behind what is in the stream, and how many bytes of the log are not. */
  readonly published: readonly number[];
  readonly lagBytes: readonly number[];
}

/** Records in one message. Erasing an entity sends each message that has something of it once more. */
const messageBytesDefault = 128 << 10;
/** Of all shards together. */
const bytesUnderWayMax = 16 << 20;
const ackTimeoutMsDefault = 10_000;
/** Pauses between attempts to connect. */
const pauseMsMin = 100;
const pauseMsMax = 5_000;
/** Looks for what nobody called for: a pause that is over, a shard that was opened. */
const tickMs = 500;

export class NatsPublisher {
  readonly #options: NatsPublisherOptions;
  readonly #sink: string;
  readonly #counts: PublisherCounts = { messages: 0, bytes: 0, unacknowledged: 0, erased: 0 };
  readonly #published: number[];
  #shards: ShardPublisher[] = [];
  #events: EventPublisher | undefined;
  #link: NatsLink | undefined;
  #connections = 0;
  /** Of the connection. Each shard has its own. */
  #problem: HeddleError | undefined;
  #told: string | undefined;
  #stopped = false;
  readonly #stopping = Promise.withResolvers<undefined>();
  #running: Promise<void> | undefined;
  #call = Promise.withResolvers<void>();
  #isCalled = false;

  /** Errors: `INVALID_REQUEST` for an address that is none. */
  constructor(options: NatsPublisherOptions) {
    checkNatsOptions(options.nats);
    this.#options = options;
    this.#sink = sinkName(options.nats);
    this.#published = new Array<number>(options.source.shardCount).fill(0);
    options.erasures.onDue = () => this.#wake();
    options.erasures.problemOf = (shard) => this.#problem ?? this.#shards[shard]?.problem;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends at once: what is under way may be stored or not, and is found out at the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopping.resolve(undefined);
    this.#wake();
    await this.#link?.close();
    await this.#running;
    this.#events?.note();
  }

  /** What keeps the streams from following the log: of the connection, or of single shards. */
  get problems(): readonly HeddleError[] {
    if (this.#problem !== undefined) return [this.#problem];
    return [...this.#shards, this.#events].flatMap((part) => part?.problem ?? []);
  }

  /** Whether each event up to the logs' ends has its message. True where there are none. */
  get areEventsDone(): boolean {
    return this.#events?.isDone ?? true;
  }

  get stats(): NatsPublisherStats {
    const { source } = this.#options;
    return {
      ...this.#counts,
      isConnected: this.#link !== undefined,
      connections: this.#connections,
      published: [...this.#published],
      lagBytes: this.#published.map((position, shard) => Math.max(0, source.end(shard) - position)),
    };
  }

  async #run(): Promise<void> {
    let pauseMs = pauseMsMin;
    while (!this.#stopped) {
      try {
        this.#link = await this.#connect();
        if (this.#link === undefined) return;
        this.#connections++;
        this.#problem = undefined;
        const since = performance.now();
        await this.#serve(this.#link).finally(() => {
          // Connections that end at once are not made again at once.
          if (performance.now() - since > pauseMsMax) pauseMs = pauseMsMin;
        });
      } catch (error) {
        this.#problem = natsError(this.#sink, error);
      }
      await this.#link?.close();
      this.#link = undefined;
      // A connection that was closed on purpose is no problem.
      if (this.#stopped) return;
      this.#tell();
      await this.#called(pauseMs, () => this.#stopped);
      pauseMs = Math.min(pauseMsMax, pauseMs * 2);
    }
  }

  // Undefined when it is stopped meanwhile: an attempt may take seconds.
  async #connect(): Promise<NatsLink | undefined> {
    const attempt = (this.#options.connect ?? connectNats)(this.#options.nats);
    const link = await Promise.race([attempt, this.#stopping.promise]);
    if (link === undefined)
      attempt.then(
        (late) => late.close(),
        () => {},
      );
    return link;
  }

  async #serve(link: NatsLink): Promise<void> {
    const { source, context, nats, erasures, gaps, events, messageBytes, ackTimeoutMs, crashPoint } = this.#options;
    const names = namesOf(context);
    link.onLost(() => this.#wake());
    const common = {
      link,
      names,
      sink: this.#sink,
      replicas: nats.replicas ?? 1,
      ackTimeoutMs: ackTimeoutMs ?? ackTimeoutMsDefault,
      now: () => performance.now(),
      wake: () => this.#wake(),
      giveUp: (error: HeddleError) => {
        this.#problem ??= error;
        void link.close();
        this.#wake();
      },
    };
    this.#events = events === undefined ? undefined : new EventPublisher({ ...common, ...events });
    this.#shards = Array.from(
      { length: source.shardCount },
      (_, shard) =>
        new ShardPublisher({
          ...common,
          shard,
          source,
          erasures,
          gaps,
          messageBytes: messageBytes ?? messageBytesDefault,
          crashPoint: crashPoint ?? (() => {}),
          counts: this.#counts,
          eraseEvents: async (lives) => {
            if (this.#events !== undefined) await this.#events.erase(lives);
            else for (const life of lives) await eraseEvents(link, names, life);
          },
        }),
    );
    for (let first = 0; !this.#stopped && !link.isLost; first++) {
      const { mark } = source;
      this.#isCalled = false;
      this.#turn(first);
      this.#events?.turn();
      this.#tell();
      await this.#changed(mark);
    }
    await link.close();
    // Their requests have failed with the connection.
    while (![...this.#shards, this.#events].every((part) => part?.isQuiet ?? true))
      await this.#called(tickMs, () => false);
    this.#problem ??= natsError(this.#sink, new Error("the connection was lost"));
  }

  // Each round begins with another shard, so that none is always first.
  #turn(first: number): void {
    const shards = this.#shards;
    let room = bytesUnderWayMax;
    for (const { bytesUnderWay } of shards) room -= bytesUnderWay;
    for (let i = 0; i < shards.length; i++) {
      const shard = shards[(first + i) % shards.length]!;
      const before = shard.bytesUnderWay;
      // No shard takes all of it, and one that has nothing under way always gets its turn.
      const share = Math.min(room, bytesUnderWayMax / 2 - before);
      shard.turn(Math.max(share, before === 0 ? 1 : 0));
      room -= shard.bytesUnderWay - before;
      this.#published[shard.shard] = shard.published;
    }
  }

  // One wait for the log at a time; a call in between leaves it standing for the next round.
  #logWait: Promise<void> | undefined;
  async #changed(mark: number): Promise<void> {
    this.#logWait ??= this.#options.source.changedSince(mark, tickMs).then(() => {
      this.#logWait = undefined;
      this.#wake();
    });
    await this.#called(tickMs * 2, () => this.#isCalled);
  }

  async #called(timeoutMs: number, isOver: () => boolean): Promise<void> {
    if (isOver()) return;
    this.#call = Promise.withResolvers();
    const timer = setTimeout(this.#call.resolve, timeoutMs);
    await this.#call.promise;
    clearTimeout(timer);
  }

  #wake(): void {
    this.#isCalled = true;
    this.#call.resolve();
  }

  #tell(): void {
    const [problem] = this.problems;
    if (problem?.message === this.#told) return;
    this.#told = problem?.message;
    this.#options.onProblem?.(problem);
  }
}
