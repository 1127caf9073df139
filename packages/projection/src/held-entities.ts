// HeldEntities: entities whose events are not folded at the moment, and where each goes on.
//
// An event that failed, or that is a step of a saga which has not ended, holds its entity: what follows in the entity's history
// waits behind it, so that each entity is folded in its order. What waits is kept at hand while that is little; otherwise, and
// after a restart, it is read from the log again.
import type { Item } from "./item.ts";
import type { Held } from "./sink.ts";

/** Bytes of waiting events at hand, for one generation, as they are stored. */
const queuedBytesMax = 32 << 20;

export interface HeldEntity {
  readonly record: Held;
  /** The event that holds, and all behind it up to the position of the generation; undefined when only the log has them. */
  queue: Item[] | undefined;
}

export class HeldEntities {
  readonly #entities = new Map<string, HeldEntity>();
  /** Entities by the saga that they wait for. */
  readonly #bySaga = new Map<string, Set<string>>();
  #queuedBytes = 0;
  #errors = 0;
  /** Since the last write. */
  readonly changes = new Map<string, Held | null>();

  constructor(records: readonly Held[]) {
    for (const record of records) this.#put(record, undefined);
  }

  get size(): number {
    return this.#entities.size;
  }

  /** Those that were set aside because of an error. */
  get errors(): number {
    return this.#errors;
  }

  get(entity: string): HeldEntity | undefined {
    return this.#entities.get(entity);
  }

  values(): Iterable<HeldEntity> {
    return this.#entities.values();
  }

  waitingFor(saga: string): readonly string[] {
    return [...(this.#bySaga.get(saga) ?? [])];
  }

  hold(record: Held, queue: Item[] | undefined): void {
    this.#take(record.entity);
    this.#put(record, queue);
    this.changes.set(record.entity, record);
  }

  /** Takes in an event behind the one that holds; true when the entity is held, so that nothing else is to be done. */
  waits(item: Item): boolean {
    const held = this.#entities.get(item.event.entity);
    if (held === undefined) return false;
    if (held.queue !== undefined) {
      held.queue.push(item);
      this.#queuedBytes += item.bytes;
      if (this.#queuedBytes > queuedBytesMax) {
        this.#queuedBytes -= bytesOf(held.queue);
        held.queue = undefined;
      }
    }
    return true;
  }

  release(entity: string): void {
    if (this.#take(entity)) this.changes.set(entity, null);
  }

  #put(record: Held, queue: Item[] | undefined): void {
    this.#entities.set(record.entity, { record, queue });
    if (queue !== undefined) this.#queuedBytes += bytesOf(queue);
    if (record.reason === "error") this.#errors++;
    if (record.reason !== "saga") return;
    const waiting = this.#bySaga.get(record.saga);
    if (waiting === undefined) this.#bySaga.set(record.saga, new Set([record.entity]));
    else waiting.add(record.entity);
  }

  #take(entity: string): boolean {
    const held = this.#entities.get(entity);
    if (held === undefined) return false;
    this.#entities.delete(entity);
    const { record, queue } = held;
    if (queue !== undefined) this.#queuedBytes -= bytesOf(queue);
    if (record.reason === "error") this.#errors--;
    if (record.reason !== "saga") return true;
    const waiting = this.#bySaga.get(record.saga);
    waiting?.delete(entity);
    if (waiting?.size === 0) this.#bySaga.delete(record.saga);
    return true;
  }
}

function bytesOf(queue: readonly Item[]): number {
  let bytes = 0;
  for (const item of queue) bytes += item.bytes;
  return bytes;
}
