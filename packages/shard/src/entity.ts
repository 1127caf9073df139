// Entity: one live actor of a shard, in memory while it is active.
import type { EntityId } from "@heddle/kernel";

export class Entity {
  readonly id: EntityId;
  /** Sequence of the last event that was decided; it may not be durable yet. */
  seq: number;
  /** Log position of the entry that holds it; 0 for an entity without events. */
  position: number;
  /** Milliseconds since 1970 of that event. */
  time: number;
  /** States by aggregate index; undefined until the first use after an activation. */
  states: unknown[] | undefined = undefined;
  /** Entries that the partition does not have yet: triples of first sequence, count, position. */
  newExtents: number[] = [];
  /** Entries that the running checkpoint is writing, in the same form: not readable from the partition before its end. */
  flushingExtents: readonly number[] = noExtents;
  /** Whether the running checkpoint has still to write this entity; it does so before the next change (C1). */
  awaitsCheckpoint = false;
  /** Used since the passivation sweep last came by. */
  touched = true;

  constructor(id: EntityId, head: { seq: number; position: number; time: number }) {
    this.id = id;
    this.seq = head.seq;
    this.position = head.position;
    this.time = head.time;
  }

  /** Whether memory knows something about this entity that the partition does not. */
  get dirty(): boolean {
    return this.newExtents.length > 0 || this.flushingExtents.length > 0;
  }
}

export const noExtents: readonly number[] = [];
