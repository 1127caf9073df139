// Entity: one live actor of a shard, in memory while it is active.
import type { EntityId } from "@heddle/kernel";

/** An entity as the running checkpoint is to write it, kept because the entity has moved on since. */
export interface EntityCut {
  readonly seq: number;
  readonly position: number;
  readonly time: number;
  readonly states: readonly unknown[] | undefined;
}

export class Entity {
  readonly id: EntityId;
  /** Sequence of the last event that was decided; it may not be durable yet. */
  seq: number;
  /** Log position of the entry that holds it; 0 for an entity without events. */
  position: number;
  /** Milliseconds since 1970 of that event. */
  time: number;
  /** States by aggregate index; undefined until the first use after an activation. Frozen, so that a cut can keep them. */
  states: unknown[] | undefined = undefined;
  /** Bytes of the states as they were last encoded: what they weigh in memory's budget. */
  stateBytes = 0;
  /** Entries that no checkpoint has taken over yet: triples of first sequence, count, position. */
  newExtents: number[] = [];
  /** Number of the checkpoint that takes `newExtents` over, while there are any. */
  writtenBy = 0;
  /** Entries that the running checkpoint is writing, in the same form: not sure to be readable from the partition yet. */
  flushingExtents: number[] = noExtents;
  cut: EntityCut | undefined = undefined;
  /** Used since the hand of passivation last came by. */
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

  /** Hands what is new to the running checkpoint, and the entity as it now stands with it. */
  keepCut(): void {
    const { seq, position, time, states } = this;
    this.cut = { seq, position, time, states: states?.slice() };
    this.flushingExtents = this.newExtents;
    this.newExtents = [];
  }
}

/** Shared by all entities; nobody adds to it. */
export const noExtents: number[] = [];
