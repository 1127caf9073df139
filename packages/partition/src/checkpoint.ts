// Checkpoint: writes what changed since the one before, the covered position last.
//
// K1. The covered position is written only after everything it covers is on disk (await, then put), whatever order LMDB
//     commits in and even if one of its transactions fails and a later one succeeds.
// K2. An entity's head, extents, snapshots and alarm are one unit (Q1): a head never stands there without its extents, and
//     an alarm stands there if and only if the entity's head says so.
// K3. An append id, by itself or in a run, is written only after the pages of the filter that know it are on disk. So a
//     crash leaves a filter that knows too much, never too little: an id that LMDB has is always found (B1).
// K4. The catalogue, the erasures under way and the open transactions are written in the transaction of the covered position. So a replay from
//     there counts on from there, nothing is counted twice, and no erasure is ever noted as further than it is.
// Not promised: one transaction for the whole checkpoint. It would hold the thread, or LMDB's dirty pages, for too long.
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { AppendIdWriter } from "./append-id-writer.ts";
import { type BloomFilter, type FilterLayer, filterPageBytes, pageBytesOf } from "./bloom.ts";
import type { CheckpointWriter } from "./contract.ts";
import { type Place, reading } from "./damage.ts";
import { metaKeys, type Tables } from "./environment.ts";
import { checkExtentsReachHead, checkInlineExtents, cutIntoChunks, writeChunk } from "./extents.ts";
import { ForgottenHistories } from "./forgetting.ts";
import type { FreshIds } from "./fresh-ids.ts";
import { KeyBuilder } from "./keys.ts";
import type { PackedHeads } from "./packed-heads.ts";
import {
  alarmUnknown,
  type EntityHead,
  type ErasureStage,
  type Forgetting,
  type OpenTransactions,
  type SnapshotRecord,
} from "./records.ts";
import { getValue } from "./table.ts";
import type { ValueWriter } from "./value-writer.ts";
import {
  readHead,
  writeErasure,
  writeHead,
  writeNothing,
  writeNumber,
  writeOpenTransactions,
  writeSession,
  writeSnapshot,
} from "./values.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Pages of the filter that one turn puts: about half a millisecond. */
const slicePagesMax = 64;

export interface CheckpointParts {
  readonly place: Place;
  readonly tables: Tables;
  readonly queue: WriteQueue;
  readonly values: ValueWriter;
  readonly filter: BloomFilter;
  readonly covering: number;
  readonly onCovered: () => void;
  readonly crashPoint: (name: string) => void;
}

interface PendingErasure {
  readonly seq: number;
  readonly stage: ErasureStage;
}

interface PendingCount {
  readonly aggregate: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly count: number;
}

