// What the specs of this folder share: the logs of some shards in a folder, written as shards write them and read as the
// node's readers read them; and what a stream holds, read without any code of ours but the header's names.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  type EntryHeader,
  EventLog,
  type EventLogOptions,
  entryFlags,
  nodeDisk,
  type TailRun,
} from "@heddle/event-log/internal";
import { systemRandom } from "@heddle/kernel";
import { systemAggregate, writeAppendBody } from "@heddle/protocol/internal";
import { journalEntity } from "@heddle/shard/internal";
import { DurableEnds } from "../durable-ends.ts";
import type { FeedSource } from "../feed-source.ts";
import { LogFeed } from "../log-feed.ts";
import { ReaderState } from "../reader-state.ts";
import type { NatsLink } from "./connection.ts";
import { FilledGaps } from "./filled-gaps.ts";
import { NatsErasures } from "./nats-erasures.ts";
import type { NatsOptions } from "./nats-options.ts";
import { NatsPublisher, type NatsPublisherOptions } from "./publisher.ts";
import type { RecordSource } from "./record-source.ts";

const clock = { now: () => 1_700_000_000_000, monotonic: () => performance.now() };

/** Logs of some shards, and a reader of each. */
export class Logs implements RecordSource {
  readonly folder: string;
  readonly shardCount: number;
  readonly logs: EventLog[];
  readonly #ends: DurableEnds;
  readonly feed: LogFeed;
  readonly #seqs = new Map<string, number>();
  readonly #mayRemove: boolean;

