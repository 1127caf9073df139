// FinishErasure: what opening a log does about the journal of an erasure that a dead process left (P5, P6).
//
// A whole journal is carried out before anything is read: some of its changes may be on the disk, some not, and a record
// that is half overwritten would look damaged. One that was not written whole is thrown away: nothing was overwritten
// then.
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import type { Disk } from "./disk.ts";
import { decodeJournal, type EraseJournal, journalName, type Patch, readJournalFile } from "./erase-journal.ts";
import { segmentHeaderBytes } from "./layout.ts";
import { closePatched, openPatched, setPatch } from "./patch-files.ts";
import type { Segment } from "./segments.ts";

export interface FinishOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly shard: number;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

/**
 * Carries out the journal in a log's folder, if there is one, makes that durable, and removes it.
 * Errors: `LOG_DAMAGED` for a whole journal that does not belong to these segments; whatever the disk throws.
 */
export function finishErasure(options: FinishOptions, segments: readonly Segment[]): void {
  const { disk, folder } = options;
  const file = path.join(folder, journalName);
  const bytes = readJournalFile(disk, file);
  if (bytes === undefined) return;
  const journal = decodeJournal(bytes);
  if (journal !== undefined) {
    const fitting = checked(journal, options.shard, segments, file);
    carryOut(options, fitting, segments, file);
  }
  // Should the name survive a power cut, the file is found again, empty, torn, or with changes that are made already.
  disk.remove(file);
}

function checked(
  journal: EraseJournal | string,
  shard: number,
  segments: readonly Segment[],
  file: string,
): EraseJournal {
  const damaged = (offset: number, problem: string) => new HeddleError("LOG_DAMAGED", { file, offset, problem });
  if (typeof journal === "string") throw damaged(0, journal);
  if (journal.shard !== shard) throw damaged(10, `it belongs to shard ${journal.shard}, not ${shard}`);
  for (const { base, salt, at, patches } of journal.segments) {
    const segment = segments.find((each) => each.base === base);
    if (segment === undefined) throw damaged(at, `it changes a segment at position ${base}, which is not there`);
    if (segment.salt !== salt) throw damaged(at, `it changes another segment than the one at position ${base}`);
    for (const patch of patches) {
      if (!liesIn(segment, patch)) {
        throw damaged(at, `it changes position ${patch.position}, which is not among the records of ${segment.file}`);
      }
    }
  }
  return journal;
}

function liesIn(segment: Segment, { position, from, to, zeros }: Patch): boolean {
  const offset = position - segment.base;
  return offset >= segmentHeaderBytes && offset + to - from + zeros <= segment.length;
}

// The journal may stand in the page cache only, because its sync failed or never returned. It is written once more and
// made durable, name and all, before the first byte is overwritten, as it would have been in the process that died.
function carryOut(options: FinishOptions, journal: EraseJournal, segments: readonly Segment[], file: string): void {
  const { disk, folder, crashPoint } = options;
  const opened = disk.open(file, "write");
  try {
    opened.write(journal.bytes, 0, journal.bytes.length, 0);
    opened.syncNow();
    disk.syncFolder(folder);
    const files = openPatched(disk, journal, ({ base }) => segments.find((each) => each.base === base)!);
    try {
      crashPoint?.("erase:journal-durable");
      for (const patched of files) for (const patch of patched.patches) setPatch(journal, patched, patch);
      crashPoint?.("erase:overwritten");
      for (const patched of files) patched.file.syncNow();
      crashPoint?.("erase:synced");
    } finally {
      closePatched(files);
    }
    opened.truncate(0);
    opened.syncNow();
    crashPoint?.("erase:journal-emptied");
  } finally {
    opened.close();
  }
}
