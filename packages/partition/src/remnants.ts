// Remnants: what the tables still hold of an entity's life before a tombstone. For whoever checks that it is gone (P6):
// the reads of a shard begin at the tombstone, and pass over all of this.
//
// Not looked at: bytes of LMDB's file that belong to no entry (scrub.ts). Every change leaves some, erasure or not.
import type { Tables } from "./environment.ts";
import { isErasedIdName } from "./erased-ids.ts";
import { readChunk } from "./extents.ts";
import { idsOfPart } from "./id-runs.ts";
import { firstSeqOfKey, KeyBuilder, nameOfKey } from "./keys.ts";
import type { Forgetting } from "./records.ts";
import type { Table } from "./table.ts";
import { openValue } from "./value-writer.ts";
import { readSnapshot } from "./values.ts";

export interface Remnants {
  /** Aggregates that have a snapshot from before the tombstone. */
  readonly snapshots: readonly string[];
  /** Entries below the tombstone whose places are stored. */
  readonly extents: number;
  /** Append ids from before the tombstone that stand there by their own names. */
  readonly appendIds: number;
}

/** Errors: whatever LMDB says, and those of values that are not what was written. */
export function remnantsOf(tables: Tables, entity: string, { belowSeq, belowPosition }: Forgetting): Remnants {
  const snapshots: string[] = [];
  for (const { key, value } of entriesOf(tables.snapshots, entity)) {
    const aggregate = nameOfKey(key);
    if (readSnapshot(aggregate, openValue(key, value)).seq <= belowSeq) snapshots.push(aggregate);
  }
  let extents = 0;
  for (const { key, value } of entriesOf(tables.extents, entity)) {
    const { quads } = readChunk(firstSeqOfKey(key), openValue(key, value));
    for (let at = 0; at < quads.length; at += 4) if (quads[at]! < belowSeq) extents++;
  }
  let appendIds = 0;
  for (const { key, value } of entriesOf(tables.appendIds, entity)) {
    if (!isErasedIdName(nameOfKey(key)) && openValue(key, value).unsigned() < belowPosition) appendIds++;
  }
  // Whatever parts there are, also such as no directory names.
  for (const { key, value } of entriesOf(tables.idRuns, entity)) {
    for (const { id, position } of idsOfPart(openValue(key, value).rest())) {
      if (!isErasedIdName(id) && position < belowPosition) appendIds++;
    }
  }
  return { snapshots, extents, appendIds };
}

function entriesOf(table: Table, entity: string): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
  return table.getRange({ start: new KeyBuilder().firstOf(entity), end: new KeyBuilder().endOf(entity) });
}
