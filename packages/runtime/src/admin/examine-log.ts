// ExamineLog: reads one shard's log whole and says what is in each segment; where it is damaged, what can be saved.
import fs from "node:fs";
import path from "node:path";
import { type EntryView, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { isHeddleError } from "@heddle/kernel";
import { EntryDecoder } from "@heddle/shard/internal";
import { visitWholeEntries } from "./salvage.ts";

export interface SegmentFacts {
  readonly file: string;
  readonly bytes: number;
  readonly records: number;
  readonly entries: number;
  readonly events: number;
}

/** The first place where a log does not hold. A node refuses to read it, and does not start if it has to. */
export interface LogDamage {
  readonly file: string;
  readonly offset: number;
  readonly problem: string;
  /** Whole entries before it, and how many events they hold. */
  readonly before: { readonly entries: number; readonly events: number };
  /** Whole entries from there on, in this segment and those behind it. */
  readonly after: { readonly entries: number; readonly events: number };
  /** Events known to be missing, because an entity goes on with a later sequence; its last ones may be missing too. */
  readonly missingEvents: number;
  /** The first entities that miss events, with the sequences. */
  readonly missing: readonly { readonly entity: string; readonly fromSeq: number; readonly toSeq: number }[];
}

export interface LogExamination {
  readonly segments: readonly SegmentFacts[];
  /** Position after the last whole record before any damage. */
  readonly end: number;
  /** Bytes after it that are no whole record, and are no damage either. */
  readonly tailBytes: number;
  readonly damage: LogDamage | undefined;
}

const missingToldMax = 10;
const segmentPattern = /^\d{16}\.log$/;

export function examineLog(folder: string): LogExamination {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => segmentPattern.test(name)) : [];
  const segments = names.sort().map((name) => new SegmentCount(path.join(folder, name), Number(name.slice(0, 16))));
  if (segments.length === 0) return { segments: [], end: 0, tailBytes: 0, damage: undefined };
  const at = (position: number) => segments.findLast((segment) => segment.base <= position)!;
  let end = 0;
  let log: LogReader | undefined;
  try {
    log = new LogReader(nodeDisk, folder);
    const scan = log.scan(
      0,
      (entry) => at(entry.position).add(entry.eventCount),
      (position, length) => {
        at(position).records++;
        end = position + length;
      },
    );
    return { segments: segments.map(factsOf), end: scan.end, tailBytes: log.end - scan.end, damage: undefined };
  } catch (error) {
    if (!isHeddleError(error, "LOG_DAMAGED")) throw error;
    const damage = { ...error.facts, ...salvage(segments, error.facts) };
    return { segments: segments.map(factsOf), end, tailBytes: 0, damage };
  } finally {
    log?.close();
  }
}

class SegmentCount {
  readonly file: string;
  readonly base: number;
  records = 0;
  entries = 0;
  events = 0;

  constructor(file: string, base: number) {
    this.file = file;
    this.base = base;
  }

  add(events: number): void {
    this.entries++;
    this.events += events;
  }
}

function factsOf({ file, records, entries, events }: SegmentCount): SegmentFacts {
  return { file, bytes: fs.statSync(file).size, records, entries, events };
}

// Counts anew, entry by entry, what stands on both sides of the damage. A damaged header or a gap between two segments
// is found before any record is read, so nothing that was counted until then can be relied on.
function salvage(
  segments: readonly SegmentCount[],
  damage: { readonly file: string; readonly offset: number },
): Pick<LogDamage, "before" | "after" | "missingEvents" | "missing"> {
  const decoder = new EntryDecoder();
  const lastSeqs = new Map<string, number>();
  const before = { entries: 0, events: 0 };
  const after = { entries: 0, events: 0 };
  const missing: { entity: string; fromSeq: number; toSeq: number }[] = [];
  let missingEvents = 0;
  const damagedAt = (segments.find(({ file }) => file === damage.file)?.base ?? 0) + damage.offset;
  for (const segment of segments) {
    segment.entries = 0;
    segment.events = 0;
    visitWholeEntries(fs.readFileSync(segment.file), 0, segment.base, (entry) => {
      const entity = entityOf(decoder, entry);
      if (entity === undefined) return;
      segment.add(entry.eventCount);
      const side = entry.position < damagedAt ? before : after;
      side.entries++;
      side.events += entry.eventCount;
      const nextSeq = (lastSeqs.get(entity) ?? 0) + 1;
      if (entry.firstSeq > nextSeq) {
        missingEvents += entry.firstSeq - nextSeq;
        if (missing.length < missingToldMax) missing.push({ entity, fromSeq: nextSeq, toSeq: entry.firstSeq - 1 });
      }
      lastSeqs.set(entity, Math.max(nextSeq - 1, entry.firstSeq + entry.eventCount - 1));
    });
  }
  return { before, after, missingEvents, missing };
}

function entityOf(decoder: EntryDecoder, entry: EntryView): string | undefined {
  try {
    return decoder.open(entry).entity;
  } catch {
    return undefined;
  }
}
