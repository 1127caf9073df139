// Dump: everything in a partition, decoded, in an order that does not depend on how it came to be. Two partitions with
// equal dumps answer alike; a test holds a rebuilt one against the live one this way.
//
// Left out are what only speeds up answers (the filter, where chunks were cut or stand) and the clean-stop mark.
import { systemKinds } from "@heddle/kernel";
import type { PartitionReader } from "./contract.ts";
import type {
  AlarmRecord,
  AppendIdRecord,
  DecidedRecord,
  EntityHead,
  ErasureRecord,
  Extent,
  PendingRecord,
  SessionRecord,
  SnapshotRecord,
  TypeCount,
} from "./records.ts";

export type DumpEntry =
  | { readonly table: "covered"; readonly position: number }
  | ({ readonly table: "head"; readonly entity: string } & EntityHead)
  | ({ readonly table: "extent"; readonly entity: string } & Extent)
  | ({ readonly table: "snapshot"; readonly entity: string } & SnapshotRecord)
  | ({ readonly table: "append-id" } & AppendIdRecord)
  | ({ readonly table: "session" } & SessionRecord)
  | ({ readonly table: "catalogue" } & TypeCount)
  | ({ readonly table: "erasure" } & ErasureRecord)
  | ({ readonly table: "pending" } & PendingRecord)
  | ({ readonly table: "decided" } & DecidedRecord)
  | ({ readonly table: "alarm" } & AlarmRecord);

const pageAlarms = 1_000;

export function* dumpPartition(partition: PartitionReader): Generator<DumpEntry, void, undefined> {
  yield { table: "covered", position: partition.coveredPosition };
  for (const { entity, head } of partition.entities()) {
    const { inlineExtents: _, ...said } = head;
    yield { table: "head", entity, ...said };
    for (const extent of partition.extents(entity, 1, "forward")) yield { table: "extent", entity, ...extent };
    for (const snapshot of partition.snapshots(entity)) yield { table: "snapshot", entity, ...snapshot };
  }
  for (const record of sortedAppendIds(partition)) yield { table: "append-id", ...record };
  for (const record of partition.sessions()) yield { table: "session", ...record };
  for (const record of partition.catalogue()) yield { table: "catalogue", ...record };
  for (const record of partition.erasures()) yield { table: "erasure", ...record };
  const open = partition.openTransactions();
  for (const record of open.pending) yield { table: "pending", ...record };
  for (const record of open.decided) yield { table: "decided", ...record };
  for (const kind of Object.values(systemKinds)) {
    let page: AlarmRecord[] = [];
    do {
      page = partition.alarms({ kind, after: page.at(-1), limit: pageAlarms });
      for (const record of page) yield { table: "alarm", ...record };
    } while (page.length === pageAlarms);
  }
}

/** Every append id in an order of its own, whatever runs they stand in. Holds them all. */
export function sortedAppendIds(partition: PartitionReader): AppendIdRecord[] {
  return [...partition.appendIds()].sort((a, b) => compare(a.entity, b.entity) || compare(a.id, b.id));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
