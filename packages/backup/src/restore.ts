// Restore: makes a data folder out of a backup.
//
// Promises. The restored log is, byte for byte, what the source's is up to that position, once the source has done with
// its erasures; except that an entity which was erased after that position gets its tombstone at the end. Nothing stands
// under the folder's name before all of it is there and durable; a restore that was cut off is simply begun again.
// Not promised: a partition. A node makes it from the log at its first start.
//
// The restored folder has an identity of its own: from here on its log and the source's are two, and a backup of one is
// none of the other.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { segmentHeaderBytes, segmentName } from "@heddle/event-log/internal";
import { type Clock, HeddleError, systemClock } from "@heddle/kernel";
import { type BackupProgress, oneAfterTheOther, type RunTasks } from "./back-up.ts";
import { readBackup } from "./backup-folder.ts";
import { OpenLives } from "./close-lives.ts";
import { cutOfShard, lengthBeforeCut, type ShardCut, type Until } from "./cut.ts";
import { logFolderOf } from "./data-facts.ts";
import { syncFolder, writeSynced } from "./files.ts";
import { KeyRing } from "./key-ring.ts";
import { KeyStore } from "./key-store.ts";
import type { ManifestShard } from "./manifest.ts";
import { openSegment, readSegmentFile } from "./open-segment.ts";
import { isSystemError, refused } from "./refuse.ts";
import { beginFolder, unwritable } from "./restore-target.ts";
import { walkSegment } from "./segment-bytes.ts";

export interface RestoreOptions {
  readonly backup: string;
  /** The folder to be made. Must not be there, or be empty. */
  readonly data: string;
  readonly keys: string;
  /** Which run; the newest by default. */
  readonly run?: number;
  readonly until?: Until;
  readonly clock?: Clock;
  /** How {@link restoreShard} is run; by default one shard after the other, on this thread. */
  readonly runTasks?: RunTasks<RestoreTask, RestoredShard>;
}

export interface RestoreResult {
  readonly run: number;
  readonly context: string;
  readonly shards: number;
  /** The log position of each shard that was reached, tombstones that were added not counted. */
  readonly positions: readonly number[];
  readonly entries: number;
  readonly logBytes: number;
  /** Entities that were erased after the restored moment, and so got a tombstone. */
  readonly closed: number;
  readonly tookMs: number;
}

export interface RestoreTask {
  readonly backup: string;
  readonly keys: string;
  /** Where the shard's log goes. */
  readonly logFolder: string;
  readonly shard: ManifestShard;
  readonly cut: ShardCut;
  readonly nowMs: number;
}

export interface RestoredShard {
  readonly end: number;
  readonly entries: number;
  readonly logBytes: number;
  readonly closed: number;
  /** Entities, life by life, whose keys the store does not know. */
  readonly missing: number;
}

/**
 * Restores a data folder.
 * Errors: `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`; `DATA_FOLDER_UNWRITABLE` when the folder is not empty or cannot be made.
 */
export async function restoreBackup(
  options: RestoreOptions,
  onProgress: (progress: BackupProgress) => void = () => {},
): Promise<RestoreResult> {
  const { backup, data, clock = systemClock } = options;
  const startedAt = clock.monotonic();
  const manifest = readBackup(backup, options.run);
  const cuts = manifest.shards.map((shard) => cutOfShard(backup, shard, options.until));
  const keys = KeyStore.open(options.keys, { create: false });
  try {
    keys.checkIs(manifest.keyStore);
    const target = beginFolder(data);
    try {
      const erasures = keys.erasures();
      const totalBytes = manifest.shards.reduce((all, { end }) => all + end, 0);
      let doneBytes = 0;
      const onBytes = (bytes: number) => {
        doneBytes += bytes;
        onProgress({ doneBytes, totalBytes });
      };
      onBytes(0);
      const nowMs = clock.now();
      const tasks = manifest.shards.map((shard, index) => {
        const logFolder = logFolderOf(target.folder, shard.shard);
        return { backup, keys: options.keys, logFolder, shard, cut: cuts[index]!, nowMs };
      });
      const shards = await (options.runTasks ?? oneAfterTheOther(restoreShard))(tasks, onBytes);
      checkKeysWereThere(options.keys, shards);
      if (keys.erasures() !== erasures) {
        throw refused(backup, "an entity was erased while it was restored, and may be here; restore again");
      }
      target.finish({ ...manifest.described, id: randomUUID() });
      const sum = (of: (shard: RestoredShard) => number) => shards.reduce((all, shard) => all + of(shard), 0);
      return {
        run: manifest.run,
        context: manifest.context,
        shards: manifest.shardCount,
        positions: shards.map(({ end }) => end),
        entries: sum((shard) => shard.entries),
        logBytes: sum((shard) => shard.logBytes),
        closed: sum((shard) => shard.closed),
        tookMs: clock.monotonic() - startedAt,
      };
    } catch (thrown) {
      target.discard();
      throw isSystemError(thrown) ? unwritable(data, thrown.message, thrown) : thrown;
    }
  } finally {
    keys.close();
  }
}

/** Restores the log of one shard into a new folder. Errors: `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`; the file system's own. */
export async function restoreShard(task: RestoreTask, onBytes: (bytes: number) => void): Promise<RestoredShard> {
  const { backup, logFolder } = task;
  const { shard, segments, tombstones } = task.shard;
  fs.mkdirSync(logFolder, { recursive: true });
  const keys = KeyStore.open(task.keys, { create: false });
  try {
    const ring = new KeyRing(keys, tombstones);
    const lives = new OpenLives();
    let [end, lastBase, entries, logBytes, missing] = [0, 0, 0, 0, 0];
    for (const segment of segments) {
      const source = readSegmentFile(backup, shard, segment);
      const found = ring.find(source.keyNames);
      missing += found.filter((key) => key === "missing").length;
      const { bytes } = openSegment(backup, shard, segment, source, found);
      const length = cutLength(task, bytes, segment.base);
      const kept = bytes.subarray(0, length);
      // Of a segment that is cut behind its header nothing is left, and the log ends just as well before it.
      if (length === bytes.length || length > segmentHeaderBytes) {
        walkSegment(kept, segment.base, (entry) => {
          entries++;
          lives.see(entry);
        });
        writeSynced(path.join(logFolder, segmentName(segment.base)), kept, "wx");
        end = segment.base + length;
        lastBase = segment.base;
        logBytes += length;
      }
      onBytes(segment.length);
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (length < bytes.length) break;
    }
    const closed = lives.count;
    await lives.close({ folder: logFolder, shard, lastBase, keys, nowMs: task.nowMs });
    for (const folder of [logFolder, path.dirname(logFolder), path.dirname(path.dirname(logFolder))])
      syncFolder(folder);
    return { end, entries, logBytes, closed, missing };
  } finally {
    keys.close();
  }
}

function cutLength({ backup, shard, cut }: RestoreTask, bytes: Uint8Array, base: number): number {
  try {
    return lengthBeforeCut(bytes, base, cut);
  } catch (cause) {
    throw refused(backup, `shard ${shard.shard}: ${(cause as Error).message}`, cause);
  }
}

function checkKeysWereThere(file: string, shards: readonly RestoredShard[]): void {
  const missing = shards.reduce((all, shard) => all + shard.missing, 0);
  if (missing === 0) return;
  const problem = `it has no key, and no mark of an erasure, for ${missing} entities of the backup; it may be an old copy`;
  throw new HeddleError("KEYS_UNAVAILABLE", { file, problem });
}