export class TableCheckpoint implements CheckpointWriter {
  readonly #parts: CheckpointParts;
  readonly #keys = new KeyBuilder();
  readonly #appendIds: AppendIdWriter;
  readonly #forgotten: ForgottenHistories;
  /** Entities whose history is to be forgotten, and whose head with the new base has not been put yet. */
  readonly #headsAwaited = new Set<string>();
  /** Undefined for an erasure that is dropped. */
  readonly #erasures = new Map<string, PendingErasure | undefined>();
  readonly #counts: PendingCount[] = [];
  #open: OpenTransactions | undefined;
  #state: "open" | "committing" | "ended" | "closed" = "open";

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
    this.#appendIds = new AppendIdWriter(parts);
    this.#forgotten = new ForgottenHistories(parts);
  }

  get ended(): boolean {
    return this.#state === "ended" || this.#state === "closed";
  }

  /** The partition closes: nothing more is taken, and nothing more will be covered. */
  close(): void {
    this.#state = "closed";
  }

  putEntity(
    entity: string,
    head: EntityHead,
    newExtents: Float64Array,
    snapshots: readonly SnapshotRecord[],
    alarmBefore?: number | undefined,
  ): void {
    this.#assertOpen();
    const { tables, queue, values } = this.#parts;
    checkExtentsReachHead(entity, head, newExtents);
    if (head.inlineExtents !== undefined) {
      invariant(newExtents.length === 0, "partition/inline-extents-are-all", { entity });
      checkInlineExtents(entity, head, head.inlineExtents);
    }
    const before = alarmBefore === alarmUnknown ? this.#storedAlarm(entity) : alarmBefore;
    queue.begin();
    if (this.#headsAwaited.has(entity)) this.#beginAnew(entity, head);
    for (const quads of cutIntoChunks(newExtents)) {
      const key = this.#keys.extent(entity, quads[0]!);
      queue.put(tables.extents, key, writeChunk(values, key, quads));
    }
    for (const snapshot of snapshots) {
      const key = this.#keys.named(entity, snapshot.aggregate);
      queue.put(tables.snapshots, key, writeSnapshot(values, key, snapshot));
    }
    const key = this.#keys.entity(entity);
    queue.put(tables.heads, key, writeHead(values, key, head));
    if (head.alarm !== before) this.#moveAlarm(entity, before, head.alarm);
  }

  putPackedHead(heads: PackedHeads, row: number): void {
    this.#assertOpen();
    const { tables, queue } = this.#parts;
    const entity = heads.entityAt(row);
    if (this.#headsAwaited.has(entity)) invariant(false, "partition/packed-head-forgets-nothing", { entity });
    queue.begin();
    queue.put(tables.heads, this.#keys.entity(entity), heads.valueAt(row));
  }

  takeAppendIds(ids: FreshIds): void {
    this.#assertOpen();
    this.#appendIds.take(ids);
  }

  putAppendId(entity: string, id: string, position: number): void {
    this.#assertOpen();
    this.#appendIds.add(entity, id, position);
  }

  forgetHistory(entity: string, forgetting: Forgetting): void {
    this.#assertOpen();
    this.#forgotten.note(entity, forgetting);
    this.#headsAwaited.add(entity);
  }

  putTypeCount(aggregate: string, type: string, schemaVersion: number, count: number): void {
    this.#assertOpen();
    this.#counts.push({ aggregate, type, schemaVersion, count });
  }

  putErasure(entity: string, seq: number, stage: ErasureStage): void {
    this.#assertOpen();
    this.#erasures.set(entity, { seq, stage });
  }

  dropErasure(entity: string): void {
    this.#assertOpen();
    this.#erasures.set(entity, undefined);
  }

  putOpenTransactions(open: OpenTransactions): void {
    this.#assertOpen();
    this.#open = open;
  }

  putSession(session: number, lastSeenMs: number, calls: Float64Array): void {
    this.#assertOpen();
    const { tables, queue, values } = this.#parts;
    const key = this.#keys.session(session);
    queue.begin();
    queue.put(tables.sessions, key, writeSession(values, key, lastSeenMs, calls));
  }

  dropSession(session: number): void {
    this.#assertOpen();
    this.#parts.queue.begin();
    this.#parts.queue.remove(this.#parts.tables.sessions, this.#keys.session(session));
  }

  drained(): Promise<void> {
    return this.#parts.queue.drained();
  }

  async commit(): Promise<void> {
    this.#assertOpen();
    const [awaited] = this.#headsAwaited;
    invariant(awaited === undefined, "partition/forgotten-is-put", { entity: awaited });
    this.#state = "committing";
    try {
      await this.#write();
    } finally {
      if (this.#state === "committing") this.#state = "ended";
      this.#appendIds.clear(); // The partition keeps its last checkpoint.
    }
  }

  async #write(): Promise<void> {
    const { tables, queue, values, covering, crashPoint, onCovered } = this.#parts;
    await this.#durable();
    crashPoint("partition:entities-durable");

    const nextTurn = (): Promise<void> => this.#nextTurn();
    await this.#forgotten.announceDigests(nextTurn);
    await this.#appendIds.hide(this.#forgotten.entries(), nextTurn);
    await this.#writeFilter();
    crashPoint("partition:filter-durable");

    await this.#appendIds.write(nextTurn);
    await this.#forgotten.write(nextTurn);
    await this.#durable();
    crashPoint("partition:ids-durable");

    queue.begin();
    this.#putCounts();
    this.#putErasures();
    if (this.#open !== undefined) {
      const key = metaKeys.transactions;
      queue.put(tables.meta, key, writeOpenTransactions(values, key, this.#open));
    }
    queue.put(tables.meta, metaKeys.covered, writeNumber(values, metaKeys.covered, covering));
    await queue.settled();
    onCovered();
    crashPoint("partition:covered");
  }

  #putErasures(): void {
    const { tables, queue, values } = this.#parts;
    for (const [entity, erasure] of this.#erasures) {
      const key = this.#keys.entity(entity);
      if (erasure === undefined) queue.remove(tables.erasures, key);
      else queue.put(tables.erasures, key, writeErasure(values, key, erasure.seq, erasure.stage));
    }
  }

  #putCounts(): void {
    const { tables, queue, values } = this.#parts;
    for (const { aggregate, type, schemaVersion, count } of this.#counts) {
      const key = this.#keys.typeVersion(aggregate, type, schemaVersion);
      if (count === 0) queue.remove(tables.catalogue, key);
      else queue.put(tables.catalogue, key, writeNumber(values, key, count));
    }
  }

  #moveAlarm(entity: string, before: number | undefined, alarm: number | undefined): void {
    const { tables, queue, values } = this.#parts;
    const kind = entity.slice(0, entity.indexOf("/"));
    if (before !== undefined) queue.remove(tables.alarms, this.#keys.alarm(kind, before, entity));
    if (alarm === undefined) return;
    const key = this.#keys.alarm(kind, alarm, entity);
    queue.put(tables.alarms, key, writeNothing(values, key));
  }

  // As it was last committed. What this checkpoint itself has put since then is the caller's to know.
  #storedAlarm(entity: string): number | undefined {
    const { tables, place } = this.#parts;
    const key = this.#keys.entity(entity);
    return reading(place, () => getValue(tables.heads, key, readHead)?.alarm);
  }

  // The head that an erased entity gets, within its unit.
  #beginAnew(entity: string, head: EntityHead): void {
    const { belowSeq } = this.#forgotten.of(entity)!;
    invariant(head.baseSeq === belowSeq, "partition/forgotten-below-base", { entity, belowSeq, base: head.baseSeq });
    this.#forgotten.removeSnapshots(entity);
    this.#headsAwaited.delete(entity);
  }

  async #writeFilter(): Promise<void> {
    // Ids that are announced from now on make pages dirty for the next checkpoint.
    const taken = this.#parts.filter.layers.map((layer, number) => {
      const { dirty } = layer;
      layer.dirty = new Set();
      return { layer, number, dirty };
    });
    try {
      for (const { layer, number, dirty } of taken) await this.#putLayer(layer, number, dirty);
      await this.#durable();
    } catch (error) {
      for (const { layer, dirty } of taken) for (const page of dirty) layer.dirty.add(page);
      throw error;
    }
  }

  async #putLayer(layer: FilterLayer, number: number, pages: ReadonlySet<number>): Promise<void> {
    if (pages.size === 0) return;
    const { queue } = this.#parts;
    queue.begin();
    this.#putHeader(number, layer);
    let left = slicePagesMax;
    for (const page of pages) {
      if (--left === 0) {
        await this.#nextTurn();
        left = slicePagesMax;
      }
      queue.begin();
      this.#putPage(number, layer, page);
    }
  }

  async #durable(): Promise<void> {
    await this.#parts.queue.settled();
    this.#assertNotClosed();
  }

  // Between two turns the partition may have been closed, and lmdb must not be called any more.
  async #nextTurn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#assertNotClosed();
  }

  #putHeader(number: number, layer: FilterLayer): void {
    const { tables, queue, values } = this.#parts;
    const key = this.#keys.filterHeader(number);
    queue.put(tables.filter, key, writeNumber(values, key, layer.count));
  }

  #putPage(number: number, layer: FilterLayer, page: number): void {
    const { tables, queue, values } = this.#parts;
    const key = this.#keys.filterPage(number, page);
    queue.put(tables.filter, key, values.begin(filterPageBytes).raw(pageBytesOf(layer, page)).seal(key));
  }

  #assertOpen(): void {
    this.#assertNotClosed();
    invariant(this.#state === "open", "partition/checkpoint-open", { state: this.#state });
  }

  #assertNotClosed(): void {
    if (this.#state === "closed") {
      throw new HeddleError("CLOSED", { what: `the partition of shard ${this.#parts.place.shard}` });
    }
  }
}
