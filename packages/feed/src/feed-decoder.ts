// FeedDecoder: from the entries of a log to the events of a feed, for subscriptions, consumer groups and projections alike.
//
// D1. What belongs to no history is no event: neither what a transaction has prepared, nor what a shard notes. A prepared part
//     that came to pass is shown where it did.
// D2. What was erased is left out. Tombstones and `restored` markers are told, so that whoever has folded earlier events of the
//     entity can take them back.
// D3. Payloads have the newest shape of the domain module. They are decoded when they are asked for, so that what a filter
//     leaves out costs a look at its names.
// D4. A feed position counts every event of its record, also those that are left out or erased.
import type { CompiledAggregate, CompiledContext } from "@heddle/domain/internal";
import { besideFlags, type EntryView, entryFlags } from "@heddle/event-log/internal";
import { HeddleError, isHeddleError } from "@heddle/kernel";
import { type FeedEvent, type FeedPosition, readU16, TextCache } from "@heddle/protocol/internal";
import { EntryDecoder, upcast } from "@heddle/shard/internal";
import type { FeedChunk } from "./feed-source.ts";

/** Which events. Everything left out asks for all. */
export interface FeedFilter {
  /** Of entities of this kind: `account` for `account/…`. */
  readonly kind?: string | undefined;
  readonly aggregate?: string | undefined;
  readonly types?: ReadonlySet<string> | undefined;
  /** Asked besides, once for each type of an entry. */
  readonly wants?: ((aggregate: string, type: string) => boolean) | undefined;
  /** Heddle's own entities, whose kind begins with `$`, too. */
  readonly system?: boolean | undefined;
}

/** All earlier events of an entity are gone (`erased`), or do not count for what is folded from here on (`restored`). */
export interface FeedReset {
  readonly kind: "erased" | "restored";
  readonly entity: string;
  readonly shard: number;
  /** Of the system event that says so. */
  readonly seq: number;
  readonly time: number;
  readonly position: number;
}

export interface FeedVisitor {
  /**
   * An entry that has events which are wanted. The entry is used again: take what is needed. False ends the visit in front of
   * the entry; a number, in front of its event with this index; anything else goes on.
   */
  events(entry: FeedEntry): unknown;
  /** Of any entity of the kind that is asked for, whatever events are wanted. Comes before the events of its entry. */
  reset?(reset: FeedReset): void;
}

/** An entry of a log as a feed shows it: one append to one entity. */
export class FeedEntry {
  readonly #decoder: EntryDecoder;
  readonly #domain: CompiledContext;
  readonly #wanted: boolean[] = [];
  #entry: EntryView | undefined;
  #aggregate: CompiledAggregate | undefined;
  #payloads: unknown[] | undefined;
  #first = 0;
  shard = 0;
  /** Position of its record, and place of its first event in the record's feed order. */
  record = 0;
  at = 0;

  constructor(domain: CompiledContext, texts: TextCache) {
    this.#domain = domain;
    this.#decoder = new EntryDecoder(texts);
  }

  /** Takes the entry's names apart. Whether anything in it is wanted; `from` is the first event that was not given yet. */
  open(entry: EntryView, filter: FeedFilter, from: number): boolean {
    const view = this.#decoder.open(entry);
    this.#entry = entry;
    this.#payloads = undefined;
    this.#first = from;
    if (filter.aggregate !== undefined && view.aggregate !== filter.aggregate) return false;
    let any = false;
    for (let i = 0; i < view.typeCount; i++) {
      const type = view.types[i]!;
      const isWanted =
        (filter.types === undefined || filter.types.has(type)) &&
        (filter.wants === undefined || filter.wants(view.aggregate, type));
      this.#wanted[i] = isWanted;
      any ||= isWanted;
    }
    if (!any) return false;
    this.#aggregate = this.#domain.aggregates.get(view.aggregate);
    return true;
  }

  get entity(): string {
    return this.#decoder.view.entity;
  }

  get aggregate(): string {
    return this.#decoder.view.aggregate;
  }

  get position(): number {
    return this.#entry!.position;
  }

  get time(): number {
    return this.#entry!.time;
  }

  get firstSeq(): number {
    return this.#entry!.firstSeq;
  }

  /** Events, those that are not wanted included. */
  get count(): number {
    return this.#entry!.eventCount;
  }

  /** The append's id, if it had one. Those of saga steps and reminders tell what they belong to. */
  get id(): string | undefined {
    const { id } = this.#decoder.view;
    return id === "" ? undefined : id;
  }

  /** Bytes of payloads and metadata as they are stored. */
  get storedBytes(): number {
    const { end, payloadsFrom, metadataFrom, metadataTo } = this.#decoder.view;
    return end - payloadsFrom + metadataTo - metadataFrom;
  }

  get metadata(): unknown {
    return this.#decoder.metadata(this.#entry!);
  }

  type(index: number): string {
    return this.#decoder.view.types[this.#typeIndex(index)]!;
  }

  wanted(index: number): boolean {
    return index >= this.#first && this.#wanted[this.#typeIndex(index)]!;
  }

