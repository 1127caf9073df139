// LogStream: the stream that holds a copy of one shard's log, seen by its publisher.
//
// Messages hold whole records, exactly as the log has them, one behind the other. Where entries were erased since, the message
// is gone and a repair has taken its place: the same records, as the log has them now, in the stream of repairs (P6).
//
// S1. Nothing is taken for granted: where the stream ends, what it holds there, and what is missing in between, is read from it.
//     Of messages that are gone it is known, for each, which repairs have their records; else the log has, and gives them.
// S2. A stream that is not this log's copy is not touched: `SINK_REFUSED`.
// S3. A repair is stored before the message that it stands for is overwritten. So at each moment there is one of them.
// Not promised: anything while somebody else writes to the stream.
import { HeddleError, isHeddleError } from "@heddle/kernel";
import { JetStreamApiCodes, JetStreamApiError, type StoredMsg, type StreamInfo } from "@nats-io/jetstream";
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import type { NatsLink } from "./connection.ts";
import type { FilledGap, FilledGaps, RepairPlace } from "./filled-gaps.ts";
import {
  type LogMessage,
  logHeaders,
  messageVersion,
  type Names,
  readLogMessage,
  saltText,
  streamMetadata,
} from "./names.ts";
import type { RecordSource } from "./record-source.ts";
import { areSameRecords, isErasedAt, positionOfRecord, wholeRecords } from "./records.ts";
import { checkSettings, settingsOf, streamInfo } from "./stream-settings.ts";

/** How far the stream is. */
export interface Tip {
  /** Position behind the last record that the stream has whole. */
  readonly position: number;
  /** Sequence of the stream's last message. */
  readonly lastSeq: number;
}

/** What a place of the log is published as. */
interface Place {
  readonly from: number;
  readonly to: number;
  /** In the log's stream; none when a repair has taken their place. */
  readonly seqs: readonly number[];
}

export interface LogStreamOptions {
  readonly link: NatsLink;
  readonly names: Names;
  readonly shard: number;
  readonly source: RecordSource;
  readonly gaps: FilledGaps;
  readonly sink: string;
  readonly replicas: number;
  /** Of records in one message. */
  readonly messageBytes: number;
  /** A server that has not said so by then may have stored it or not: what it holds is read again. */
  readonly ackTimeoutMs: number;
  readonly crashPoint: (name: string) => void;
}

/** A message was acknowledged, but not as the next one of the stream. */
export class StoredOtherwise extends Error {}

/** Room for subject and headers in what the server takes as one message. */
const headerBytesMax = 1 << 10;
/** Larger records are sent in parts, although a server may take more at once: so that no message is hard to hold. */
const partBytesMax = 1 << 20;

export class LogStream {
  readonly #options: LogStreamOptions;
  readonly #name: string;
  readonly #subject: string;
  #idSuffix = "";
  /** When it was made: which one of this name it is. */
  #created = "";
  /** Id of the message that was sent last over this connection. */
  #lastId: string | undefined;

  constructor(options: LogStreamOptions) {
    this.#options = options;
    this.#name = options.names.logStream(options.shard);
    this.#subject = options.names.logSubject(options.shard);
  }

