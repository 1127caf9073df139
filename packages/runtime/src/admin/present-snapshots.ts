// PresentSnapshots: the states that the running code made, as a shard's partition has them, for the entities of one slice.
//
// Read before the log is, in one go by key: asking for each entity's in the order of the log takes twice as long. In many
// turns, so that no old pages of LMDB are kept alive beside a running node.
import { HeddleError } from "@heddle/kernel";
import type { DetachedReader, SnapshotRecord } from "@heddle/partition/internal";
import { type Slice, sliceOfEntity } from "./entity-slices.ts";

/** Snapshots read in one turn: some ten milliseconds. */
const snapshotsPerTurn = 4_096;

export class PresentSnapshots {
  readonly #byEntity = new Map<string, SnapshotRecord[]>();

  /** Snapshots that are damaged are left out: the shard would fold the log instead. */
  static async read(partition: DetachedReader, slice: Slice): Promise<PresentSnapshots> {
    const found = new PresentSnapshots();
    try {
      let left = snapshotsPerTurn;
      for (const snapshot of partition.allSnapshots()) {
        found.#add(snapshot, slice);
        if (--left > 0) continue;
        left = snapshotsPerTurn;
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      found.#readOneByOne(partition, slice);
    }
    return found;
  }

  /** The newest snapshot of each of the entity's aggregates; once, because they are given out of memory. */
  take(entity: string): readonly SnapshotRecord[] {
    const snapshots = this.#byEntity.get(entity) ?? [];
    this.#byEntity.delete(entity);
    return snapshots;
  }

  #add({ entity, ...snapshot }: SnapshotRecord & { readonly entity: string }, { slice, slices }: Slice): void {
    if (sliceOfEntity(entity, slices) !== slice) return;
    const known = this.#byEntity.get(entity);
    if (known === undefined) this.#byEntity.set(entity, [snapshot]);
    else known.push(snapshot);
  }

  // Around what is damaged.
  #readOneByOne(partition: DetachedReader, { slice, slices }: Slice): void {
    this.#byEntity.clear();
    try {
      for (const { entity } of partition.entities()) {
        if (sliceOfEntity(entity, slices) !== slice) continue;
        try {
          this.#byEntity.set(entity, partition.snapshots(entity));
        } catch (error) {
          if (!(error instanceof HeddleError)) throw error;
        }
      }
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
    }
  }
}
