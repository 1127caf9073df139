// ConsistentCut: how far each shard's log goes into a backup that is made beside a running node.
//
// The logs are looked at one after the other, so the end that is found of one is older than that of the next. Taken as they
// are, these ends could part what belongs together: the decision about a transaction from what another shard had prepared
// for it, the end of a saga from its steps. So each log is looked at twice. Whatever lies before the first look has what it
// needs before the second. What came in between is read, and a log that lacks what another needs is taken further.
//
// C1. With an entry there is all that it needs of other shards (cut-needs.ts).
// C2. Each end is the end of a record, and no earlier than one that was found before: runs of a backup only grow.
// C3. It ends, whatever the node writes meanwhile: what is needed was durable before the second look was over.
// Only what was written around the looks is read for it, but for the first look at the last segment of each log.
// Not promised: an order between appends, commands and transactions that a caller sent one after the other, nor what a
// transaction on other shards had only read.
import fs from "node:fs";
import { type EntryView, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { CutNeeds } from "./cut-needs.ts";

/**
 * The end of a record in each of these logs, 0 for one that is not there. `onLook` is told before each look at a log, after
 * the one that only finds the place: `before`, then `end`. Errors: `LOG_DAMAGED`.
 */
export function consistentEnds(
  logFolders: readonly string[],
  onLook: (look: "before" | "end", shard: number) => void = () => {},
): number[] {
  // The last segment is long to read; the looks that count are to lie close together.
  const near = logFolders.map((folder) => endOf(folder, (log) => log.lastBase));
  const look = (name: "before" | "end", from: readonly number[]) =>
    logFolders.map((folder, shard) => {
      onLook(name, shard);
      return endOf(folder, () => from[shard]!);
    });
  const before = look("before", near);
  return closedEnds(logFolders, before, look("end", before));
}

/** Takes ends further, as needed: `before` are those of an earlier look at all logs. Reads what comes in, until nothing does. */
export function closedEnds(
  logFolders: readonly string[],
  before: readonly number[],
  ends: readonly number[],
): number[] {
  const needs = new CutNeeds(logFolders.length);
  const readTo = [...before];
  const cut = [...ends];
  for (let moved = true; moved; ) {
    for (const [shard, folder] of logFolders.entries()) {
      if (readTo[shard] === cut[shard]) continue;
      visit(folder, readTo[shard]!, cut[shard]!, (entry, log) => needs.note(entry, shard, log));
      readTo[shard] = cut[shard]!;
    }
    moved = false;
    for (const [shard, folder] of logFolders.entries()) {
      if (!needs.mayLieOn(shard)) continue;
      const end = lastEndOf(folder, cut[shard]!, (entry, log) => needs.names(entry, shard, log));
      if (end === undefined) continue;
      cut[shard] = end;
      moved = true;
    }
  }
  return cut;
}

function endOf(folder: string, from: (log: LogReader) => number): number {
  return reading(folder, 0, (log) => log.scan(from(log), () => {}).end);
}

const endReached = Symbol("end reached");

/** Visits the entries from the end of a record on, up to the end of another. */
function visit(folder: string, from: number, to: number, onEntry: (entry: EntryView, log: LogReader) => void): void {
  reading(folder, undefined, (log) => {
    try {
      log.scan(
        from,
        (entry) => onEntry(entry, log),
        (position, length) => {
          if (position + length >= to) throw endReached;
        },
      );
    } catch (thrown) {
      if (thrown !== endReached) throw thrown;
    }
  });
}

/** Where the last record ends that has such an entry. */
function lastEndOf(
  folder: string,
  from: number,
  isWanted: (entry: EntryView, log: LogReader) => boolean,
): number | undefined {
  return reading(folder, undefined, (log) => {
    let end: number | undefined;
    let isMet = false;
    log.scan(
      from,
      (entry) => {
        isMet ||= isWanted(entry, log);
      },
      (position, length) => {
        if (isMet) end = position + length;
        isMet = false;
      },
    );
    return end;
  });
}

function reading<T>(folder: string, absent: T, read: (log: LogReader) => T): T {
  if (!fs.existsSync(folder)) return absent;
  const log = new LogReader(nodeDisk, folder);
  try {
    return read(log);
  } finally {
    log.close();
  }
}
