// MemoryFeed: a FeedSource over records that a spec writes, in the bytes of a real log.
import {
  type EntryView,
  entryFlags,
  entryHeaderBytes,
  entryLengthAt,
  eraseEntry,
  newEntryView,
  readEntry,
  writeEntryHeader,
} from "@heddle/event-log/internal";
import type { FeedChunk, FeedSource } from "@heddle/feed/internal";
import {
  newAppendView,
  readAppendBody,
  systemAggregate,
  systemEvents,
  TextCache,
  writeAppendBody,
} from "@heddle/protocol/internal";

/** One append, as a spec tells it. */
export interface FeedAppend {
  readonly entity: string;
  readonly aggregate: string;
  readonly events: readonly { readonly type: string; readonly payload: unknown; readonly schemaVersion?: number }[];
  readonly id?: string | undefined;
  readonly time?: number | undefined;
  readonly flags?: number | undefined;
}

interface Entry {
  readonly entity: string;
  readonly position: number;
  readonly bytes: Uint8Array;
}

interface MemoryRecord {
  readonly from: number;
  readonly to: number;
  readonly entries: readonly Entry[];
}

const recordHeaderBytes = 24;

export class MemoryFeed implements FeedSource {
  readonly shardCount: number;
  readonly #shards: MemoryRecord[][];
  readonly #seqs = new Map<string, number>();
  readonly #texts = new TextCache();
  #time = 1_700_000_000_000;
  #mark = 0;
  #waiting: (() => void)[] = [];
  /** Asked before each reading; may throw. */
  beforeRead: () => void = () => undefined;

  constructor(shardCount = 1) {
    this.shardCount = shardCount;
    this.#shards = Array.from({ length: shardCount }, () => []);
  }

  get mark(): number {
    return this.#mark;
  }

  end(shard: number): number {
    return this.#shards[shard]!.at(-1)?.to ?? 0;
  }

  read(shard: number, from: number, bytesMax: number): FeedChunk | undefined {
    this.beforeRead();
    const records = this.#shards[shard]!;
    let first = 0;
    let beyond = records.length;
    while (first < beyond) {
      const middle = (first + beyond) >> 1;
      if (records[middle]!.to > from) beyond = middle;
      else first = middle + 1;
    }
    if (first === records.length) return undefined;
    if (records[first]!.from !== from) throw new Error(`no record begins at ${from}`);
    let last = first;
    while (last + 1 < records.length && records[last + 1]!.to - from <= bytesMax) last++;
    const chunk = records.slice(first, last + 1);
    return { shard, from, to: chunk.at(-1)!.to, visit: (visitor) => visitAll(chunk, visitor) };
  }

  changedSince(mark: number, timeoutMs: number): Promise<void> {
    if (mark !== this.#mark) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Adds one record with these appends. Gives the positions of its entries. */
  add(shard: number, ...appends: readonly FeedAppend[]): number[] {
    const from = this.end(shard);
    let at = from + recordHeaderBytes;
    const entries = appends.map((append) => {
      const bytes = this.#encode(append);
      const entry = { entity: append.entity, position: at, bytes };
      at += bytes.length;
      return entry;
    });
    this.#shards[shard]!.push({ from, to: Math.ceil(at / 8) * 8, entries });
    this.#changed();
    return entries.map(({ position }) => position);
  }

  /** Erases an entity as a node does: a tombstone, then its earlier entries are overwritten. */
  erase(shard: number, entity: string): number {
    const position = this.tombstone(shard, entity);
    this.overwrite(shard, entity);
    return position;
  }

  tombstone(shard: number, entity: string): number {
    const seq = this.seqOf(entity);
    const events = [{ type: systemEvents.erased, payload: { from: 1, to: seq }, schemaVersion: 1 }];
    return this.add(shard, { entity, aggregate: systemAggregate, events, flags: entryFlags.tombstone })[0]!;
  }

  /** The marker of a restoring, and the copies that follow it, in one record. */
  restore(shard: number, entity: string, copies: readonly FeedAppend["events"][number][], aggregate: string): void {
    const events = [{ type: systemEvents.restored, payload: { seq: 0, copied: copies.length }, schemaVersion: 1 }];
    const marker = { entity, aggregate: systemAggregate, events, flags: entryFlags.restored };
    this.add(shard, marker, ...copies.map((copy) => ({ entity, aggregate, events: [copy] })));
  }

  overwrite(shard: number, entity: string): void {
    for (const { entries } of this.#shards[shard]!) {
      for (const entry of entries) if (entry.entity === entity) eraseEntry(entry.bytes, 0);
    }
  }

  seqOf(entity: string): number {
    return this.#seqs.get(entity) ?? 0;
  }

  /** Takes away the records behind a position, as a log that was brought back from an older copy. */
  cut(shard: number, position: number): void {
    const records = this.#shards[shard]!;
    while (records.length > 0 && records.at(-1)!.to > position) records.pop();
  }

  #encode({ entity, aggregate, events, id, time, flags = 0 }: FeedAppend): Uint8Array {
    const scratch = new Uint8Array(1_024 + 4 * JSON.stringify(events).length);
    const versioned = events.map((event) => ({ schemaVersion: 1, ...event }));
    const bodyBytes = writeAppendBody({ entity, aggregate, events: versioned, id }, () => ({
      bytes: scratch,
      at: entryHeaderBytes,
    }));
    const view = newAppendView();
    readAppendBody(scratch, entryHeaderBytes, entryHeaderBytes + bodyBytes, this.#texts, view);
    const firstSeq = this.seqOf(entity) + 1;
    this.#seqs.set(entity, this.seqOf(entity) + events.length);
    this.#time = time ?? this.#time + 1;
    const length = entryHeaderBytes + bodyBytes;
    writeEntryHeader(scratch, 0, length, {
      flags,
      firstSeq,
      time: this.#time,
      fingerprint: 0,
      session: 0,
      call: 0,
      eventCount: events.length,
      payloadsOffset: view.payloadsFrom - entryHeaderBytes,
    });
    return scratch.slice(0, length);
  }

  #changed(): void {
    this.#mark++;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

const view = newEntryView();

function visitAll(records: readonly MemoryRecord[], visitor: (entry: EntryView, record: number) => void): void {
  for (const { from, entries } of records) {
    for (const { bytes, position } of entries) {
      readEntry(bytes, 0, position, view);
      if (entryLengthAt(bytes, 0) !== bytes.length) throw new Error("an entry of another length");
      visitor(view, from);
    }
  }
}
