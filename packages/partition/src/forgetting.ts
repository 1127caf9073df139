// Forgetting: takes an erased entity's earlier life out of the tables (P6), as a part of a checkpoint.
//
// F1. An entity's snapshots go in the transaction that gives its head the new base: whoever sees them sees the old head.
// F2. Extents below the base go only after that transaction is on disk, so that no head ever misses one.
// F3. An append id is replaced by its digest in one transaction, after the filter on disk knows the digest (K3): at no
//     moment is it neither there by its name nor by its digest (P4). Digests stand one by one, also of ids in runs.
// F4. All of it can be done again: what is done already is passed over.
//
// However much there is, it is read page by page, with turns for others in between, and nothing of it is kept.
// Not owned: what LMDB leaves of removed values in its file (scrub.ts).
import type { BloomFilter } from "./bloom.ts";
import { type Place, reading } from "./damage.ts";
import type { Tables } from "./environment.ts";
import { erasedIdName, isErasedIdName } from "./erased-ids.ts";
import { type Chunk, quadsFrom, readChunk, writeChunk } from "./extents.ts";
import { hashAppendId, newIdHash } from "./id-hash.ts";
import { type IdRun, idsOfPart, type PackedId, partsOf, partWithout, writeDirectory } from "./id-runs.ts";
import { firstSeqOfKey, KeyBuilder, nameOfKey, successorOf } from "./keys.ts";
import type { Forgetting } from "./records.ts";
import { RunTable } from "./run-table.ts";
import type { Table } from "./table.ts";
import { openValue, type ValueWriter } from "./value-writer.ts";
import { writeNumber } from "./values.ts";
import type { WriteQueue } from "./write-queue.ts";

/** What one turn reads and writes: about a millisecond, most of it for digests, or for the extents of chunks. */
const pageIds = 256;
const pageChunks = 16;

export interface ForgettingParts {
  readonly place: Place;
  readonly tables: Tables;
  readonly queue: WriteQueue;
  readonly values: ValueWriter;
  readonly filter: BloomFilter;
  readonly crashPoint: (name: string) => void;
}

interface Note extends Forgetting {
  /** Names of the snapshots that were there when it was asked for. */
  readonly snapshots: readonly string[];
}

interface StoredId extends PackedId {
  readonly key: Uint8Array;
}

/** A part of a run, and what of it is to be replaced. */
interface StoredPart {
  readonly run: IdRun;
  readonly part: number;
  readonly due: readonly PackedId[];
  /** What stays. */
  readonly rest: Uint8Array;
}

/** What one checkpoint forgets. */
export class ForgottenHistories {
  readonly #parts: ForgettingParts;
  readonly #runs: RunTable;
  readonly #notes = new Map<string, Note>();
  readonly #hash = newIdHash();
  readonly #keys = new KeyBuilder();
  // A range needs its start and its end at the same time.
  readonly #endKeys = new KeyBuilder();

  constructor(parts: ForgettingParts) {
    this.#parts = parts;
    this.#runs = new RunTable(parts.tables.idRuns);
  }

