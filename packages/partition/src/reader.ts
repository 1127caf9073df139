// Reader: the reads of a partition, over its LMDB tables.
//
// Everything is read at once and copied before it is handed out. No cursor and no read transaction outlives a call, so
// a reader that stops halfway keeps no old pages alive, and iterators of many entries go page by page, by key.
import { HeddleError } from "@heddle/kernel";
import type { PartitionReader } from "./contract.ts";
import { asReadError, type Place, reading } from "./damage.ts";
import { metaKeys, type Tables } from "./environment.ts";
import { type Chunk, type ChunkSource, chunkOf, readChunk, sourceOf, walkBackward, walkForward } from "./extents.ts";
import { hashAppendId, type IdHash, newIdHash } from "./id-hash.ts";
import { idsOfPart, type PackedId } from "./id-runs.ts";
import {
  alarmOfKey,
  entityOfKey,
  firstSeqOfKey,
  KeyBuilder,
  nameOfKey,
  sessionOfKey,
  successorOf,
  typeVersionOfKey,
} from "./keys.ts";
import type {
  AlarmQuery,
  AlarmRecord,
  AppendIdRecord,
  EntityHead,
  ErasureRecord,
  Extent,
  OpenTransactions,
  SessionRecord,
  SnapshotRecord,
  TypeCount,
} from "./records.ts";
import { RunTable } from "./run-table.ts";
import { getValue, type Table } from "./table.ts";
import { openValue } from "./value-writer.ts";
import { readErasure, readHead, readNumber, readOpenTransactions, readSession, readSnapshot } from "./values.ts";
import type { VarintReader } from "./varint.ts";

/** Entries read at a time by iterators over a whole table, the first page and the largest; sessions are large. */
const pageEntries = { first: 16, max: 256, growth: 4 } as const;
const pageSessions = { first: 16, max: 16, growth: 1 } as const;

interface Stored {
  readonly key: Uint8Array;
  readonly value: VarintReader;
}

interface Range {
  readonly start: Uint8Array;
  readonly end?: Uint8Array;
  readonly reverse?: boolean;
  readonly limit?: number;
}

interface PageSizes {
  readonly first: number;
  readonly max: number;
  readonly growth: number;
}

export class TableReader implements PartitionReader {
  readonly counters = { reads: 0, bloomSkips: 0 };
  protected readonly place: Place;
  protected readonly tables: Tables;
  protected closed = false;
  // Two, because a range needs its start and its end at the same time.
  readonly #keys = new KeyBuilder();
  readonly #endKeys = new KeyBuilder();
  readonly #runs: RunTable;
  readonly #idHash = newIdHash();

  constructor(tables: Tables, place: Place) {
    this.tables = tables;
    this.#runs = new RunTable(tables.idRuns);
    this.place = place;
  }

  get coveredPosition(): number {
    return this.number(metaKeys.covered) ?? 0;
  }

  head(entity: string): EntityHead | undefined {
    return this.#get(this.tables.heads, this.#keys.entity(entity), readHead);
  }

  snapshots(entity: string): SnapshotRecord[] {
    const range = { start: this.#keys.firstOf(entity), end: this.#endKeys.endOf(entity) };
    return this.#range(this.tables.snapshots, range, ({ key, value }) => readSnapshot(nameOfKey(key), value));
  }

  snapshot(entity: string, aggregate: string): SnapshotRecord | undefined {
    const key = this.#keys.named(entity, aggregate);
    return this.#get(this.tables.snapshots, key, (value) => readSnapshot(aggregate, value));
  }

  *extents(
    entity: string,
    fromSeq: number,
    direction: "forward" | "backward",
  ): Generator<Extent, undefined, undefined> {
    const head = this.head(entity);
    if (head === undefined) return undefined;
    const span = { firstSeq: Math.max(1, head.baseSeq), lastSeq: head.seq };
    const walk = direction === "forward" ? walkForward : walkBackward;
    try {
      const { inlineExtents } = head;
      const chunks = inlineExtents === undefined ? this.#chunksOf(entity) : sourceOf(chunkOf(inlineExtents));
      yield* walk(chunks, fromSeq, span);
    } catch (error) {
      throw asReadError(error, this.place);
    }
    return undefined;
  }

  appendIdPosition(entity: string, id: string): number | undefined {
    const hash = hashAppendId(entity, id, this.#idHash);
    if (!this.mayKnowAppendId(hash)) return undefined;
    const key = this.#keys.named(entity, id);
    return this.#read(() => {
      return getValue(this.tables.appendIds, key, readNumber) ?? this.#runs.find(entity, hash.first >>> 0, id);
    });
  }

