// An event at an earlier sequence: for copies of entities that were erased once, whose own sequences begin after that.
import type { ExportedEvent } from "./export-format.ts";
import { asSystemEvent, systemEvents } from "./system-events.ts";

/** The event as it is when `base` sequences before it are left out. What it says of others is moved with it. */
export function renumbered(event: ExportedEvent, base: number): ExportedEvent {
  if (base === 0) return event;
  const moved = { ...event, seq: event.seq - base };
  const system = asSystemEvent(event);
  if (system?.type !== systemEvents.restored) return moved;
  return { ...moved, payload: { ...system.payload, seq: Math.max(0, system.payload.seq - base) } };
}
