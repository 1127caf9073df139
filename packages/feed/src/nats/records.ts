// Records as they travel: where they may be cut, whether they are what they should be, and what of them concerns a publisher.
import {
  entryFlags,
  entryHeaderBytes,
  entryLengthAt,
  newEntryView,
  readEntry,
  recordChecksumHolds,
  recordEntryCount,
  recordHeaderBytes,
  recordLengthAt,
} from "@heddle/event-log/internal";
import { readU16, readU48 } from "@heddle/protocol/internal";
import { isJournal, readJournal } from "@heddle/shard/internal";

/** Position of the record at an offset, as its header has it. */
export function positionOfRecord(bytes: Uint8Array, at: number): number {
  return readU48(bytes, at + 16);
}

/** Bytes of the whole records at the start, at most `bytesMax` and ending at most at a position; one record at least. */
export function wholeRecords(bytes: Uint8Array, bytesMax: number, toMax: number): number {
  const base = positionOfRecord(bytes, 0);
  let at = 0;
  while (at < bytes.length) {
    const end = at + lengthOfRecord(bytes, at);
    if (at > 0 && (end > bytesMax || base + end > toMax)) break;
    at = end;
  }
  return at;
}

function lengthOfRecord(bytes: Uint8Array, at: number): number {
  const length = recordLengthAt(bytes, at, bytes.length - at, positionOfRecord(bytes, at));
  return typeof length === "number" ? length : bytes.length - at;
}

/** What is wrong with bytes that should be whole records up to the position `to`, or undefined. */
export function recordsProblem(bytes: Uint8Array, to: number, salt: number): string | undefined {
  let position = to - bytes.length;
  for (let at = 0; at < bytes.length; ) {
    const length = recordLengthAt(bytes, at, bytes.length - at, position);
    if (typeof length === "string") return length;
    if (length > bytes.length - at) return `a record claims ${length} bytes`;
    if (!recordChecksumHolds(bytes, at, length, salt)) return "a record's checksum does not match";
    at += length;
    position += length;
  }
  return bytes.length === 0 ? "there are no records in it" : undefined;
}

const journalView = newEntryView();

/**
 * Positions of pending entries that were overwritten because their transactions were aborted, as the records say. Nobody
 * tells a publisher of these, for their entities may live on.
 */
export function abortedPositions(bytes: Uint8Array): number[] {
  const aborted: number[] = [];
  for (let record = 0; record < bytes.length; ) {
    let at = record + recordHeaderBytes;
    for (let left = recordEntryCount(bytes, record); left > 0; left--) {
      if ((bytes[at + 8]! & entryFlags.journal) !== 0) {
        readEntry(bytes, at, 0, journalView);
        if (isJournal(journalView)) {
          const { facts } = readJournal(journalView);
          if (facts.kind === "aborted") aborted.push(...facts.positions);
        }
      }
      at += entryLengthAt(bytes, at);
    }
    record += lengthOfRecord(bytes, record);
  }
  return aborted;
}

/** Whether the entry at a position lies erased in these records, which hold it. */
export function isErasedAt(bytes: Uint8Array, position: number): boolean {
  const at = position - positionOfRecord(bytes, 0);
  return (bytes[at + 8]! & entryFlags.erased) !== 0;
}

/** Whether two copies of the same records differ in nothing but entries that were erased in the second since. */
export function areSameRecords(before: Uint8Array, now: Uint8Array): boolean {
  if (before.length !== now.length) return false;
  for (let record = 0; record < now.length; ) {
    if (!isSame(before, now, record + 8, record + recordHeaderBytes)) return false;
    const end = record + lengthOfRecord(now, record);
    let at = record + recordHeaderBytes;
    for (let left = recordEntryCount(now, record); left > 0; left--) {
      const next = at + entryLengthAt(now, at);
      if (next > end || !isSameEntry(before, now, at, next)) return false;
      at = next;
    }
    record = end;
  }
  return true;
}

// An erased entry keeps length, sequence, time, session, call, number of events, and its entity.
function isSameEntry(before: Uint8Array, now: Uint8Array, at: number, next: number): boolean {
  if (isSame(before, now, at, next)) return true;
  if ((now[at + 8]! & entryFlags.erased) === 0) return false;
  const body = at + entryHeaderBytes;
  return (
    isSame(before, now, at + 4, at + 8) &&
    isSame(before, now, at + 10, at + 22) &&
    isSame(before, now, at + 26, at + 42) &&
    isSame(before, now, body, body + 2 + readU16(now, body))
  );
}

function isSame(before: Uint8Array, now: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (before[i] !== now[i]) return false;
  return true;
}