  /** Errors: `PARTITION_DAMAGED` when LMDB cannot say which snapshots there are. */
  note(entity: string, { belowSeq, belowPosition }: Forgetting): void {
    const earlier = this.#notes.get(entity);
    this.#notes.set(entity, {
      belowSeq: Math.max(belowSeq, earlier?.belowSeq ?? 0),
      belowPosition: Math.max(belowPosition, earlier?.belowPosition ?? 0),
      snapshots: this.#snapshotNames(entity),
    });
  }

  entries(): Iterable<readonly [entity: string, forgetting: Forgetting]> {
    return this.#notes;
  }

  of(entity: string): Forgetting | undefined {
    return this.#notes.get(entity);
  }

  /** To be called within the unit that puts the entity's head (F1). */
  removeSnapshots(entity: string): void {
    const { queue, tables } = this.#parts;
    for (const name of this.#notes.get(entity)?.snapshots ?? []) {
      queue.remove(tables.snapshots, this.#keys.named(entity, name));
    }
  }

  /** Makes the filter know every digest; to be written before {@link write} (F3). */
  async announceDigests(nextTurn: () => Promise<void>): Promise<void> {
    for (const [entity, note] of this.#notes) {
      for (const page of this.#idPages(entity, note)) {
        this.#announce(entity, page);
        await nextTurn();
      }
      for (const { due } of this.#runParts(entity, note)) {
        this.#announce(entity, due);
        await nextTurn();
      }
    }
  }

  /** Removes extents and replaces ids. The heads must be on disk, and the filter (F2, F3). */
  async write(nextTurn: () => Promise<void>): Promise<void> {
    const { crashPoint, queue } = this.#parts;
    // Runs that this checkpoint has written are read.
    if (this.#notes.size > 0) await queue.settled();
    const unpacked: string[] = [];
    for (const [entity, note] of this.#notes) {
      const cut = new ChunkCut(note.belowSeq, this.#chunkAt(entity, note.belowSeq)?.lastSeq ?? 0);
      for (const page of this.#chunkPages(entity, note)) {
        for (const chunk of page) this.#dropChunk(entity, chunk, cut);
        await queue.drained();
        await nextTurn();
        crashPoint("partition:extents-forgotten");
      }
      for (const page of this.#idPages(entity, note)) {
        for (const stored of page) this.#replaceId(entity, stored);
        await queue.drained();
        await nextTurn();
        crashPoint("partition:ids-forgotten");
      }
      for (const stored of this.#runParts(entity, note)) {
        if (unpacked.at(-1) !== entity) unpacked.push(entity);
        this.#replacePacked(entity, stored);
        await queue.drained();
        await nextTurn();
        crashPoint("partition:ids-forgotten");
      }
    }
    if (unpacked.length === 0) return;
    await queue.settled();
    for (const entity of unpacked) {
      this.#dropEmptyRuns(entity);
      await nextTurn();
    }
  }

  // A chunk that reaches over the base is left over from a checkpoint that did not end, and what it says above the base
  // may stand nowhere else.
  #dropChunk(entity: string, chunk: Chunk, cut: ChunkCut): void {
    const { queue, tables, values } = this.#parts;
    queue.begin();
    queue.remove(tables.extents, this.#keys.extent(entity, chunk.firstSeq));
    const rest = cut.worthKeeping(chunk);
    if (rest === undefined) return;
    const key = this.#keys.extent(entity, cut.belowSeq);
    queue.put(tables.extents, key, writeChunk(values, key, rest));
  }

  #replaceId(entity: string, { key, id, position }: StoredId): void {
    const { queue, tables } = this.#parts;
    queue.begin();
    queue.remove(tables.appendIds, key);
    this.#putDigest(entity, { id, position });
  }

  #replacePacked(entity: string, { run, part, due, rest }: StoredPart): void {
    const { queue, tables, values } = this.#parts;
    queue.begin();
    for (const packed of due) this.#putDigest(entity, packed);
    const key = this.#keys.idPart(entity, run.number, part);
    if (rest.length === 0) queue.remove(tables.idRuns, key);
    else queue.put(tables.idRuns, key, values.begin(rest.length).raw(rest).seal(key));
  }

  #putDigest(entity: string, { id, position }: PackedId): void {
    const { queue, tables, values } = this.#parts;
    const key = this.#keys.named(entity, erasedIdName(entity, id));
    queue.put(tables.appendIds, key, writeNumber(values, key, position));
  }

  #dropEmptyRuns(entity: string): void {
    const { queue, tables, values } = this.#parts;
    const runs = this.#reading(() => this.#runs.directory(entity));
    const kept = this.#reading(() => runs.filter((run) => this.#runs.parts(entity, run).next().done !== true));
    if (kept.length === runs.length) return;
    const key = this.#keys.entity(entity);
    queue.begin();
    if (kept.length === 0) queue.remove(tables.idRuns, key);
    else queue.put(tables.idRuns, key, writeDirectory(values, key, kept));
  }

  #announce(entity: string, ids: readonly PackedId[]): void {
    for (const { id } of ids) {
      this.#parts.filter.add(hashAppendId(entity, erasedIdName(entity, id), this.#hash));
    }
  }

  // Parts in which there is something to replace.
  *#runParts(entity: string, { belowPosition }: Forgetting): Generator<StoredPart> {
    const isDue = ({ id, position }: PackedId) => position < belowPosition && !isErasedIdName(id);
    for (const run of this.#reading(() => this.#runs.directory(entity))) {
      for (let part = 0; part < partsOf(run); part++) {
        const entries = this.#reading(() => this.#runs.part(entity, run, part));
        if (entries === undefined) continue;
        const due = this.#reading(() => idsOfPart(entries).filter(isDue));
        if (due.length > 0) yield { run, part, due, rest: partWithout(entries, isDue) };
      }
    }
  }

  *#idPages(entity: string, { belowPosition }: Forgetting): Generator<StoredId[]> {
    const { appendIds } = this.#parts.tables;
    const start = this.#keys.firstOf(entity).slice();
    for (const page of this.#pages(appendIds, start, this.#endKeys.endOf(entity).slice(), pageIds)) {
      const due: StoredId[] = [];
      for (const { key, value } of page) {
        const id = nameOfKey(key);
        const position = this.#reading(() => openValue(key, value).unsigned());
        if (position < belowPosition && !isErasedIdName(id)) due.push({ key, id, position });
      }
      yield due;
    }
  }

  *#chunkPages(entity: string, { belowSeq }: Forgetting): Generator<Chunk[]> {
    const { extents } = this.#parts.tables;
    const start = this.#keys.firstOf(entity).slice();
    for (const page of this.#pages(extents, start, this.#endKeys.extent(entity, belowSeq).slice(), pageChunks)) {
      yield page.map(({ key, value }) => this.#reading(() => readChunk(firstSeqOfKey(key), openValue(key, value))));
    }
  }

  #chunkAt(entity: string, seq: number): Chunk | undefined {
    return this.#reading(() => {
      const key = this.#keys.extent(entity, seq);
      const value = this.#parts.tables.extents.get(key);
      return value === undefined ? undefined : readChunk(seq, openValue(key, value));
    });
  }

  #snapshotNames(entity: string): string[] {
    return this.#reading(() => {
      const range = { start: this.#keys.firstOf(entity), end: this.#endKeys.endOf(entity) };
      return [...this.#parts.tables.snapshots.getKeys(range)].map(nameOfKey);
    });
  }

  // No cursor stays open between pages: it would keep old pages alive.
  *#pages(table: Table, from: Uint8Array, end: Uint8Array, limit: number): Generator<Entry[]> {
    let start = from;
    for (;;) {
      const page = this.#reading(() => [...table.getRange({ start, end, limit })]);
      if (page.length > 0) yield page;
      if (page.length < limit) return;
      start = successorOf(page[page.length - 1]!.key);
    }
  }

  #reading<T>(read: () => T): T {
    return reading(this.#parts.place, read);
  }
}

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Decides what of the chunks that reach over an entity's base is kept: whatever reaches further than what is there. */
class ChunkCut {
  readonly belowSeq: number;
  #keptTo: number;

  constructor(belowSeq: number, keptTo: number) {
    this.belowSeq = belowSeq;
    this.#keptTo = keptTo;
  }

  worthKeeping(chunk: Chunk): Float64Array | undefined {
    if (chunk.lastSeq < this.belowSeq || chunk.lastSeq <= this.#keptTo) return undefined;
    const rest = quadsFrom(chunk, this.belowSeq);
    if (rest !== undefined) this.#keptTo = chunk.lastSeq;
    return rest;
  }
}
