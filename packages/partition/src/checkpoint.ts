// Checkpoint: writes what changed since the one before, the covered position last.
//
// K1. The covered position is written only after everything it covers is on disk (await, then put), whatever order LMDB
//     commits in and even if one of its transactions fails and a later one succeeds.
// K2. An entity's head, extents and snapshots are one unit (Q1): a head never stands there without its extents.
// K3. An append id is written only after the pages of the filter that know it are on disk. So a crash leaves a filter
//     that knows too much, never too little: an id that LMDB has is always found (B1).
// Not promised: one transaction for the whole checkpoint. It would hold the thread, or LMDB's dirty pages, for too long.
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { type BloomFilter, type FilterLayer, filterPageBytes, pageBytesOf } from "./bloom.ts";
import type { CheckpointWriter, EntityHead, SnapshotRecord } from "./contract.ts";
import { metaKeys, type Tables } from "./environment.ts";
import { cutIntoChunks, writeChunk } from "./extents.ts";
import { KeyBuilder } from "./keys.ts";
import { type ValueWriter, writeHead, writeNumber, writeSession, writeSnapshot } from "./values.ts";
import type { WriteQueue } from "./write-queue.ts";

/** Append ids and filter pages that one turn puts: about half a millisecond. */
const sliceIdsMax = 1_024;
const slicePagesMax = 64;

export interface CheckpointParts {
  readonly shard: number;
  readonly tables: Tables;
  readonly queue: WriteQueue;
  readonly values: ValueWriter;
  readonly filter: BloomFilter;
  readonly covering: number;
  readonly onCovered: () => void;
  readonly crashPoint: (name: string) => void;
}

export class TableCheckpoint implements CheckpointWriter {
  readonly #parts: CheckpointParts;
  readonly #keys = new KeyBuilder();
  readonly #appendIds: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
  #state: "open" | "committing" | "ended" | "closed" = "open";

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
  }

  get ended(): boolean {
    return this.#state === "ended" || this.#state === "closed";
  }

  /** The partition closes: nothing more is taken, and nothing more will be covered. */
  close(): void {
    this.#state = "closed";
  }

  putEntity(entity: string, head: EntityHead, newExtents: Float64Array, snapshots: readonly SnapshotRecord[]): void {
    this.#assertOpen();
    const { tables, queue, values } = this.#parts;
    checkExtentsReachHead(entity, head, newExtents);
    queue.begin();
    for (const triples of cutIntoChunks(newExtents)) {
      const key = this.#keys.extent(entity, triples[0]!);
      queue.put(tables.extents, key, writeChunk(values, key, triples));
    }
    for (const snapshot of snapshots) {
      const key = this.#keys.named(entity, snapshot.aggregate);
      queue.put(tables.snapshots, key, writeSnapshot(values, key, snapshot));
    }
    const key = this.#keys.entity(entity);
    queue.put(tables.heads, key, writeHead(values, key, head));
  }

  putAppendId(entity: string, id: string, position: number): void {
    this.#assertOpen();
    const key = this.#keys.named(entity, id).slice();
    this.#appendIds.push({ key, value: writeNumber(this.#parts.values, key, position) });
    this.#parts.filter.add(key);
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
    this.#state = "committing";
    try {
      await this.#write();
    } finally {
      if (this.#state === "committing") this.#state = "ended";
      this.#appendIds.length = 0; // The partition keeps its last checkpoint.
    }
  }

  async #write(): Promise<void> {
    const { tables, queue, values, covering, crashPoint, onCovered } = this.#parts;
    await this.#durable();
    crashPoint("partition:entities-durable");

    await this.#writeFilter();
    crashPoint("partition:filter-durable");

    for (let at = 0; at < this.#appendIds.length; at += sliceIdsMax) {
      if (at > 0) await this.#nextTurn();
      for (const { key, value } of this.#appendIds.slice(at, at + sliceIdsMax)) {
        queue.begin();
        queue.put(tables.appendIds, key, value);
      }
    }
    await this.#durable();
    crashPoint("partition:ids-durable");

    queue.begin();
    queue.put(tables.meta, metaKeys.covered, writeNumber(values, metaKeys.covered, covering));
    await queue.settled();
    onCovered();
    crashPoint("partition:covered");
  }

  async #writeFilter(): Promise<void> {
    const { queue, filter } = this.#parts;
    let pages = 0;
    for (const [number, layer] of filter.layers.entries()) {
      if (layer.dirty.size === 0) continue;
      queue.begin();
      this.#putHeader(number, layer);
      for (const page of layer.dirty) {
        if (++pages % slicePagesMax === 0) await this.#nextTurn();
        queue.begin();
        this.#putPage(number, layer, page);
      }
    }
    await this.#durable();
    // Only now: after a failure the same pages are written again.
    for (const layer of filter.layers) layer.dirty.clear();
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
      throw new HeddleError("CLOSED", { what: `the partition of shard ${this.#parts.shard}` });
    }
  }
}

function checkExtentsReachHead(entity: string, head: EntityHead, triples: Float64Array): void {
  if (triples.length === 0) return;
  const lastSeq = triples[triples.length - 3]! + triples[triples.length - 2]! - 1;
  invariant(lastSeq === head.seq, "partition/extents-reach-head", { entity, lastSeq, head: head.seq });
}
