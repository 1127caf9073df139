// Listing: entities of a shard in the order of their ids' bytes, without waking any of them.
//
// The partition has those that a checkpoint wrote, memory those that changed since: both are read, memory is right where
// both have one. Only what is durable is listed (P2).
//
// L1. One turn looks at a bounded part of the partition, whatever is left out of the page (P8).
// Not promised: the exact time of an entity whose last event is not durable yet; it may be that event's.
import type { EventLog } from "@heddle/event-log/internal";
import { isSystemEntity } from "@heddle/kernel";
import type { EntityHead, Partition } from "@heddle/partition/internal";
import type { ListFields, WireListed } from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import { type Entity, extentWidth } from "./entity.ts";

/** Entities of the partition looked at in one turn: some milliseconds. */
const sliceEntities = 5_000;

/** Heddle's own entities come before this id, all others behind it. They are listed to those who ask for them by prefix. */
const lastSystemId = "%";

interface Stored {
  readonly entity: string;
  readonly head: EntityHead;
}

export class ListPage {
  readonly listed: WireListed[] = [];
  readonly #fields: ListFields;
  /** Everything up to this id has been looked at. */
  #after: string;

  constructor(fields: ListFields) {
    this.#fields = fields;
    // `$` sorts before all letters: so nobody walks over a million sagas on the way to the first account.
    const passesOver = !isSystemEntity(fields.prefix) && fields.after < lastSystemId;
    this.#after = passesOver ? lastSystemId : fields.after;
  }

  /** Reads on; true when the page is finished. */
  read(partition: Partition, activation: Activation, log: EventLog): boolean {
    const wanted = this.#fields.limit - this.listed.length;
    const stored = this.#slice(partition, Math.min(sliceEntities, wanted));
    const isLast = stored.length < Math.min(sliceEntities, wanted);
    const until = isLast ? undefined : stored[stored.length - 1]!.entity;
    const changed = this.#changed(activation, until);
    let next = 0;
    for (const { entity, head } of stored) {
      for (; next < changed.length && compareUtf8(changed[next]!.id, entity) < 0; next++) {
        if (this.#add(changed[next]!.id, durableHead(changed[next]!, log, undefined))) return true;
      }
      const isChanged = changed[next]?.id === entity;
      const known = isChanged
        ? durableHead(changed[next++]!, log, head)
        : { ...head, baseSeq: activation.baseOf(entity, head) };
      if (this.#add(entity, known)) return true;
    }
    for (; next < changed.length; next++) {
      if (this.#add(changed[next]!.id, durableHead(changed[next]!, log, undefined))) return true;
    }
    if (until !== undefined) this.#after = until;
    return isLast;
  }

  // Says whether the page is full.
  #add(id: string, head: EntityHead | undefined): boolean {
    if (head === undefined || head.seq === 0) return false;
    const isErased = head.baseSeq === head.seq;
    if (isErased && !this.#fields.erased) return false;
    this.listed.push([id, head.seq, head.time, hexOf(head.chain), isErased]);
    return this.listed.length >= this.#fields.limit;
  }

  // Ids with one prefix lie together.
  #slice(partition: Partition, most: number): Stored[] {
    const { prefix } = this.#fields;
    const slice: Stored[] = [];
    for (const stored of partition.entities(compareUtf8(prefix, this.#after) > 0 ? prefix : this.#after)) {
      if (!stored.entity.startsWith(prefix)) {
        if (compareUtf8(stored.entity, prefix) > 0) break;
        continue;
      }
      if (compareUtf8(stored.entity, this.#after) <= 0) continue;
      slice.push(stored);
      if (slice.length === most) break;
    }
    return slice;
  }

  // The first entities in order that memory knows better, as many as the page may need. Those beyond are let go on the way,
  // because a checkpoint may be due for hundreds of thousands.
  #changed(activation: Activation, until: string | undefined): Entity[] {
    const wanted = this.#fields.limit - this.listed.length + (until === undefined ? 0 : sliceEntities);
    const { prefix } = this.#fields;
    const inOrder = (a: Entity, b: Entity) => compareUtf8(a.id, b.id);
    let found = new Map<string, Entity>();
    let last = until;
    let skipped = 0;
    for (const entity of changedEntities(activation, prefix)) {
      const { id } = entity;
      if (!id.startsWith(prefix) || compareUtf8(id, this.#after) <= 0) continue;
      if (last !== undefined && compareUtf8(id, last) > 0) continue;
      // Those that are not listed must not push out others that are.
      if (entity.isErased || entity.seq === 0) skipped++;
      found.set(id, entity);
      if (found.size < 2 * wanted + skipped + sliceEntities) continue;
      const first = [...found.values()].sort(inOrder).slice(0, wanted + skipped);
      found = new Map(first.map((one) => [one.id, one]));
      last = first[first.length - 1]!.id;
    }
    return [...found.values()].sort(inOrder);
  }
}

function* changedEntities(activation: Activation, prefix: string): Generator<Entity> {
  yield* activation.changed();
  if (isSystemEntity(prefix)) yield* activation.ended();
}

// An entity as far as it is durable: what is still on its way to the disk is chained when it has arrived.
function durableHead(entity: Entity, log: EventLog, stored: EntityHead | undefined): EntityHead | undefined {
  const { seq, position, time, chain, baseSeq, indexBase, chainedSeq } = entity;
  if (position < log.durableEnd) return { seq, position, time, chain, baseSeq };
  for (const quads of [entity.newExtents, entity.flushingExtents]) {
    for (let at = quads.length - extentWidth; at >= 0; at -= extentWidth) {
      if (quads[at]! + quads[at + 1]! - 1 !== chainedSeq) continue;
      const base = baseSeq <= chainedSeq ? baseSeq : indexBase;
      return { seq: chainedSeq, position: quads[at + 2]!, time, chain, baseSeq: base };
    }
  }
  return stored;
}

function hexOf(chain: string): string {
  return Buffer.from(chain, "latin1").toString("hex");
}

// JavaScript compares UTF-16 units, which sorts characters beyond U+FFFF elsewhere than their bytes do.
function compareUtf8(a: string, b: string): number {
  if (a === b) return 0;
  return ascii.test(a) && ascii.test(b) ? (a < b ? -1 : 1) : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Characters that are one byte each; entity ids hold no control characters. */
const ascii = /^[ -~]*$/;
