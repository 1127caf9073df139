// History: events of one entity as they were written, read from the log.
import type { EventLog } from "@heddle/event-log/internal";
import type { HistoryFields, WireEvent } from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { Entity } from "./entity.ts";
import { EntryDecoder, type StoredEvent } from "./stored-events.ts";

const decoder = new EntryDecoder();

/**
 * At most `limit` durable events, in the direction asked for. Errors: `LOG_DAMAGED`.
 * A page ends early after {@link pageBytesMax} of log, so that a reply stays within a frame; it is never empty while
 * there is more to read.
 */
export function readHistory(activation: Activation, log: EventLog, entity: Entity, fields: HistoryFields): WireEvent[] {
  const forward = fields.direction === "forward";
  const from =
    fields.from === 0
      ? forward
        ? 1
        : entity.seq
      : Math.min(fields.from, forward ? Number.MAX_SAFE_INTEGER : entity.seq);
  const extents = forward ? activation.extentsForward(entity, from) : activation.extentsBackward(entity, from);
  const events: WireEvent[] = [];
  let bytes = 0;
  for (const extent of extents) {
    if (extent.position >= log.durableEnd) {
      if (forward) break;
      continue;
    }
    const entry = log.read(extent.position);
    bytes += entry.bodyTo - entry.bodyFrom;
    const stored = decoder.events(entry);
    if (!forward) stored.reverse();
    for (const event of stored) {
      if (forward ? event.seq < from : event.seq > from) continue;
      if (fields.aggregate !== "" && event.aggregate !== fields.aggregate) continue;
      events.push(toWire(event));
      if (events.length === fields.limit) return events;
    }
    if (bytes >= pageBytesMax && events.length > 0) return events;
  }
  return events;
}

const pageBytesMax = 4 << 20;

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
