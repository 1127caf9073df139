// EventPublisher: one message for each event, on subjects that people can read, for consumers who know nothing of logs.
//
// All shards go to one stream, over one line: each message says which one it expects to be the last, as those of logs do. How
// far each shard is stands in the messages themselves; a note of ours only says from where on they have to be looked at.
//
// V1. Of each entity every event once, in order. V2. The note may be lost or too old: then more is looked at, nothing is lost.
// V3. What is sent was not erased; what was erased since is taken out (P6).
// Not promised: pace. Each event is a write of the server, and a sync if it writes through before it acknowledges.
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import type { FeedEvent } from "@heddle/protocol/internal";
import { JetStreamApiCodes, JetStreamApiError, type PubAck } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { FeedDecoder } from "../feed-decoder.ts";
import type { FeedChunk } from "../feed-source.ts";
import type { ReaderState } from "../reader-state.ts";
import { isNothing, messagesFrom } from "./batch.ts";
import { isStoreFull, isUnanswered, type NatsLink, natsError } from "./connection.ts";
import { eventHeaders, messageVersion, type Names, numberOf, saltText, streamMetadata } from "./names.ts";
import type { ErasedLife } from "./nats-erasures.ts";
import type { RecordSource } from "./record-source.ts";
import { checkSettings, settingsOf, streamInfo } from "./stream-settings.ts";

/** The log's records, and the same as chunks of entries. */
export interface EventSource extends RecordSource {
  read(shard: number, from: number, bytesMax: number): FeedChunk | undefined;
}

export interface EventPublisherOptions {
  readonly link: NatsLink;
  readonly names: Names;
  readonly sink: string;
  readonly source: EventSource;
  readonly domain: CompiledContext;
  /** The body of a message. */
  readonly json: (event: FeedEvent) => string;
  readonly notes: EventNotes;
  readonly replicas: number;
  readonly ackTimeoutMs: number;
  readonly now: () => number;
  readonly wake: () => void;
  readonly giveUp: (error: HeddleError) => void;
}

/** Behind the last event of a shard that is in the stream. */
interface Place {
  /** Of the record to read from: a record that was begun, or the one behind those that are done. */
  record: number;
  /** Entry and index of the last event that was sent of that record; -1 for none. */
  position: number;
  index: number;
}

interface Waiting {
  readonly subject: string;
  readonly body: string;
  readonly record: number;
  readonly position: number;
  readonly index: number;
  readonly entity: string;
  readonly seq: number;
}

interface Note {
  /** When the stream was made, as the server has it: another one has another time. */
  readonly created: string;
  readonly seq: number;
  readonly places: readonly Place[];
}