  /** Bytes of records that one message takes at most. */
  get partBytes(): number {
    return Math.min(partBytesMax, this.#options.link.payloadBytesMax - headerBytesMax);
  }

  /**
   * Makes the stream if it is missing, fills what is missing in its middle, and says how far it is. To be called while the
   * log has records and nothing is under way. Errors: `SINK_REFUSED` (S2); `LOG_DAMAGED`; what the client throws.
   */
  async open(): Promise<Tip> {
    const { link, sink, names, shard } = this.#options;
    this.#lastId = undefined;
    await this.#openRepairs();
    // A server that is just starting may say of a stream that it has none, and then not make it anew but give what was there.
    const info = (await streamInfo(link, this.#name)) ?? (await this.#create());
    this.#created = info.created;
    checkSettings(sink, info.config, { subjects: [this.#subject], metadata: this.#metadata() });
    if (info.state.last_seq === 0) {
      // Those of the stream that was: they are overwritten, because the log will erase entries that nobody looks for in them.
      await this.#eraseAll(names.repairStream, names.repairsOfShard(shard));
      return { position: 0, lastSeq: 0 };
    }
    const tip = await this.#tip(info);
    await this.#fillGaps(info);
    return tip;
  }

  /** Sends whole records, as one message, or in parts. Resolves, for each message, with the sequence it got. */
  send(bytes: Uint8Array, facts: { from: number; to: number; salt: number }, tip: Tip): Promise<unknown>[] {
    const { link, shard } = this.#options;
    const { partBytes } = this;
    const parts = Math.ceil(bytes.length / partBytes);
    const acks = [];
    for (let part = 1; part <= parts; part++) {
      const lastSequence = tip.lastSeq + part - 1;
      // Parts that were begun before a crash are begun anew, and must not be taken for the ones that were stored then.
      const suffix = parts === 1 ? this.#idSuffix : `:${part}/${parts}@${tip.lastSeq}`;
      const msgID = `${shard}:${facts.from}-${facts.to}${suffix}`;
      // What a connection before had sent may arrive late, between messages that are cut elsewhere: a sequence fits by chance then,
      // and the id of the message that it comes behind does not.
      const before = this.#lastId === undefined ? {} : { lastMsgID: this.#lastId };
      const ack = link.js.publish(this.#subject, bytes.subarray((part - 1) * partBytes, part * partBytes), {
        msgID,
        headers: headersOf(facts, part, parts),
        expect: { streamName: this.#name, lastSequence, ...before },
        timeout: this.#options.ackTimeoutMs,
      });
      this.#lastId = msgID;
      acks.push(
        ack.then(({ seq, duplicate }) => {
          if (!duplicate && seq === lastSequence + 1) return;
          // Stored by a connection before, or purged since: a server knows an id for some minutes after it has the message no
          // more. What it holds has to be read again, and what is then missing is sent under another id.
          this.#idSuffix = `@${lastSequence}`;
          throw new StoredOtherwise();
        }),
      );
    }
    return acks;
  }

  /**
   * Erases entries of records that were published: a message that has some is replaced by a repair, from the log as it is now.
   * Positions ascend. False when the log itself still has one of them: then nothing was done about that one and those behind.
   */
  async erase(positions: readonly number[], published: number): Promise<boolean> {
    const filled: FilledGap[] = [];
    try {
      let after = 0;
      for (let next = 0; next < positions.length; ) {
        const position = positions[next]!;
        if (position >= published) break;
        const place = await this.#locate(position, after);
        if (place === undefined) {
          next++;
          continue;
        }
        const records = this.#read(place.from, place.to);
        for (; next < positions.length && positions[next]! < place.to; next++)
          if (!isErasedAt(records.bytes, positions[next]!)) return false;
        const repair = await this.#repair(place, records);
        after = place.seqs.at(-1) ?? after;
        if (repair !== undefined && place.seqs.length > 0)
          filled.push({ first: place.seqs[0]!, last: after, repairs: [repair] });
      }
      return true;
    } finally {
      this.#options.gaps.add(this.#options.shard, this.#created, filled);
    }
  }

  // The stream ends with a message, or with messages that repairs have taken the place of.
  async #tip(info: StreamInfo): Promise<Tip> {
    const { shard, source } = this.#options;
    const lastSeq = info.state.last_seq;
    const last = await this.#lastOf(this.#name, this.#subject);
    let position = 0;
    if (last !== undefined) {
      position = last.part === last.parts ? last.to : last.from;
      const end = source.end(shard);
      if (last.to > end) {
        throw this.#refuses(
          `the stream ${this.#name} reaches to position ${last.to}, the log to ${end}: it is a copy of another log`,
        );
      }
      if (!this.#isCopy(last)) {
        throw this.#refuses(
          `the stream ${this.#name} has other records at position ${last.from} than the log: it is a copy of another log`,
        );
      }
    }
    for (let repair: LogMessage | undefined; ; position = repair.to) {
      repair = await this.#wholeRepairAt(position);
      if (repair === undefined) return { position, lastSeq };
    }
  }

  #isCopy(message: LogMessage): boolean {
    let records: { salt: number; bytes: Uint8Array };
    try {
      records = this.#read(message.from, message.to);
    } catch (error) {
      // No record of this log begins there.
      if (isHeddleError(error, "LOG_DAMAGED")) return false;
      throw error;
    }
    if (records.salt !== message.salt) return false;
    return message.parts > 1 || areSameRecords(message.data, records.bytes);
  }

  #create(): Promise<StreamInfo> {
    const { link, names, shard, replicas } = this.#options;
    return link.jsm.streams.add({
      ...settingsOf(this.#name, { subjects: [this.#subject], metadata: this.#metadata() }),
      num_replicas: replicas,
      republish: { src: this.#subject, dest: names.storedSubject(shard), headers_only: true },
    });
  }

  async #openRepairs(): Promise<void> {
    const { link, names, replicas, sink } = this.#options;
    const wanted = { subjects: [names.repairSubjects], metadata: { [streamMetadata.version]: messageVersion } };
    const info = await streamInfo(link, names.repairStream);
    if (info !== undefined) checkSettings(sink, info.config, wanted);
    else await link.jsm.streams.add({ ...settingsOf(names.repairStream, wanted), num_replicas: replicas });
  }

  #metadata(): Record<string, string> {
    const { source, shard } = this.#options;
    const first = source.readRecords(shard, 0, 1);
    if (first === undefined) throw new Error("a stream is opened for a log that has records");
    return {
      [streamMetadata.version]: messageVersion,
      [streamMetadata.log]: saltText(first.salt),
      [streamMetadata.shardCount]: String(source.shardCount),
    };
  }

  // Messages that are gone and have no repair were lost by the server, or deleted by somebody. Behind the last message there is
  // nothing to fill: what has no repair there is sent.
  async #fillGaps(info: StreamInfo): Promise<void> {
    const { link, shard, gaps } = this.#options;
    const known = gaps.of(shard, this.#created);
    if (info.state.messages === 0 || info.state.last_seq === info.state.messages) {
      if (known.length > 0) gaps.replace(shard, this.#created, []);
      return;
    }
    const { state } = await link.jsm.streams.info(this.#name, { deleted_details: true });
    const repairs = await this.#repairSubjects();
    const runs = runsOf(state.first_seq, state.deleted ?? []);
    // Of messages that are there again, and of repairs that are not, nothing is known.
    const holds = known.filter(
      (gap) => isWithin(gap, runs) && gap.repairs.every((repair) => this.#has(repairs, repair)),
    );
    const kept: FilledGap[] = [];
    const open: Run[] = [];
    let next = 0;
    for (const run of runs) {
      const from = next;
      let covered = run.first;
      for (; next < holds.length && holds[next]!.first <= run.last; next++)
        if (holds[next]!.first <= covered) covered = Math.max(covered, holds[next]!.last + 1);
      if (covered > run.last) kept.push(...holds.slice(from, next));
      else open.push(run);
    }
    // Before anything is filled: a repair may be another one from then on, and stand for less.
    if (kept.length < known.length) gaps.replace(shard, this.#created, kept);
    const filled: FilledGap[] = [];
    try {
      for (const { first, last } of open) {
        const places = await this.#fillGap(first - 1, last + 1);
        if (places !== undefined) filled.push({ first, last, repairs: places });
      }
    } finally {
      gaps.add(shard, this.#created, filled);
    }
  }

  async #repairSubjects(): Promise<ReadonlySet<string>> {
    const { link, names, shard } = this.#options;
    const filter = { subjects_filter: names.repairsOfShard(shard) };
    const { state } = await link.jsm.streams.info(names.repairStream, filter);
    return new Set(Object.keys(state.subjects ?? {}));
  }

  #has(subjects: ReadonlySet<string>, { from, parts }: RepairPlace): boolean {
    const { names, shard } = this.#options;
    for (let part = 1; part <= parts; part++) if (!subjects.has(names.repairSubject(shard, from, part))) return false;
    return true;
  }

  // From the message `before` (0: from the log's beginning) to the message `behind`: the repairs that hold what lies between.
  // Undefined where there is no message behind.
  async #fillGap(before: number, behind: number): Promise<RepairPlace[] | undefined> {
    const last = before === 0 ? undefined : await this.#messageFrom(before);
    const next = await this.#messageFrom(behind);
    if (next === undefined) return undefined;
    const repairs: RepairPlace[] = [];
    // Of a record that was begun again behind the gap nothing is missing. Of others each part is needed.
    const to = next.part > 1 ? next.to : next.from;
    for (let position = last === undefined ? 0 : last.part < last.parts ? last.from : last.to; position < to; ) {
      const repair = await this.#wholeRepairAt(position);
      if (repair !== undefined) {
        repairs.push({ from: position, parts: repair.parts });
        position = repair.to;
      } else {
        const records = this.#read(position, to, this.#options.messageBytes);
        repairs.push({ from: position, parts: await this.#publishRepair(records) });
        position = records.to;
      }
    }
    return repairs;
  }

  // Records of the log from a position on, up to another one, as one message would hold them.
  #read(from: number, to: number, bytesMax = to - from): { from: number; to: number; salt: number; bytes: Uint8Array } {
    const run = this.#options.source.readRecords(this.#options.shard, from, bytesMax);
    if (run === undefined) throw this.#refuses(`the stream ${this.#name} goes beyond the log, at position ${from}`);
    const length = wholeRecords(run.bytes, bytesMax, to);
    return { from, to: positionOfRecord(run.bytes, 0) + length, salt: run.salt, bytes: run.bytes.slice(0, length) };
  }

  /** Finds the messages, or the repair, that hold a position. `after`: a message that lies before it, or 0. */
  async #locate(position: number, after: number): Promise<Place | undefined> {
    const info = await this.#options.link.jsm.streams.info(this.#name);
    let low = Math.max(after, info.state.first_seq);
    let high = info.state.last_seq + 1;
    let found: LogMessage | undefined;
    let before: LogMessage | undefined;
    // What is looked for next mostly lies near: steps that double, then halves.
    for (let step = 1; low < high; step *= 2) {
      const isGalloping = found === undefined && low + step < high;
      const middle = isGalloping ? low + step - 1 : Math.floor((low + high) / 2);
      const message = await this.#messageFrom(middle);
      if (message === undefined || message.to > position) {
        high = middle;
        found = message ?? found;
      } else {
        before = message;
        low = message.seq + 1;
      }
    }
    if (found !== undefined && found.from <= position) {
      const seqs = [];
      // Parts, and parts that were begun before a crash.
      for (let seq = found.seq; ; seq++) {
        const message = await this.#messageFrom(seq);
        if (message === undefined || message.from !== found.from) break;
        seqs.push(message.seq);
        seq = message.seq;
      }
      return { from: found.from, to: found.to, seqs };
    }
    // It lies in a repair, and the search began too late to see where that one begins.
    if (before === undefined && after > 0) return this.#locate(position, 0);
    const behind = found?.from ?? Number.POSITIVE_INFINITY;
    for (let from = before?.to ?? 0; from < behind; ) {
      const repair = await this.#repairAt(from);
      if (repair === undefined) return undefined;
      if (position < repair.to) return { from: repair.from, to: repair.to, seqs: [] };
      from = repair.to;
    }
    return undefined;
  }

  async #repair(
    place: Place,
    records: { from: number; to: number; salt: number; bytes: Uint8Array },
  ): Promise<RepairPlace | undefined> {
    const { names, crashPoint } = this.#options;
    if (place.seqs.length > 0 && (await this.#isAsPublished(place, records.bytes))) return undefined;
    const parts = await this.#publishRepair(records);
    crashPoint("publisher:repair-stored");
    // Repairs that were there before, and parts of them that are no longer needed.
    const stored = await this.#repairSeqs(place.from);
    for (const { seq, part, isLast } of stored) {
      if (part > parts || !isLast) await this.#overwrite(names.repairStream, seq);
    }
    crashPoint("publisher:repair-alone");
    for (const seq of place.seqs) {
      await this.#overwrite(this.#name, seq);
      crashPoint("publisher:overwritten");
    }
    return { from: place.from, parts };
  }

  // Nothing to do: the message was sent after the log had been erased.
  async #isAsPublished(place: Place, bytes: Uint8Array): Promise<boolean> {
    if (place.seqs.length !== 1) return false;
    const message = await this.#messageFrom(place.seqs[0]!);
    return message !== undefined && Buffer.compare(message.data, bytes) === 0;
  }

  /** Stores a repair, its first part last: it is there when that one is. Returns the number of parts. */
  async #publishRepair(records: { from: number; to: number; salt: number; bytes: Uint8Array }): Promise<number> {
    const { link, names, shard } = this.#options;
    const { bytes, from } = records;
    const { partBytes } = this;
    const parts = Math.ceil(bytes.length / partBytes);
    for (let part = parts; part >= 1; part--) {
      const piece = bytes.subarray((part - 1) * partBytes, part * partBytes);
      const subject = names.repairSubject(shard, from, part);
      const known = await this.#lastOf(names.repairStream, subject);
      if (known?.parts === parts && Buffer.compare(known.data, piece) === 0) continue;
      await link.js.publish(subject, piece, {
        headers: headersOf(records, part, parts),
        expect: { streamName: names.repairStream },
        timeout: this.#options.ackTimeoutMs,
      });
    }
    return parts;
  }

  async #repairAt(from: number): Promise<LogMessage | undefined> {
    const { names, shard } = this.#options;
    return this.#lastOf(names.repairStream, names.repairSubject(shard, from, 1));
  }

  // Undefined also when a part of it is gone.
  async #wholeRepairAt(from: number): Promise<LogMessage | undefined> {
    const { names, shard } = this.#options;
    const first = await this.#repairAt(from);
    for (let part = 2; part <= (first?.parts ?? 1); part++) {
      const other = await this.#lastOf(names.repairStream, names.repairSubject(shard, from, part));
      if (other === undefined || other.to !== first!.to || other.parts !== first!.parts) return undefined;
    }
    return first;
  }