  *sessions(): Generator<SessionRecord, undefined, undefined> {
    yield* this.#scan(this.tables.sessions, this.#keys.session(0), pageSessions, ({ key, value }) => ({
      session: sessionOfKey(key),
      ...readSession(value),
    }));
    return undefined;
  }

  *entities(from?: string): Generator<{ entity: string; head: EntityHead }, undefined, undefined> {
    const start = from === undefined || from === "" ? firstKey : this.#keys.entity(from);
    yield* this.#scan(this.tables.heads, start, pageEntries, ({ key, value }) => ({
      entity: entityOfKey(key),
      head: readHead(value),
    }));
    return undefined;
  }

  *allSnapshots(): Generator<SnapshotRecord & { readonly entity: string }, undefined, undefined> {
    yield* this.#scan(this.tables.snapshots, firstKey, pageEntries, ({ key, value }) => ({
      entity: entityOfKey(key),
      ...readSnapshot(nameOfKey(key), value),
    }));
    return undefined;
  }

  *appendIds(): Generator<AppendIdRecord, undefined, undefined> {
    yield* this.#scan(this.tables.appendIds, firstKey, pageEntries, ({ key, value }) => ({
      entity: entityOfKey(key),
      id: nameOfKey(key),
      position: value.unsigned(),
    }));
    yield* this.#packedIds();
    return undefined;
  }

  // A run at a time. A writer may merge those that are still to come, then they are in one with a higher number.
  *#packedIds(): Generator<AppendIdRecord, undefined, undefined> {
    const next = (start: Uint8Array) =>
      this.#range(this.tables.idRuns, { start, limit: 1 }, ({ key }) => entityOfKey(key))[0];
    for (let entity = next(firstKey); entity !== undefined; entity = next(this.#keys.endOf(entity))) {
      for (let ids = this.#idsAbove(entity, 0); ids !== undefined; ids = this.#idsAbove(entity, ids.run)) {
        for (const { id, position } of ids.packed) yield { entity, id, position };
      }
    }
    return undefined;
  }

  // The ids of an entity's first run above a number.
  #idsAbove(
    entity: string,
    number: number,
  ): { readonly run: number; readonly packed: readonly PackedId[] } | undefined {
    return this.#read(() => {
      const run = this.#runs.directory(entity).find((one) => one.number > number);
      if (run === undefined) return undefined;
      return { run: run.number, packed: [...this.#runs.parts(entity, run)].flatMap(idsOfPart) };
    });
  }

  catalogue(): TypeCount[] {
    return this.#range(this.tables.catalogue, { start: firstKey }, ({ key, value }) => ({
      ...typeVersionOfKey(key),
      count: value.unsigned(),
    }));
  }

  erasures(): ErasureRecord[] {
    return this.#range(this.tables.erasures, { start: firstKey }, ({ key, value }) => ({
      entity: entityOfKey(key),
      ...readErasure(value),
    }));
  }

  openTransactions(): OpenTransactions {
    return this.#get(this.tables.meta, metaKeys.transactions, readOpenTransactions) ?? { pending: [], decided: [] };
  }

  alarms({ limit, ...query }: AlarmQuery): AlarmRecord[] {
    const range = this.#alarmRange(query);
    if (range === undefined || limit <= 0) return [];
    return this.#range(this.tables.alarms, { ...range, limit }, ({ key }) => alarmOfKey(key));
  }

  countAlarms(query: Omit<AlarmQuery, "limit">): number {
    this.#assertOpen();
    const range = this.#alarmRange(query);
    return range === undefined ? 0 : this.#read(() => this.tables.alarms.getKeysCount(range));
  }

  #alarmRange({ kind, from = 0, to = alarmsEnd, after }: Omit<AlarmQuery, "limit">): Range | undefined {
    if (to <= from || (after !== undefined && after.due >= to)) return undefined;
    const isBehind = after !== undefined && after.due >= from;
    const start = isBehind
      ? successorOf(this.#keys.alarm(kind, after.due, after.entity))
      : this.#keys.alarm(kind, from);
    const end = to < alarmsEnd ? this.#endKeys.alarm(kind, to) : this.#endKeys.endOf(kind);
    return { start, end };
  }

  /** Overridden where the filter is loaded. */
  mayKnowAppendId(_hash: IdHash): boolean {
    return true;
  }

  protected number(key: Uint8Array): number | undefined {
    return this.#get(this.tables.meta, key, readNumber);
  }

  #chunksOf(entity: string): ChunkSource {
    const chunks = (range: Range): Chunk[] =>
      this.#range(this.tables.extents, range, ({ key, value }) => readChunk(firstSeqOfKey(key), value));
    return {
      atOrBelow: (seq, limit) => {
        const start = this.#keys.extent(entity, seq);
        return chunks({ start, end: this.#endKeys.firstOf(entity), reverse: true, limit });
      },
      atOrAbove: (seq, limit) => {
        const start = this.#keys.extent(entity, seq);
        return chunks({ start, end: this.#endKeys.endOf(entity), limit });
      },
    };
  }

  #get<T>(table: Table, key: Uint8Array, decode: (value: VarintReader) => T): T | undefined {
    return this.#read(() => getValue(table, key, decode));
  }

  #read<T>(read: () => T): T {
    this.#assertOpen();
    this.counters.reads++;
    return reading(this.place, read);
  }

  #range<T>(table: Table, range: Range, decode: (stored: Stored) => T): T[] {
    return this.#read(() => {
      const found: T[] = [];
      for (const { key, value } of table.getRange(range)) found.push(decode({ key, value: openValue(key, value) }));
      return found;
    });
  }

  *#scan<T>(table: Table, from: Uint8Array, sizes: PageSizes, decode: (stored: Stored) => T): Generator<T> {
    let start: Uint8Array = from.slice();
    for (let limit = sizes.first; ; limit = Math.min(limit * sizes.growth, sizes.max)) {
      let last: Uint8Array | undefined;
      const page = this.#range(table, { start, limit }, (stored) => {
        last = stored.key;
        return decode(stored);
      });
      yield* page;
      if (last === undefined || page.length < limit) return;
      start = successorOf(last);
    }
  }

  protected closedError(): HeddleError {
    return new HeddleError("CLOSED", { what: `the partition of shard ${this.place.shard}` });
  }

  #assertOpen(): void {
    if (this.closed) throw this.closedError();
  }
}

const firstKey = Uint8Array.of(0);

/** Times take six bytes. */
const alarmsEnd = 2 ** 48;
