// SystemFacts: what the system events in the log say.
import { type EntryView, entryFlags } from "@heddle/event-log/internal";
import { EntryDecoder } from "./stored-events.ts";
import type { ErasedFacts, RestoredFacts } from "./system-events.ts";

/** What a tombstone says. */
export function readErasedFacts(entry: EntryView): ErasedFacts {
  return factsOf<ErasedFacts>(entry);
}

/**
 * Events of the call whose first entry this is. A restoring is one call with one receipt, over its marker and all copies; a
 * marker that was brought in from elsewhere is a call by itself.
 */
export function eventsOfCall(entry: EntryView): number {
  const restoring = entryFlags.restored | entryFlags.command;
  return (entry.flags & restoring) === restoring ? 1 + factsOf<RestoredFacts>(entry).copied : entry.eventCount;
}

const decoder = new EntryDecoder();

function factsOf<T>(entry: EntryView): T {
  decoder.open(entry);
  return decoder.payloads(entry)[0] as T;
}