  async #repairSeqs(from: number): Promise<{ seq: number; part: number; isLast: boolean }[]> {
    const { names, shard, link } = this.#options;
    const subject = names.repairSubject(shard, from, 0).replace(/0$/, "*");
    const found: { seq: number; part: number; isLast: boolean }[] = [];
    for (let seq = 1; ; ) {
      const message = await link.jsm.direct.getMessage(names.repairStream, { seq, next_by_subj: subject });
      if (message === null) return found;
      const part = readLogMessage(message)?.part ?? 0;
      const earlier = found.find((other) => other.part === part && other.isLast);
      if (earlier !== undefined) earlier.isLast = false;
      found.push({ seq: message.seq, part, isLast: true });
      seq = message.seq + 1;
    }
  }

  async #eraseAll(stream: string, subject: string): Promise<void> {
    for (;;) {
      const message = await this.#options.link.jsm.direct.getMessage(stream, { seq: 1, next_by_subj: subject });
      if (message === null) return;
      await this.#overwrite(stream, message.seq);
    }
  }

  // The server overwrites the message's bytes in its files.
  async #overwrite(stream: string, seq: number): Promise<void> {
    try {
      await this.#options.link.jsm.streams.deleteMessage(stream, seq, true);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  // Asked of the server that leads: one that follows may not have it yet.
  async #lastOf(stream: string, subject: string): Promise<LogMessage | undefined> {
    let message: StoredMsg | null;
    try {
      message = await this.#options.link.jsm.streams.getMessage(stream, { last_by_subj: subject });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
    return message === null ? undefined : this.#understood(message, stream);
  }

  /** The first message of the shard's stream from a sequence on. */
  async #messageFrom(seq: number): Promise<LogMessage | undefined> {
    const query = { seq, next_by_subj: this.#subject };
    const message = await this.#options.link.jsm.direct.getMessage(this.#name, query);
    return message === null ? undefined : this.#understood(message, this.#name);
  }

  #understood(message: StoredMsg, stream: string): LogMessage {
    const read = readLogMessage(message);
    if (read !== undefined) return read;
    throw this.#refuses(
      `message ${message.seq} of the stream ${stream} is none of a log: somebody else publishes there`,
    );
  }

  #refuses(message: string): HeddleError {
    return new HeddleError("SINK_REFUSED", { sink: this.#options.sink, message });
  }
}

