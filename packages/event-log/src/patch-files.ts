// PatchFiles: sets the patches of a journal in the files of their segments.
import type { Disk, DiskFile } from "./disk.ts";
import type { EraseJournal, JournalSegment, Patch } from "./erase-journal.ts";
import type { Segment } from "./segments.ts";

/** Bytes of one write at most: an entry that is longer takes several. */
const writeBytesMax = 1 << 16;

const scratch = new Uint8Array(writeBytesMax);

/** A segment's file, open for overwriting, and the patches that go into it. */
export interface PatchedFile {
  readonly file: DiskFile;
  readonly segment: Segment;
  readonly patches: readonly Patch[];
}

/** Opens the file of each segment of a journal; `segmentOf` finds it. Whoever calls closes them. */
export function openPatched(
  disk: Disk,
  journal: EraseJournal,
  segmentOf: (segment: JournalSegment) => Segment,
): PatchedFile[] {
  const files: PatchedFile[] = [];
  try {
    for (const each of journal.segments) {
      const segment = segmentOf(each);
      files.push({ file: disk.open(segment.file, "write"), segment, patches: each.patches });
    }
    return files;
  } catch (error) {
    closePatched(files);
    throw error;
  }
}

export function closePatched(files: readonly PatchedFile[]): void {
  for (const { file } of files) file.close();
}

/** Errors: whatever the disk throws; the patch may then be set in part. */
export function setPatch(journal: EraseJournal, { file, segment }: PatchedFile, patch: Patch): void {
  const written = patch.to - patch.from;
  const length = written + patch.zeros;
  for (let done = 0; done < length; ) {
    const part = Math.min(length - done, writeBytesMax);
    const fromJournal = Math.min(part, Math.max(0, written - done));
    scratch.set(journal.bytes.subarray(patch.from + done, patch.from + done + fromJournal));
    scratch.fill(0, fromJournal, part);
    file.write(scratch, 0, part, patch.position - segment.base + done);
    done += part;
  }
}

/** Sets in memory what patches change of `into`, which holds the log's bytes from a position on. Says whether any does. */
export function setPatchesInMemory(
  journal: EraseJournal,
  patches: readonly Patch[],
  into: Uint8Array,
  position: number,
): boolean {
  const end = position + into.length;
  let touched = false;
  for (let i = firstBehind(patches, position); i < patches.length && patches[i]!.position < end; i++) {
    const patch = patches[i]!;
    const zerosAt = patch.position + patch.to - patch.from;
    const from = Math.max(patch.position, position);
    const to = Math.min(zerosAt, end);
    if (from < to) {
      const at = patch.from + from - patch.position;
      into.set(journal.bytes.subarray(at, at + to - from), from - position);
    }
    const zerosTo = Math.min(zerosAt + patch.zeros, end);
    if (zerosTo > position) into.fill(0, Math.max(zerosAt, position) - position, zerosTo - position);
    touched = true;
  }
  return touched;
}

// The first patch whose end lies behind a position.
function firstBehind(patches: readonly Patch[], position: number): number {
  let low = 0;
  let high = patches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { position: at, from, to, zeros } = patches[middle]!;
    if (at + to - from + zeros <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
