// EndedEntities: sagas that began and ended since the last checkpoint, packed until the next one has written them.
//
// There are tens of thousands between two checkpoints, and nobody is likely to look at them again.
//
// E1. A row is durable, chained, and never changes: whoever wants to change the entity makes an object of it first.
// E2. Here is all that there is of the entity: no checkpoint that was committed has written anything of it.
import { HashSlots, invariant, secretHash } from "@heddle/kernel/internal";
import { type EntityHead, PackedHeads } from "@heddle/partition/internal";
import { type Entity, extentWidth, shortHistoryMax } from "./entity.ts";

const none = -1;

export class EndedEntities {
  /** With those that are gone. Handed to a checkpoint by their rows. */
  readonly heads = new PackedHeads();
  /** Rows that stand for nothing any more. */
  readonly #gone = new Set<number>();
  /** By id. */
  readonly #slots = new HashSlots();

  /** Memory that the rows take, as estimated. */
  get bytes(): number {
    return this.heads.bytes;
  }

  rows(): number[] {
    const rows: number[] = [];
    for (let row = 0; row < this.heads.size; row++) if (!this.#gone.has(row)) rows.push(row);
    return rows;
  }

  has(id: string, hash = secretHash(id)): boolean {
    return this.#rowOf(id, hash) >= 0;
  }

  /** Packs an entity, with all extents that there are of it; it is not here yet. */
  add(entity: Entity): void {
    const { id, newExtents } = entity;
    if (newExtents.length > shortHistoryMax * extentWidth) {
      invariant(false, "shard/ended-entity-is-short", { id, extents: newExtents.length });
    }
    const hash = secretHash(id);
    this.#slots.put(this.#slotOf(id, hash), this.heads.add(id, entity, newExtents), hash);
  }

  idAt(row: number): string {
    return this.heads.entityAt(row);
  }

  get(id: string): EntityHead | undefined {
    const row = this.#rowOf(id, secretHash(id));
    return row < 0 ? undefined : this.headAt(row);
  }

  headAt(row: number): EntityHead {
    return this.heads.headAt(row);
  }

  delete(id: string): void {
    const row = this.#rowOf(id, secretHash(id));
    if (row >= 0) this.#gone.add(row);
  }

  /** Keeps room for as many that come. No checkpoint may be using the rows any more. */
  clear(): void {
    this.heads.clear();
    this.#slots.clear();
    this.#gone.clear();
  }

  // Negative if there is none.
  #rowOf(id: string, hash: number): number {
    if (this.heads.size === 0) return none;
    const row = this.#slots.rowAt(this.#slotOf(id, hash));
    return row < 0 || this.#gone.has(row) ? none : row;
  }

  // The slot of its youngest row, or the free one where it would be.
  #slotOf(id: string, hash: number): number {
    const slots = this.#slots;
    for (let slot = slots.first(hash); ; slot = slots.next(slot)) {
      const row = slots.rowAt(slot);
      if (row < 0 || (slots.hashAt(slot) === hash && this.heads.entityAt(row) === id)) return slot;
    }
  }
}

/** Whether all that there is of an entity can stand in a row. */
export function canBePacked({ baseSeq, hold, storedAlarm, newExtents }: Entity): boolean {
  return baseSeq === 0 && hold === undefined && storedAlarm === undefined && newExtents[0] === 1;
}