  /** The version of the payload as it is given. */
  schemaVersion(index: number): number {
    return this.#aggregate?.events.get(this.type(index))?.schemaVersion ?? this.#storedVersion(index);
  }

  /** In its newest shape. Errors: `DOMAIN_FAILED`, which names the event, when an upcaster throws. */
  payload(index: number): unknown {
    this.#payloads ??= this.#decoder.payloads(this.#entry!);
    const payload = this.#payloads[index];
    const event = this.#aggregate?.events.get(this.type(index));
    if (event === undefined) return payload;
    try {
      return upcast(event, payload, this.#storedVersion(index), this.aggregate);
    } catch (thrown) {
      if (!isHeddleError(thrown, "DOMAIN_FAILED")) throw thrown;
      // Whoever reads the events of many entities does not know which one it was.
      const { where, message } = thrown.facts;
      const facts = { where: `${where}, at event ${this.firstSeq + index} of ${this.entity}`, message };
      throw new HeddleError("DOMAIN_FAILED", facts, { cause: thrown });
    }
  }

  /** Errors: as `payload`. */
  event(index: number): FeedEvent {
    return {
      shard: this.shard,
      position: this.position,
      index,
      entity: this.entity,
      seq: this.firstSeq + index,
      time: this.time,
      aggregate: this.aggregate,
      type: this.type(index),
      payload: this.payload(index),
      metadata: this.metadata,
      id: this.id,
      schemaVersion: this.schemaVersion(index),
    };
  }

  #typeIndex(index: number): number {
    const { typeIndexes } = this.#decoder.view;
    return typeIndexes === 0 ? 0 : this.#entry!.bytes[typeIndexes + index]!;
  }

  #storedVersion(index: number): number {
    return readU16(this.#entry!.bytes, this.#decoder.view.versionOffsets[this.#typeIndex(index)]!);
  }
}

const dollar = 0x24;
const slash = 0x2f;

/** Ends a visit from inside the source's own loop. */
const enough = Symbol("enough");

export class FeedDecoder {
  readonly #filter: FeedFilter;
  readonly #kind: Uint8Array | undefined;
  readonly #entry: FeedEntry;

  constructor(domain: CompiledContext, filter: FeedFilter = {}, texts = new TextCache(1024)) {
    this.#filter = filter;
    this.#kind = filter.kind === undefined ? undefined : new TextEncoder().encode(filter.kind);
    this.#entry = new FeedEntry(domain, texts);
  }

  /**
   * Visits what is wanted of a chunk behind a place, which must lie in the chunk's first record or before it. Gives the place
   * behind all that was visited: the chunk's end, unless the visitor ended it.
   * Errors: whatever the visitor throws.
   */
  visit(chunk: FeedChunk, visitor: FeedVisitor, after?: FeedPosition): FeedPosition {
    let record = -1;
    let at = 0;
    let stopped: FeedPosition | undefined;
    try {
      chunk.visit((entry, ofRecord) => {
        if (ofRecord !== record) {
          record = ofRecord;
          at = 0;
        }
        if ((entry.flags & besideFlags) !== 0) return;
        const from = after !== undefined && record === after.record ? Math.max(0, after.skip - at) : 0;
        if (from < entry.eventCount) {
          const end = this.#visitEntry(chunk.shard, record, at, from, entry, visitor);
          if (end !== undefined) {
            stopped = { record, skip: at + end };
            throw enough;
          }
        }
        at += entry.eventCount;
      });
    } catch (thrown) {
      if (thrown !== enough) throw thrown;
    }
    return stopped ?? { record: chunk.to, skip: 0 };
  }

  // The index of the event in front of which the visit ends, or undefined when it goes on.
  #visitEntry(
    shard: number,
    record: number,
    at: number,
    from: number,
    entry: EntryView,
    visitor: FeedVisitor,
  ): number | undefined {
    if ((entry.flags & entryFlags.erased) !== 0 || !this.#isOfKind(entry)) return undefined;
    const isReset = (entry.flags & (entryFlags.tombstone | entryFlags.restored)) !== 0;
    const shown = this.#entry;
    const isWanted = shown.open(entry, this.#filter, from);
    if (isReset && visitor.reset !== undefined) {
      const kind = (entry.flags & entryFlags.tombstone) !== 0 ? "erased" : "restored";
      const { entity, firstSeq: seq, time, position } = shown;
      visitor.reset({ kind, entity, shard, seq, time, position });
    }
    if (!isWanted) return undefined;
    shown.shard = shard;
    shown.record = record;
    shown.at = at;
    const end = visitor.events(shown);
    if (end === false) return from;
    return typeof end === "number" ? end : undefined;
  }

  // Told from the bytes, before any text is made of them.
  #isOfKind({ bytes, bodyFrom }: EntryView): boolean {
    const start = bodyFrom + 2;
    if (bytes[start] === dollar) return this.#filter.system === true && this.#kind === undefined;
    const kind = this.#kind;
    if (kind === undefined) return true;
    for (let i = 0; i < kind.length; i++) if (bytes[start + i] !== kind[i]) return false;
    return bytes[start + kind.length] === slash;
  }
}
