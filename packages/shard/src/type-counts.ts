// TypeCounts: how many stored events there are of each type and schema version: what `heddle schema` shows, and what the
// domain module must be able to read. Events of Heddle's own, and erased ones, do not count.
//
// T1. A checkpoint writes the counts as they were when it began, in the same transaction as the position that it covers;
//     recovery adds the log's tail. So they are exact, however the process ended.
import type { CompiledEvent } from "@heddle/domain/internal";
import type { EntryView } from "@heddle/event-log/internal";
import type { CheckpointWriter, TypeCount } from "@heddle/partition/internal";
import { type AppendView, readU16, systemAggregate } from "@heddle/protocol/internal";
import type { Proposed } from "./decide.ts";

/** What `view` was read from. */
type EntryBytes = Pick<EntryView, "bytes">;

interface Row {
  readonly aggregate: string;
  readonly type: string;
  readonly schemaVersion: number;
  count: number;
  changed: boolean;
}

/** Counts of some events, to be taken off at once. */
export type Counted = ReadonlyMap<string, number>;

export class TypeCounts {
  readonly #rows = new Map<string, Row>();
  /** The newest version of each event, found without putting a key together. */
  readonly #newest = new Map<CompiledEvent, Row>();

  constructor(stored: readonly TypeCount[]) {
    for (const row of stored)
      this.#rows.set(keyOf(row.aggregate, row.type, row.schemaVersion), { ...row, changed: false });
  }

  /** Ordered by aggregate, type and version; types of which nothing is left are not told. */
  list(): TypeCount[] {
    return [...this.#rows.entries()]
      .filter(([, row]) => row.count > 0)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { aggregate, type, schemaVersion, count }]) => ({ aggregate, type, schemaVersion, count }));
  }

  /** Counts the events of an append that was taken in, all of the newest version. */
  add({ aggregate, types, indexFrom, indexBytes }: Proposed, events: number): void {
    if (indexFrom === 0) {
      this.#addNewest(aggregate.name, types[0]!, events);
      return;
    }
    for (let i = 0; i < events; i++) this.#addNewest(aggregate.name, types[indexBytes[indexFrom + i]!]!, 1);
  }

  /** Counts the events of an entry that was opened; erased ones have no types. */
  addEntry(entry: EntryBytes, view: AppendView): void {
    countEntry(entry, view, (aggregate, type, version, events) => {
      this.#addTo(this.#row(aggregate, type, version), events);
    });
  }

  subtract(counted: Counted): void {
    for (const [key, events] of counted) {
      const row = this.#rows.get(key);
      if (row !== undefined) this.#addTo(row, -events);
    }
  }

  /** What changed since this was last called, as it now stands. */
  takeChanged(): TypeCount[] {
    const changed: TypeCount[] = [];
    for (const row of this.#rows.values()) {
      if (!row.changed) continue;
      row.changed = false;
      changed.push({ ...row });
    }
    return changed;
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack(taken: readonly TypeCount[]): void {
    for (const { aggregate, type, schemaVersion } of taken) this.#row(aggregate, type, schemaVersion).changed = true;
  }

  #addNewest(aggregate: string, event: CompiledEvent, events: number): void {
    let row = this.#newest.get(event);
    if (row === undefined) {
      row = this.#row(aggregate, event.type, event.schemaVersion);
      this.#newest.set(event, row);
    }
    this.#addTo(row, events);
  }

  #addTo(row: Row, events: number): void {
    row.count += events;
    row.changed = true;
  }

  #row(aggregate: string, type: string, schemaVersion: number): Row {
    const key = keyOf(aggregate, type, schemaVersion);
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = { aggregate, type, schemaVersion, count: 0, changed: false };
      this.#rows.set(key, row);
    }
    return row;
  }
}

/** Writes counts that `takeChanged` gave. */
export function putTypeCounts(writer: CheckpointWriter, counts: readonly TypeCount[]): void {
  for (const { aggregate, type, schemaVersion, count } of counts) {
    writer.putTypeCount(aggregate, type, schemaVersion, count);
  }
}

/** Adds an entry's events to counts that are to be subtracted later. */
export function countInto(counted: Map<string, number>, entry: EntryBytes, view: AppendView): void {
  countEntry(entry, view, (aggregate, type, version, events) => {
    const key = keyOf(aggregate, type, version);
    counted.set(key, (counted.get(key) ?? 0) + events);
  });
}

function countEntry(
  { bytes }: EntryBytes,
  view: AppendView,
  add: (aggregate: string, type: string, version: number, events: number) => void,
): void {
  if (view.aggregate === systemAggregate) return;
  for (let i = 0; i < view.typeCount; i++) {
    let events = view.eventCount;
    if (view.typeIndexes !== 0) {
      events = 0;
      for (let at = 0; at < view.eventCount; at++) if (bytes[view.typeIndexes + at] === i) events++;
    }
    add(view.aggregate, view.types[i]!, readU16(bytes, view.versionOffsets[i]!), events);
  }
}

// Names hold no control characters.
function keyOf(aggregate: string, type: string, schemaVersion: number): string {
  return `${aggregate}\0${type}\0${String(schemaVersion).padStart(5, "0")}`;
}
