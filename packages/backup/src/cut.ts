// Cut: how far a shard's log is taken out of a backup.
import type { ManifestShard } from "./manifest.ts";
import { refused } from "./refuse.ts";
import { walkSegment } from "./segment-bytes.ts";

/**
 * `time`: each shard up to the first record that holds an entry later than this, in ms since 1970. `positions`: for each
 * shard, the log position where a record ended, or 0 for nothing; `backUp` gives such.
 */
export type Until =
  | { readonly time: number; readonly positions?: never }
  | { readonly positions: readonly number[]; readonly time?: never };

/** One shard's part of {@link Until}; neither: all of it. */
export interface ShardCut {
  readonly time?: number;
  readonly position?: number;
}

/** Errors: `BACKUP_REFUSED` for what the backup does not reach. */
export function cutOfShard(folder: string, shard: ManifestShard, until: Until | undefined): ShardCut {
  if (until === undefined) return {};
  if (until.time !== undefined) {
    if (!Number.isSafeInteger(until.time) || until.time < 0) {
      throw refused(folder, `it cannot be restored to ${until.time}: wanted milliseconds since 1970`);
    }
    return { time: until.time };
  }
  const position = until.positions[shard.shard];
  if (!Number.isSafeInteger(position) || position! < 0 || position! > shard.end) {
    throw refused(folder, `shard ${shard.shard} has no position ${position}: its log is there up to ${shard.end}`);
  }
  return { position: position! };
}

/**
 * Bytes of a segment that lie before the cut; its length when the cut does not touch it.
 * Errors: plain, for a position inside a record.
 */
export function lengthBeforeCut(bytes: Uint8Array, base: number, { time, position }: ShardCut): number {
  if (position !== undefined && position - base >= bytes.length) return bytes.length;
  if (position !== undefined && position <= base) return 0;
  let isLater = false;
  let end: number | undefined;
  walkSegment(
    bytes,
    base,
    (entry) => {
      if (time !== undefined && entry.time > time) isLater = true;
    },
    (at, length) => {
      if (end !== undefined || (position === undefined ? !isLater : base + at + length <= position)) return;
      if (position !== undefined && base + at !== position) throw new Error(`no record ends at position ${position}`);
      end = at;
    },
  );
  return end ?? bytes.length;
}
