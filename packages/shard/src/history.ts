// History: events of one entity, read from the log. Only durable ones (P2), and none from before its last tombstone (P6).
//
// H1. A page holds at least one event while there is more to read, and its reply stays within a frame.
// H2. One turn reads no more than a bounded part of the log: to find the few events of one aggregate among the many of
//     others, the page is gone on with in later turns, while the shard does other work (P8).
import type { CompiledContext } from "@heddle/domain/internal";
import type { EventLog } from "@heddle/event-log/internal";
import type { Extent } from "@heddle/partition/internal";
import { type AppendView, encodeValue, type HistoryFields, type WireEvent } from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
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
  readonly #domain: CompiledContext;
  readonly #bytesMax: number;
  readonly #forward: boolean;
  /** The last sequence that the range takes in, in the direction of reading. */
  readonly #last: number;
  readonly #since: number;
  readonly #until: number;
  /** The next sequence to look at; undefined for the entity's end, which is known at the first reading. */
  #next: number | undefined;
  #bytes = 0;
  #skipped = false;
  /** The range in time is over. */
  #ended = false;

  constructor(fields: HistoryFields, domain: CompiledContext, bytesMax = pageBytesMax) {
    this.#fields = fields;
    this.#domain = domain;
    this.#bytesMax = bytesMax;
    this.#forward = fields.direction === "forward";
    const { to = 0, since = 0, until = 0 } = fields;
    this.#last = to !== 0 ? to : this.#forward ? Number.POSITIVE_INFINITY : 1;
    this.#since = since;
    this.#until = until === 0 ? Number.POSITIVE_INFINITY : until;
    this.#next = fields.from === 0 ? (this.#forward ? 1 : undefined) : fields.from;
  }

  /** Of one that goes forward: the sequence behind all that it has and has passed over. */
  get next(): number {
    return Math.max(this.#next!, (this.events.at(-1)?.[0] ?? 0) + 1);
  }

  /**
   * Reads on. True when the page is finished; otherwise it wants to be called again in a later turn.
   * Errors: `LOG_DAMAGED`, `PARTITION_DAMAGED`.
   */
  read(activation: Activation, log: EventLog, entity: Entity): boolean {
    if (this.#next === undefined || this.#forward) this.#skipByTime(activation, log, entity);
    const from = this.#forward ? this.#next! : Math.min(this.#next ?? entity.seq, entity.seq);
    const extents = this.#forward ? activation.extentsForward(entity, from) : activation.extentsBackward(entity, from);
    let left = turnBytesMax;
    for (const extent of extents) {
      if (extent.position >= log.durableEnd) {
        if (this.#forward) return true;
        continue;
      }
      if (this.#forward ? extent.firstSeq > this.#last : extent.firstSeq + extent.count - 1 < this.#last) return true;
      if (left <= 0) return false;
      left -= this.#readExtent(activation, entity, extent, from);
      if (this.#ended) return true;
      if (this.#isFull()) return true;
      this.#next = this.#forward ? extent.firstSeq + extent.count : extent.firstSeq - 1;
    }
    return true;
  }

  // Times never fall within an entity, so that the place to begin is found by halving.
  #skipByTime(activation: Activation, log: EventLog, entity: Entity): void {
    if (this.#skipped) return;
    this.#skipped = true;
    if (this.#forward && this.#since > 0) {
      this.#next = Math.max(this.#next!, seqAtTime(activation, log, entity, this.#since - 1) + 1);
    } else if (!this.#forward && this.#until !== Number.POSITIVE_INFINITY) {
      this.#next = Math.min(this.#next ?? entity.seq, seqAtTime(activation, log, entity, this.#until));
    }
  }

  // Returns the bytes that it read.
  #readExtent(activation: Activation, entity: Entity, extent: Extent, from: number): number {
    const { aggregate } = this.#fields;
    const entry = activation.readEntry(entity, extent, decoder);
    const read = entry.bodyTo - entry.bodyFrom;
    if (entry.time < this.#since || entry.time > this.#until) {
      this.#ended = this.#forward ? entry.time > this.#until : entry.time < this.#since;
      return Math.max(read, entryBytesMin);
    }
    const { view } = decoder;
    if (aggregate !== "" && view.aggregate !== aggregate) return Math.max(read, entryBytesMin);
    // Every event of a page carries the entry's metadata, so that a short entry can make a long page.
    const perEvent = view.metadataTo - view.metadataFrom + eventBytesMax(view);
    const wanted = entry.eventCount * perEvent + view.end - view.payloadsFrom;
    if (this.events.length > 0 && this.#bytes + wanted > this.#bytesMax) {
      this.#bytes = this.#bytesMax;
      return read;
    }
    const isMeasured = wanted > this.#bytesMax;
    const stored = decoder.events(entry, this.#domain);
    if (!this.#forward) stored.reverse();
    for (const event of stored) {
      if (this.#forward ? event.seq < from || event.seq > this.#last : event.seq > from || event.seq < this.#last)
        continue;
      if (this.#isFull()) break;
      if (isMeasured) this.#bytes += perEvent + encodeValue(event.payload).length;
      this.events.push(toWire(event));
    }
    if (!isMeasured) this.#bytes += wanted;
    return Math.max(read, entryBytesMin);
  }

  #isFull(): boolean {
    return this.events.length >= this.#fields.limit || (this.events.length > 0 && this.#bytes >= this.#bytesMax);
  }
}

/**
 * The last durable sequence of an entity with a time of at most `time`; what stands before the first event if there is
 * none. Reads a few entries. Errors: as `readEntry`.
 */
export function seqAtTime(activation: Activation, log: EventLog, entity: Entity, time: number): number {
  const lowest = Math.max(1, entity.baseSeq);
  let low = lowest - 1;
  let high = entity.seq;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const extent = activation.extentsForward(entity, middle).next().value;
    const isLater =
      extent === undefined ||
      extent.position >= log.durableEnd ||
      activation.readEntry(entity, extent, decoder).time > time;
    if (isLater) high = (extent?.firstSeq ?? middle) - 1;
    else low = extent.firstSeq + extent.count - 1;
  }
  return low;
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
