// Salvage: finds the entries of a damaged segment that are still whole.
//
// Reads the log format by itself, on purpose: the log's own reader refuses everything from the damage on, because it may
// not guess. Here guessing is right, as nothing is built on it. An entry carries a checksum of its own, so it can be
// told to be whole even inside a record that is not.
// Not promised: that a payload cannot be made to look like an entry. What is found is for a person to look at.
import {
  type EntryView,
  entryChecksumHolds,
  entryHeaderBytes,
  newEntryView,
  recordHeaderBytes,
} from "@heddle/event-log/internal";
import { limits } from "@heddle/kernel";
import { readU32, readU48 } from "@heddle/protocol/internal";

/** "HREC": where a record begins. Records begin at multiples of 8. */
const recordMagic = 0x43455248;

/** Visits every whole entry that begins at or after an offset; `base` is the position of the segment's first byte. */
export function visitWholeEntries(
  bytes: Uint8Array,
  from: number,
  base: number,
  visit: (entry: EntryView) => void,
): void {
  const entry = newEntryView();
  for (let at = (from + 7) & ~7; at + recordHeaderBytes <= bytes.length; ) {
    const end = readU32(bytes, at) === recordMagic ? visitRecord(bytes, at, base, entry, visit) : at;
    // Behind whole entries the next record follows; anything else is looked through byte by byte.
    at = Math.max(at + 8, (end + 7) & ~7);
  }
}

/** Returns the end of the last whole entry that stands in a row with the record's beginning. */
function visitRecord(
  bytes: Uint8Array,
  record: number,
  base: number,
  entry: EntryView,
  visit: (entry: EntryView) => void,
): number {
  let at = record + recordHeaderBytes;
  while (at + entryHeaderBytes <= bytes.length) {
    const length = readU32(bytes, at + 4);
    if (length < entryHeaderBytes || at + length > bytes.length) break;
    entry.bytes = bytes;
    entry.bodyFrom = at + entryHeaderBytes;
    entry.bodyTo = at + length;
    entry.position = base + at;
    entry.firstSeq = readU48(bytes, at + 10);
    entry.time = readU48(bytes, at + 16);
    entry.eventCount = readU32(bytes, at + 38);
    if (entry.eventCount > limits.appendEventsMax || !entryChecksumHolds(entry)) break;
    visit(entry);
    at += length;
  }
  return at;
}
