// Entity: one live actor of a shard, in memory while it is active.
import type { EntityId } from "@heddle/kernel";
import type { EntityHead } from "@heddle/partition/internal";
import type { Holder } from "./holder.ts";

/** An entity as the running checkpoint is to write it, kept because the entity has moved on since. */
export interface EntityCut {
  readonly seq: number;
  readonly position: number;
  readonly time: number;
  readonly chain: string;
  readonly states: readonly unknown[] | undefined;
}

/** Events of an entity of Heddle's own that has come to its end, up to which it is folded anew when somebody asks. */
export const shortHistoryMax = 8;

/** Fields of an extent: first sequence, count, position, check. */
export const extentWidth = 4;

export class Entity {
  readonly id: EntityId;
  /** Sequence of the last event that was decided; it may not be durable yet. */
  seq: number;
  /** Log position of the entry that holds it; 0 for an entity without events. */
  position: number;
  /** Milliseconds since 1970 of that event. */
  time: number;
  /** Sequence of the last tombstone, 0 if there is none: what lies before it is gone, or about to be. */
  baseSeq: number;
  /** Where the extents begin that the partition still has: at an earlier tombstone, while an erasure is under way. */
  indexBase: number;
  /** The hash chain up to `chainedSeq`; empty before the first entry. */
  chain: string;
  /** Entries beyond this sequence are not durable yet. */
  chainedSeq: number;
  /** States by aggregate index; undefined until the first use after an activation. Frozen, so that a cut can keep them. */
  states: unknown[] | undefined = undefined;
  /** What the entity weighs in memory's budget, in bytes. */
  weight = 0;
  /** Entries that no checkpoint has taken over yet, but for the last one, which its fields tell. */
  #extents: number[] = noExtents;
  /** Events of the last entry, as long as it is not among the extents; 0 where there is none. */
  #lastCount = 0;
  #lastCheck = 0;
  /** Number of the checkpoint that is to write this entity; 0 when none is. */
  queuedFor = 0;
  /** Place in the list of those that it is to write, while that is the next one. */
  changedAt = 0;
  /**
   * Entries that the running checkpoint is writing, in the same form: not sure to be readable from the partition yet. The
   * shared `noExtents` when it writes nothing of this entity; another empty list for one without new entries.
   */
  flushingExtents: readonly number[] = noExtents;
  /**
   * Entries that the partition has in the entity's head, in the same form: to be written once more with the next that come.
   * Undefined for nearly all.
   */
  inlineExtents: Float64Array | undefined;
  cut: EntityCut | undefined = undefined;
  /** The alarm that the partition has of it; `alarmUnknown` after a checkpoint that failed. */
  storedAlarm: number | undefined;
  /** The transaction that keeps this entity for itself: everybody else waits for it (holder.ts). */
  hold: Holder | undefined = undefined;
  /** Of Heddle's own, with a short history and no alarm: once that is durable its states are let go, and seldom asked for again. */
  isOver = false;
  /** Used since the hand of passivation last came by. */
  touched = true;

  constructor(id: EntityId, head: EntityHead) {
    this.id = id;
    this.seq = head.seq;
    this.position = head.position;
    this.time = head.time;
    this.baseSeq = head.baseSeq;
    this.indexBase = head.baseSeq;
    this.chain = head.chain;
    this.chainedSeq = head.seq;
    this.storedAlarm = head.alarm;
    this.inlineExtents = head.inlineExtents;
  }

  /** Entries that no checkpoint has taken over yet: quads of first sequence, count, position, check. Not to be changed. */
  get newExtents(): readonly number[] {
    if (this.#lastCount > 0) this.#keepLast();
    return this.#extents;
  }

  /** Replaces them. */
  set newExtents(quads: number[]) {
    this.#extents = quads;
    this.#lastCount = 0;
  }

  /** Moves on by one log entry. */
  extend(count: number, position: number, time: number): void {
    if (this.#lastCount > 0) this.#keepLast();
    this.seq += count;
    this.position = position;
    this.time = time;
    this.#lastCount = count;
    this.#lastCheck = 0;
  }

  // Only when another entry follows, or somebody looks: the list of a busy entity is long and seldom in the processor's cache, its
  // fields are. The first two are literals: an empty list that is added to makes room for twenty numbers, and most entities that wait for a
  // checkpoint have no more than two.
  #keepLast(): void {
    const extents = this.#extents;
    const count = this.#lastCount;
    const firstSeq = this.seq - count + 1;
    const check = this.#lastCheck;
    this.#lastCount = 0;
    if (extents.length === 0) this.#extents = [firstSeq, count, this.position, check];
    else if (extents.length === extentWidth) {
      this.#extents = [extents[0]!, extents[1]!, extents[2]!, extents[3]!, firstSeq, count, this.position, check];
    } else extents.push(firstSeq, count, this.position, check);
  }

  /** Erased, and nothing written since. */
  get isErased(): boolean {
    return this.baseSeq === this.seq && this.seq > 0;
  }

  /** Whether memory knows something about this entity that the partition does not. */
  get dirty(): boolean {
    return this.queuedFor !== 0 || this.flushingExtents !== noExtents;
  }

  /** Hands what is new to the running checkpoint, which keeps the entity as it now stands until it gets there. */
  keepCut(): void {
    const { seq, position, time, chain, states } = this;
    this.cut = { seq, position, time, chain, states: states?.slice() };
    this.handOver();
  }

  /** Hands what is new to the running checkpoint, which writes the entity now. */
  handOver(): void {
    this.flushNew();
    if (this.inlineExtents !== undefined) {
      this.flushingExtents = [...this.inlineExtents, ...this.flushingExtents];
      this.inlineExtents = undefined;
    }
    this.queuedFor = 0;
  }

  /** The running checkpoint has the new entries. */
  flushNew(): void {
    const { newExtents } = this;
    this.flushingExtents = newExtents === noExtents ? [] : newExtents;
    this.#extents = noExtents;
  }

  /** What lies before the last tombstone was erased long ago: it is left out of the extents that a checkpoint writes. */
  beginAtBase(): void {
    this.indexBase = this.baseSeq;
    const { newExtents } = this;
    let at = 0;
    while (at < newExtents.length && newExtents[at]! < this.baseSeq) at += extentWidth;
    this.newExtents = newExtents.slice(at);
    this.inlineExtents = undefined;
  }

  /** Fills in the check of the extent that begins at a sequence: most often the last one, but a group can hold thousands. */
  setCheck(firstSeq: number, check: number): void {
    if (this.#lastCount > 0 && this.seq - this.#lastCount + 1 === firstSeq) {
      this.#lastCheck = check;
      return;
    }
    const extents = this.#extents;
    let low = 0;
    for (let high = extents.length / extentWidth - 1; low <= high; ) {
      const middle = (low + high) >> 1;
      const found = extents[middle * extentWidth]!;
      if (found === firstSeq) {
        extents[middle * extentWidth + 3] = check;
        return;
      }
      if (found < firstSeq) low = middle + 1;
      else high = middle - 1;
    }
  }
}

/** Shared by all entities; nobody adds to it. */
export const noExtents: number[] = [];
