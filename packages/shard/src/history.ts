// History: events of one entity as they were written, read from the log. Only durable ones (P2).
//
// H1. A page holds at least one event while there is more to read, and its reply stays within a frame.
// H2. One turn reads no more than a bounded part of the log: to find the few events of one aggregate among the many of
//     others, the page is gone on with in later turns, while the shard does other work (P8).
import type { EventLog } from "@heddle/event-log/internal";
import { type AppendView, encodeValue, type HistoryFields, type WireEvent } from "@heddle/protocol/internal";
import type { Activation, Extent } from "./activation.ts";
import type { Entity } from "./entity.ts";
import { EntryDecoder, type StoredEvent } from "./stored-events.ts";

/** A page is not added to beyond this. A single entry may be longer; it is then given out in parts. */
const pageBytesMax = 4 << 20;

/** Bytes of log that one turn reads, an entry counting for some even if it is small: about five milliseconds. */
const turnBytesMax = 512 << 10;
const entryBytesMin = 512;

const decoder = new EntryDecoder();

export class HistoryPage {
  readonly events: WireEvent[] = [];
  readonly #fields: HistoryFields;
  readonly #forward: boolean;
  /** The next sequence to look at; undefined for the entity's end, which is known at the first reading. */
  #next: number | undefined;
  #bytes = 0;

  constructor(fields: HistoryFields) {
    this.#fields = fields;
    this.#forward = fields.direction === "forward";
    this.#next = fields.from === 0 ? (this.#forward ? 1 : undefined) : fields.from;
  }

  /**
   * Reads on. True when the page is finished; otherwise it wants to be called again in a later turn.
   * Errors: `LOG_DAMAGED`, `PARTITION_DAMAGED`.
   */
  read(activation: Activation, log: EventLog, entity: Entity): boolean {
    const from = this.#forward ? this.#next! : Math.min(this.#next ?? entity.seq, entity.seq);
    const extents = this.#forward ? activation.extentsForward(entity, from) : activation.extentsBackward(entity, from);
    let left = turnBytesMax;
    for (const extent of extents) {
      if (extent.position >= log.durableEnd) {
        if (this.#forward) return true;
        continue;
      }
      if (left <= 0) return false;
      left -= this.#readExtent(activation, entity, extent, from);
      if (this.#isFull()) return true;
      this.#next = this.#forward ? extent.firstSeq + extent.count : extent.firstSeq - 1;
    }
    return true;
  }

  // Returns the bytes that it read.
  #readExtent(activation: Activation, entity: Entity, extent: Extent, from: number): number {
    const { aggregate } = this.#fields;
    const entry = activation.readEntry(entity, extent, decoder);
    const read = entry.bodyTo - entry.bodyFrom;
    const { view } = decoder;
    if (aggregate !== "" && view.aggregate !== aggregate) return Math.max(read, entryBytesMin);
    // Every event of a page carries the entry's metadata, so that a short entry can make a long page.
    const perEvent = view.metadataTo - view.metadataFrom + eventBytesMax(view);
    const wanted = entry.eventCount * perEvent + view.end - view.payloadsFrom;
    if (this.events.length > 0 && this.#bytes + wanted > pageBytesMax) {
      this.#bytes = pageBytesMax;
      return read;
    }
    const isMeasured = wanted > pageBytesMax;
    const stored = decoder.events(entry);
    if (!this.#forward) stored.reverse();
    for (const event of stored) {
      if (this.#forward ? event.seq < from : event.seq > from) continue;
      if (this.#isFull()) break;
      if (isMeasured) this.#bytes += perEvent + encodeValue(event.payload).length;
      this.events.push(toWire(event));
    }
    if (!isMeasured) this.#bytes += wanted;
    return Math.max(read, entryBytesMin);
  }

  #isFull(): boolean {
    return this.events.length >= this.#fields.limit || (this.events.length > 0 && this.#bytes >= pageBytesMax);
  }
}

// What an event takes in a page beside its payload and metadata, at most: five numbers, and three bytes a character.
function eventBytesMax({ aggregate, id, types, typeCount }: AppendView): number {
  let longest = 0;
  for (let i = 0; i < typeCount; i++) longest = Math.max(longest, types[i]!.length);
  return 64 + 3 * (aggregate.length + longest + id.length);
}

export function toWire(event: StoredEvent): WireEvent {
  return [
    event.seq,
    event.time,
    event.aggregate,
    event.type,
    event.payload,
    event.metadata,
    event.id ?? null,
    event.schemaVersion,
    event.position,
  ];
}