interface Erasing {
  readonly lives: readonly ErasedLife[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const messagesUnderWayMax = 512;
/** A message is sent whole if there is any room. */
const bytesUnderWayMax = 4 << 20;
/** Room for subject and headers in what the server takes as one message. */
const headerBytesMax = 4 << 10;
const chunkBytes = 64 << 10;
const scanMessages = 1_000;
const scanBytes = 4 << 20;
/** A note is written again after so many messages. */
const noteEvery = 2_000;
const refusedPauseMs = 5_000;
const failedPauseMs = 500;

type State = "closed" | "opening" | "sending" | "erasing" | "failed";

export class EventPublisher {
  readonly #options: EventPublisherOptions;
  readonly #decoder: FeedDecoder;
  readonly #stream: string;
  #state: State = "closed";
  #notBefore = 0;
  #created = "";
  #lastSeq = 0;
  #idSuffix = "";
  /** By shard, behind what was sent; and behind what was acknowledged. */
  #sent: Place[] = [];
  #stored: Place[] = [];
  #storedSeq = 0;
  #notedSeq = 0;
  /** Of one shard at a time, what was read and not sent yet. */
  #waiting: Waiting[] = [];
  #next = 0;
  #chunkShard = 0;
  #chunkTo = 0;
  #underWay = 0;
  #bytesUnderWay = 0;
  #erasures: Erasing[] = [];
  problem: HeddleError | undefined;

  constructor(options: EventPublisherOptions) {
    this.#options = options;
    this.#decoder = new FeedDecoder(options.domain);
    this.#stream = options.names.eventStream;
  }

  get isQuiet(): boolean {
    return this.#underWay === 0 && this.#state !== "opening" && this.#state !== "erasing";
  }

  /** Whether all events up to the logs' ends are in the stream. */
  get isDone(): boolean {
    const { source } = this.#options;
    if (this.#state !== "sending" || this.#underWay > 0) return false;
    return this.#sent.every(({ record }, shard) => record === source.end(shard));
  }

  /** Takes the messages of lives that have ended out of the stream. Resolves when they are gone. */
  erase(lives: readonly ErasedLife[]): Promise<void> {
    const { link, wake } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.problem !== undefined) reject(this.problem);
    else this.#erasures.push({ lives, resolve, reject });
    wake();
    const forget = link.onLost(() => reject(new Error("the connection was lost")));
    return promise.finally(forget);
  }

  turn(): void {
    const { now, source } = this.#options;
    switch (this.#state) {
      case "closed":
        for (let shard = 0; shard < source.shardCount; shard++) {
          if (now() >= this.#notBefore && source.end(shard) > 0) {
            void this.#open();
            return;
          }
        }
        return;
      case "failed":
        if (this.#underWay === 0) this.#state = "closed";
        return;
      case "sending":
        if (this.#erasures.length === 0) this.#send();
        else if (this.#underWay === 0) void this.#erase();
        return;
      default:
    }
  }

  // --- Where the stream ends ---

  async #open(): Promise<void> {
    const { link, sink, names, replicas, notes, source } = this.#options;
    this.#state = "opening";
    try {
      const own = { subjects: [names.eventSubjects], metadata: { [streamMetadata.version]: messageVersion } };
      let info = await streamInfo(link, this.#stream);
      if (info === undefined)
        info = await link.jsm.streams.add({ ...settingsOf(this.#stream, own), num_replicas: replicas });
      else checkSettings(sink, info.config, own);
      this.#created = info.created;
      this.#lastSeq = info.state.last_seq;
      const note = notes.read();
      const isOfThis =
        note?.created === info.created && note.seq <= this.#lastSeq && note.places.length === source.shardCount;
      const none = { record: 0, position: -1, index: -1 };
      const places = isOfThis ? note.places : Array.from({ length: source.shardCount }, () => none);
      this.#sent = places.map((place) => ({ ...place }));
      await this.#scan(isOfThis ? note.seq + 1 : 1);
      this.#stored = this.#sent.map((place) => ({ ...place }));
      this.#storedSeq = this.#lastSeq;
      this.#notedSeq = isOfThis ? note.seq : 0;
      this.#waiting = [];
      this.#next = 0;
      this.problem = undefined;
      this.#state = "sending";
    } catch (error) {
      this.#fail(error);
    }
    this.#options.wake();
  }

  async #scan(from: number): Promise<void> {
    const { link, source } = this.#options;
    for (let seq = from; seq <= this.#lastSeq; ) {
      const messages = await messagesFrom(link, this.#stream, { seq, batch: scanMessages, max_bytes: scanBytes });
      if (messages.length === 0) return;
      for (const { header } of messages) {
        const [shard, record, position, index] = [
          eventHeaders.shard,
          eventHeaders.record,
          eventHeaders.position,
          eventHeaders.index,
        ].map((name) => numberOf(header.get(name)));
        if (shard === undefined || record === undefined || position === undefined || index === undefined)
          throw this.#refuses(`there are messages in the stream ${this.#stream} that are none of a log`);
        const place = this.#sent[shard];
        if (place === undefined || header.get(eventHeaders.log) !== logOf(source, shard))
          throw this.#refuses(
            `the stream ${this.#stream} has events of another log: another data folder publishes there`,
          );
        if (position > place.position || (position === place.position && index > place.index))
          Object.assign(place, { record: Math.max(place.record, record), position, index });
      }
      seq = messages.at(-1)!.seq + 1;
    }
  }

  // --- Sending ---

  #send(): void {
    try {
      while (this.#underWay < messagesUnderWayMax && this.#bytesUnderWay < bytesUnderWayMax) {
        if (this.#next === this.#waiting.length && !this.#readOn()) return;
        const waiting = this.#waiting[this.#next];
        if (waiting !== undefined) this.#sendMessage(waiting);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  // Reads the next chunk of some shard. False when there is nothing.
  #readOn(): boolean {
    const { source, names, json } = this.#options;
    for (let i = 1; i <= source.shardCount; i++) {
      const shard = (this.#chunkShard + i) % source.shardCount;
      const place = this.#sent[shard]!;
      const chunk = place.record < source.end(shard) ? source.read(shard, place.record, chunkBytes) : undefined;
      if (chunk === undefined) continue;
      this.#chunkShard = shard;
      this.#chunkTo = chunk.to;
      this.#waiting = [];
      this.#next = 0;
      this.#decoder.visit(chunk, {
        events: (entry) => {
          for (let index = 0; index < entry.count; index++) {
            const isSent =
              entry.position < place.position || (entry.position === place.position && index <= place.index);
            if (isSent) continue;
            const event = entry.event(index);
            const { entity, seq, position } = event;
            const subject = names.eventSubject(entity, event.type);
            // As text, because the bytes that it was read from are used again.
            this.#waiting.push({ subject, body: json(event), record: entry.record, position, index, entity, seq });
          }
        },
      });
      if (this.#waiting.length === 0) this.#endChunk();
      return true;
    }
    return false;
  }

  // Nothing in it is to be sent any more.
  #endChunk(): void {
    Object.assign(this.#sent[this.#chunkShard]!, { record: this.#chunkTo });
    if (this.#underWay === 0) this.#stored[this.#chunkShard] = { ...this.#sent[this.#chunkShard]! };
  }

  #sendMessage({ subject, body, record, position, index, entity, seq }: Waiting): void {
    const { link, source, ackTimeoutMs } = this.#options;
    const shard = this.#chunkShard;
    const bytes = Buffer.byteLength(body);
    if (bytes + headerBytesMax > link.payloadBytesMax) {
      throw this.#refuses(
        `event ${seq} of ${entity} has ${bytes} bytes as JSON, more than a message may have: raise max_payload, now ${link.payloadBytesMax}`,
      );
    }
    const set = headers();
    set.set(eventHeaders.shard, String(shard));
    set.set(eventHeaders.log, logOf(source, shard));
    set.set(eventHeaders.record, String(record));
    set.set(eventHeaders.position, String(position));
    set.set(eventHeaders.index, String(index));
    set.set(eventHeaders.entity, encodeURI(entity));
    set.set(eventHeaders.seq, String(seq));
    const lastSequence = this.#lastSeq++;
    const ack = link.js.publish(subject, body, {
      msgID: `${encodeURI(entity)}:${seq}${this.#idSuffix}`,
      headers: set,
      expect: { streamName: this.#stream, lastSequence },
      timeout: ackTimeoutMs,
    });
    this.#underWay++;
    this.#bytesUnderWay += bytes;
    this.#next++;
    const place = this.#sent[shard]!;
    Object.assign(place, { record, position, index });
    if (this.#next === this.#waiting.length) this.#endChunk();
    const sent = { ...place };
    ack.then(
      (stored) => {
        this.#bytesUnderWay -= bytes;
        this.#acknowledged(stored, lastSequence, shard, sent);
      },
      (error: unknown) => {
        this.#bytesUnderWay -= bytes;
        this.#underWay--;
        if (this.#state !== "failed") this.#fail(error);
        this.#options.wake();
      },
    );
  }

  #acknowledged({ seq, duplicate }: PubAck, lastSequence: number, shard: number, place: Place): void {
    this.#underWay--;
    if (duplicate || seq !== lastSequence + 1) {
      this.#idSuffix = `@${lastSequence}`;
      this.#state = "failed";
    } else if (this.#state === "sending") {
      this.#stored[shard] = place;
      this.#storedSeq = seq;
      if (this.#storedSeq - this.#notedSeq >= noteEvery) this.note();
    }
    this.#options.wake();
  }

  /** Writes down how far the stream is, so that the next start need not look through all of it. */
  note(): void {
    if (this.#created === "" || this.#storedSeq === this.#notedSeq) return;
    this.#notedSeq = this.#storedSeq;
    this.#options.notes.write({ created: this.#created, seq: this.#storedSeq, places: this.#stored });
  }

  // --- Erasing ---

  async #erase(): Promise<void> {
    const { link, names } = this.#options;
    this.#state = "erasing";
    // Read before the log was overwritten.
    this.#waiting = [];
    this.#next = 0;
    try {
      for (let erasing = this.#erasures[0]; erasing !== undefined; erasing = this.#erasures[0]) {
        for (const life of erasing.lives) await eraseEvents(link, names, life);
        erasing.resolve();
        this.#erasures.shift();
      }
      this.#state = "sending";
    } catch (error) {
      this.#fail(error);
    }
    this.#options.wake();
  }

  #fail(cause: unknown): void {
    const { sink, now, giveUp } = this.#options;
    const error = natsError(sink, cause);
    this.#state = "failed";
    for (const { reject } of this.#erasures.splice(0)) reject(error);
    if (error.code === "SINK_UNAVAILABLE") {
      giveUp(error);
      return;
    }
    const anotherWasLast =
      cause instanceof JetStreamApiError && cause.code === JetStreamApiCodes.StreamWrongLastSequence;
    const isShort = isStoreFull(cause) || anotherWasLast || isUnanswered(cause);
    this.#notBefore = now() + (isShort ? failedPauseMs : refusedPauseMs);
    if (!anotherWasLast) this.problem = error;
  }

  #refuses(message: string): HeddleError {
    return new HeddleError("SINK_REFUSED", { sink: this.#options.sink, message });
  }
}

/** Overwrites the messages of a life that has ended, whether events are published now or were at some time before. */
export async function eraseEvents({ jsm }: NatsLink, names: Names, life: ErasedLife): Promise<void> {
  const filter = names.eventsOfEntity(life.entity);
  for (let seq = 1; ; ) {
    const message = await jsm.direct.getMessage(names.eventStream, { seq, next_by_subj: filter }).catch((error) => {
      if (isNothing(error)) return null;
      throw error;
    });
    if (message === null) return;
    seq = message.seq + 1;
    const position = numberOf(message.header.get(eventHeaders.position)) ?? 0;
    const isOfLife = message.header.get(eventHeaders.entity) === encodeURI(life.entity) && position < life.position;
    if (isOfLife) await jsm.streams.deleteMessage(names.eventStream, message.seq, true);
  }
}

function logOf(source: RecordSource, shard: number): string {
  const first = source.readRecords(shard, 0, 1);
  return first === undefined ? "" : saltText(first.salt);
}

/** The note of how far the stream is, in what readers keep. */
export class EventNotes {
  readonly #state: ReaderState;

  constructor(state: ReaderState) {
    this.#state = state;
    state.tables("nats-events", ["CREATE TABLE nats_events (id INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT"]);
  }

  read(): Note | undefined {
    const row = this.#state.database.prepare("SELECT note FROM nats_events WHERE id = 1").get();
    return row === undefined ? undefined : (JSON.parse(String(row["note"])) as Note);
  }

  write(note: Note): void {
    this.#state.database
      .prepare("INSERT INTO nats_events VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET note = excluded.note")
      .run(JSON.stringify(note));
  }
}