interface Run {
  readonly first: number;
  readonly last: number;
}

/** Sequences of messages that are gone, by ascending sequence; those before the first message too. */
function runsOf(firstSeq: number, deleted: readonly number[]): Run[] {
  const seqs = deleted.filter((seq) => seq > firstSeq).sort((a, b) => a - b);
  const runs: Run[] = firstSeq > 1 ? [{ first: 1, last: firstSeq - 1 }] : [];
  for (let at = 0; at < seqs.length; ) {
    const first = seqs[at]!;
    let last = first;
    for (at++; seqs[at] === last + 1; at++) last++;
    runs.push({ first, last });
  }
  return runs;
}

/** Whether there is one of ascending runs that a gap lies in. */
function isWithin({ first, last }: Run, runs: readonly Run[]): boolean {
  let low = 0;
  for (let high = runs.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (runs[middle]!.last < first) low = middle + 1;
    else high = middle;
  }
  const run = runs[low];
  return run !== undefined && run.first <= first && last <= run.last;
}

function isNotFound(error: unknown): boolean {
  return (
    error instanceof JetStreamApiError && (error.code === JetStreamApiCodes.NoMessageFound || error.status === 404)
  );
}

function headersOf(facts: { from: number; to: number; salt: number }, part: number, parts: number): MsgHdrs {
  const set = headers();
  set.set(logHeaders.from, String(facts.from));
  set.set(logHeaders.to, String(facts.to));
  set.set(logHeaders.salt, saltText(facts.salt));
  if (parts > 1) set.set(logHeaders.part, `${part}/${parts}`);
  return set;
}
