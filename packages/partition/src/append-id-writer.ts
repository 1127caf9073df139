// Append id writer: the append ids that one checkpoint brings, and how they get into the tables: one by one, or as a run
// of an entity that gets many of them (id-runs.ts).
//
// An entity's runs are read where its ids are many, and only there: whoever has few on many entities pays for no read of
// pages that nobody else has asked for.
import { invariant } from "@heddle/kernel/internal";
import type { BloomFilter } from "./bloom.ts";
import { type Place, reading } from "./damage.ts";
import type { Tables } from "./environment.ts";
import { erasedIdName, isErasedIdName } from "./erased-ids.ts";
import { FreshIds } from "./fresh-ids.ts";
import { hashAppendId, newIdHash } from "./id-hash.ts";
import {
  bitsFor,
  IdEntries,
  type IdRun,
  IdStream,
  mergeIds,
  packedIdsMin,
  partsOf,
  runIdsMax,
  runsMax,
  runsToMerge,
  writeDirectory,
} from "./id-runs.ts";
import { KeyBuilder } from "./keys.ts";
import type { Forgetting } from "./records.ts";
import { RunTable } from "./run-table.ts";
import { getValue } from "./table.ts";
import type { ValueWriter } from "./value-writer.ts";
import { readNumber, writeNumber } from "./values.ts";
import type { WriteQueue } from "./write-queue.ts";

/** What one turn of the shard's thread writes, in ids that are put one by one; in a run they cost a fraction of that. About a millisecond at most. */
const sliceIdsMax = 256;
const packedPerId = 4;

export interface AppendIdParts {
  readonly place: Place;
  readonly tables: Tables;
  readonly queue: WriteQueue;
  readonly values: ValueWriter;
  readonly filter: BloomFilter;
}

export class AppendIdWriter {
  readonly #parts: AppendIdParts;
  readonly #runs: RunTable;
  readonly #keys = new KeyBuilder();
  readonly #hash = newIdHash();
  #fresh = new FreshIds();
  readonly #places: number[] = [];
  readonly #sorted = new IdEntries();
  readonly #merged = new IdEntries();

  constructor(parts: AppendIdParts) {
    this.#parts = parts;
    this.#runs = new RunTable(parts.tables.idRuns);
  }

  /** Ids that the filter knows. */
  take(ids: FreshIds): void {
    invariant(this.#fresh.count === 0, "partition/ids-taken-once");
    this.#fresh = ids;
  }

  add(entity: string, id: string, position: number): void {
    const hash = hashAppendId(entity, id, this.#hash);
    this.#fresh.add(entity, id, hash, position, this.#parts.filter.add(hash));
  }

  /** Lets go of everything that was added. */
  clear(): void {
    this.#fresh = new FreshIds();
  }

  /** Renames ids of lives that this very checkpoint forgets: they never get into LMDB by their own names. */
  async hide(
    forgotten: Iterable<readonly [entity: string, forgetting: Forgetting]>,
    nextTurn: () => Promise<void>,
  ): Promise<void> {
    let left = sliceIdsMax;
    for (const [entity, { belowPosition }] of forgotten) {
      for (const place of this.#fresh.placesOf(entity, [])) {
        if (--left <= 0) {
          await nextTurn();
          left = sliceIdsMax;
        }
        const id = this.#fresh.idAt(place);
        if (this.#fresh.positionAt(place) >= belowPosition || isErasedIdName(id)) continue;
        const name = erasedIdName(entity, id);
        const hash = hashAppendId(entity, name, this.#hash);
        this.#fresh.rename(place, name, hash, this.#parts.filter.add(hash));
      }
    }
  }

  /**
   * Puts them all; the filter that knows them must be on disk. What was put before must be, too: it is read.
   * Errors: `PARTITION_DAMAGED`, and what `nextTurn` rejects with.
   */
  async write(nextTurn: () => Promise<void>): Promise<void> {
    let left = sliceIdsMax;
    for (const ids of this.#steps()) {
      left -= ids;
      if (left > 0) continue;
      await this.#parts.queue.drained();
      await nextTurn();
      left = sliceIdsMax;
    }
  }

  // Yields what each step took, in ids that are put one by one.
  *#steps(): Generator<number, void, undefined> {
    yield* this.#dropStored();
    for (const entity of this.#fresh.entities()) {
      const places = this.#fresh.placesOf(entity, this.#places);
      const taken = this.#pack(entity, places);
      if (taken > 0) yield taken;
      else {
        for (const place of places) {
          this.#putOne(entity, place);
          yield 1;
        }
      }
    }
  }

  // After a checkpoint that failed or was cut off, the next one brings what it had written.
  *#dropStored(): Generator<number, void, undefined> {
    for (const place of this.#fresh.doubtful()) {
      yield 1;
      const entity = this.#fresh.entityAt(place);
      const position = this.#storedPosition(entity, place);
      if (position === undefined) continue;
      this.#fresh.drop(place);
      // Of two positions the one that stands by itself counts.
      if (position !== this.#fresh.positionAt(place)) this.#putOne(entity, place);
    }
  }

  #storedPosition(entity: string, place: number): number | undefined {
    const id = this.#fresh.idAt(place);
    const key = this.#keys.named(entity, id);
    const hash = this.#fresh.hashAt(place);
    return reading(
      this.#parts.place,
      () => getValue(this.#parts.tables.appendIds, key, readNumber) ?? this.#runs.find(entity, hash, id),
    );
  }

  // Returns what it took; 0 when the ids are to be put one by one: few, or so many that one turn should not write them, or
  // such of an entity that has so many that one run more would be slow to search.
  #pack(entity: string, places: readonly number[]): number {
    if (places.length < packedIdsMin || places.length > runIdsMax) return 0;
    const runs = reading(this.#parts.place, () => this.#runs.directory(entity));
    const merged = runsToMerge(runs, places.length);
    if (runs.length - merged.length >= runsMax) return 0;
    reading(this.#parts.place, () => this.#putRun(entity, runs, merged, places));
    return totalOf(merged, places.length) / packedPerId;
  }

  #putOne(entity: string, place: number): void {
    const { queue, tables, values } = this.#parts;
    queue.begin();
    const key = this.#keys.named(entity, this.#fresh.idAt(place));
    queue.put(tables.appendIds, key, writeNumber(values, key, this.#fresh.positionAt(place)));
  }

  // One unit (R1).
  #putRun(entity: string, runs: readonly IdRun[], merged: readonly IdRun[], places: readonly number[]): void {
    const { queue, tables, values } = this.#parts;
    const number = (runs.at(-1)?.number ?? 0) + 1;
    const stored = merged.map((run) => new IdStream(this.#runs.parts(entity, run)));
    const bits = bitsFor(totalOf(merged, places.length));
    const fresher = this.#fresh.stream(places, this.#sorted);
    queue.begin();
    const count = mergeIds([...stored, fresher], bits, this.#merged, (part, entries) => {
      const key = this.#keys.idPart(entity, number, part);
      queue.put(tables.idRuns, key, values.begin(entries.length).raw(entries).seal(key));
    });
    for (const run of merged) {
      for (let part = 0; part < partsOf(run); part++) {
        queue.remove(tables.idRuns, this.#keys.idPart(entity, run.number, part));
      }
    }
    const kept = runs.slice(0, runs.length - merged.length);
    const key = this.#keys.entity(entity);
    queue.put(tables.idRuns, key, writeDirectory(values, key, [...kept, { number, bits, count }]));
  }
}

function totalOf(runs: readonly IdRun[], fresh: number): number {
  return runs.reduce((sum, { count }) => sum + count, fresh);
}