  constructor(options: Partial<EventLogOptions> & { shardCount?: number; folder?: string } = {}) {
    const { shardCount = 1, folder, ...rest } = options;
    this.#mayRemove = folder === undefined;
    this.folder = folder ?? fs.mkdtempSync(path.join(os.tmpdir(), "heddle-nats-"));
    this.shardCount = shardCount;
    this.#ends = new DurableEnds(shardCount);
    this.logs = Array.from({ length: shardCount }, (_, shard) => {
      const log = EventLog.open({
        disk: nodeDisk,
        folder: this.logFolder(shard),
        shard,
        clock,
        random: systemRandom,
        durability: "os",
        knownEnd: 0,
        replayFrom: 0,
        onEntry: () => {},
        ...rest,
      });
      this.#ends.advance(shard, log.durableEnd);
      return log;
    });
    const folders = this.logs.map((_, shard) => this.logFolder(shard));
    this.feed = new LogFeed({ disk: nodeDisk, folders, ends: this.#ends });
  }

  logFolder(shard: number): string {
    return path.join(this.folder, String(shard));
  }

  /** Adds one append to the open group. Returns its position. */
  add(
    shard: number,
    entity: string,
    events: readonly { type: string; payload: unknown; schemaVersion?: number }[],
    header: Partial<EntryHeader> = {},
    aggregate = "Account",
  ) {
    const log = this.logs[shard]!;
    let at = 0;
    let bytes: Uint8Array = new Uint8Array();
    const length = writeAppendBody({ entity, aggregate, events }, (wanted) => {
      ({ bytes, at } = log.reserve(wanted));
      return { bytes, at };
    });
    const firstSeq = (this.#seqs.get(entity) ?? 0) + 1;
    this.#seqs.set(entity, firstSeq + events.length - 1);
    const time = 1_700_000_000_000 + firstSeq;
    return log.add(
      {
        flags: 0,
        firstSeq,
        time,
        fingerprint: 7,
        session: 1,
        call: firstSeq,
        eventCount: events.length,
        payloadsOffset: 0,
        ...header,
      },
      length,
    );
  }

  /** Sends the open group and resolves when it is durable, and readers have been told. */
  async commit(shard: number): Promise<void> {
    const log = this.logs[shard]!;
    await new Promise<void>((resolve, reject) => {
      log.onDurable = () => resolve();
      log.onFailure = reject;
      log.flush();
    });
    this.#ends.advance(shard, log.durableEnd);
  }

  /** Groups of credits, of several accounts in turn. Returns the position of each append. */
  async write(shard: number, groups: number, appends = 3, text = "x".repeat(40)): Promise<number[]> {
    const positions: number[] = [];
    for (let group = 0; group < groups; group++) {
      for (let n = 0; n < appends; n++)
        positions.push(this.add(shard, `account/a${n}`, [{ type: "Credited", payload: { amount: group, text } }]));
      await this.commit(shard);
    }
    return positions;
  }

  tombstone(shard: number, entity: string): number {
    const events = [{ type: "Erased", payload: { from: 1, to: 1 } }];
    return this.add(shard, entity, events, { flags: entryFlags.tombstone }, systemAggregate);
  }

  /** What a shard notes when pending entries have been overwritten. */
  aborted(shard: number, positions: readonly number[]): number {
    const events = [{ type: "TransactionAborted", payload: { positions } }];
    return this.add(shard, journalEntity, events, { flags: entryFlags.journal }, systemAggregate);
  }

  async erase(shard: number, positions: readonly number[]): Promise<void> {
    await this.logs[shard]!.erase(positions, () => Promise.resolve());
  }

  /** The whole log of a shard, as runs of records of at most so many bytes. */
  all(shard: number): Buffer {
    const parts: Buffer[] = [];
    for (let from = 0; ; ) {
      const run = this.readRecords(shard, from, 1 << 20);
      if (run === undefined) return Buffer.concat(parts);
      parts.push(Buffer.from(run.bytes));
      from = run.to;
    }
  }

  end(shard: number): number {
    return this.#ends.of(shard);
  }

  readRecords(shard: number, from: number, bytesMax: number): TailRun | undefined {
    return this.feed.readRecords(shard, from, bytesMax);
  }

  get mark(): number {
    return this.#ends.mark;
  }

  changedSince(mark: number, timeoutMs: number): Promise<void> {
    return this.#ends.changedSince(mark, timeoutMs);
  }

  close(): void {
    for (const log of this.logs) log.close();
    this.feed.close();
  }

  [Symbol.dispose](): void {
    this.close();
    if (this.#mayRemove) fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A publisher with tasks kept in memory, unless a file is given. */
export function publisherOf(
  source: RecordSource,
  nats: NatsOptions,
  options: Partial<NatsPublisherOptions> & { stateFile?: string } = {},
) {
  const folder = source instanceof Logs ? source.folder : os.tmpdir();
  const { stateFile = path.join(folder, `readers-${randomUUID()}.sqlite`), ...rest } = options;
  const state = ReaderState.open(stateFile);
  const erasures = new NatsErasures(state);
  const gaps = new FilledGaps(state);
  const publisher = new NatsPublisher({ context: "bank", nats, source, erasures, gaps, ...rest });
  return { publisher, erasures };
}

/** Resolves when it holds. Errors: what `describe` says, after two minutes. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  describe: () => unknown = () => "",
): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`it did not come about: ${JSON.stringify(describe())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Resolves when all that the logs have is in the streams. */
export async function published(publisher: NatsPublisher, logs: Logs): Promise<void> {
  await until(
    () => logs.logs.every((log, shard) => publisher.stats.published[shard] === log.durableEnd),
    () => ({ stats: publisher.stats, problems: publisher.problems.map(String) }),
  );
}

export interface StoredMessage {
  readonly seq: number;
  readonly from: number;
  readonly to: number;
  readonly part: string;
  readonly id: string;
  readonly data: Uint8Array;
}

/** All messages of a stream on a subject. */
export async function messagesOf({ jsm }: NatsLink, stream: string, subject: string): Promise<StoredMessage[]> {
  const found: StoredMessage[] = [];
  for (let seq = 1; ; ) {
    const message = await jsm.direct.getMessage(stream, { seq, next_by_subj: subject });
    if (message === null) return found;
    const header = (name: string) => message.header.get(name);
    found.push({
      seq: message.seq,
      from: Number(header("Heddle-From")),
      to: Number(header("Heddle-To")),
      part: header("Heddle-Part"),
      id: header("Nats-Msg-Id"),
      data: message.data,
    });
    seq = message.seq + 1;
  }
}

/** Each entry that a source gives, from a position on: where it lies, and its bytes. */
export async function entriesOf(source: FeedSource, shard: number, bytesMax: number, from = 0): Promise<string[]> {
  const entries: string[] = [];
  for (let at = from; ; ) {
    const chunk = await source.read(shard, at, bytesMax);
    if (chunk === undefined) return entries;
    chunk.visit((entry, record) => {
      const bytes = Buffer.from(entry.bytes.subarray(entry.bodyFrom - 48, entry.bodyTo));
      entries.push(`${record} ${entry.position} ${bytes.toString("hex")}`);
    });
    at = chunk.to;
  }
}
