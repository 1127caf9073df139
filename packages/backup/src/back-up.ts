// BackUp: one run of a backup, beside a running node or of a stopped one.
//
// Promises. What a run holds is, for each shard, its log up to a record's end that was durable, as of the run's start
// (P2). Segments that an earlier run has whole are not copied again. A run that dies changes nothing for those before it.
// No payload reaches the backup's disk unencrypted, and none that is erased by then can be read from it (P6).
// No transaction is in it on one shard and not on another, and no saga without what it has done (consistent-cut.ts).
// Not promised: one moment over all shards.
//
// The steps are apart (`planRun`, `backUpShard`, `endRun`), and what goes between them is plain data, so that shards may
// be worked on by several threads.
import fs from "node:fs";
import path from "node:path";
import { LogReader, nodeDisk } from "@heddle/event-log/internal";
import { type Clock, systemClock } from "@heddle/kernel";
import { keepNewest, openForRun, segmentFileOf } from "./backup-folder.ts";
import { openKeysOf } from "./bound-keys.ts";
import { consistentEnds } from "./consistent-cut.ts";
import { logFolderOf, readDataFacts } from "./data-facts.ts";
import { syncFolder } from "./files.ts";
import { KeyStore } from "./key-store.ts";
import type { Life } from "./life.ts";
import { type Manifest, type ManifestSegment, type ManifestTombstone, writeManifest } from "./manifest.ts";
import { type BackUpTask, planShard } from "./plan-shard.ts";
import { inBackup, refused } from "./refuse.ts";
import { sealSegment } from "./seal-segment.ts";
import { readSegment } from "./segment-bytes.ts";
import { SegmentFileWriter } from "./segment-file.ts";

/** Bytes of log. */
export interface BackupProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Does the tasks, on whichever threads, and tells how many bytes more are done. */
export type RunTasks<T, R> = (tasks: readonly T[], onBytes: (bytes: number) => void) => Promise<R[]>;

export interface BackUpOptions {
  readonly data: string;
  /** The folder of the backup, outside of the data folder. */
  readonly backup: string;
  /** The file of the data folder's key store; made when it has none yet. */
  readonly keys: string;
  /** Manifests that are kept, the newest; at least 1, default 3. Each new run has the whole history. */
  readonly keepRuns?: number;
  readonly clock?: Clock;
  /** How {@link backUpShard} is run; by default one shard after the other, on this thread. */
  readonly runTasks?: RunTasks<BackUpTask, ShardBackup>;
}

export interface BackUpResult {
  readonly run: number;
  readonly context: string;
  readonly shards: number;
  /** The log position of each shard that the backup reaches. */
  readonly positions: readonly number[];
  /** Files and bytes that this run wrote. */
  readonly filesWritten: number;
  readonly bytesWritten: number;
  /** Bytes of log that this run read, and those of all segments in the backup. */
  readonly logBytesRead: number;
  readonly logBytes: number;
  /** Entities, life by life, whose payloads this run left out because their keys are erased. */
  readonly leftOut: number;
  readonly tookMs: number;
}

export interface ShardBackup {
  readonly segments: readonly ManifestSegment[];
  readonly tombstones: readonly ManifestTombstone[];
  readonly leftOut: number;
}

/**
 * Makes a backup, or adds a run to it.
 * Errors: `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`, `LOG_DAMAGED`, `DATA_FOLDER_UNWRITABLE` for no data folder.
 */
export async function backUp(
  options: BackUpOptions,
  onProgress: (progress: BackupProgress) => void = () => {},
): Promise<BackUpResult> {
  const { data, backup, keys: keysFile, clock = systemClock } = options;
  const startedAt = clock.monotonic();
  const startedMs = clock.now();
  const facts = readDataFacts(data);
  checkIsOutside(backup, data);
  const target = openForRun(backup, facts);
  try {
    const keyStore = keyStoreIdOf(keysFile, data, target.manifest);
    const run = (target.manifest?.run ?? 0) + 1;
    const cuts = consistentEnds(Array.from({ length: facts.shardCount }, (_, shard) => logFolderOf(data, shard)));
    const plans = cuts.map((cut, shard) => planShard(options, shard, run, target.manifest, cut));
    const totalBytes = sum(plans.map(({ task }) => sum(task.segments.map(({ length }) => length))));
    let doneBytes = 0;
    const onBytes = (bytes: number) => {
      doneBytes += bytes;
      onProgress({ doneBytes, totalBytes });
    };
    onBytes(0);
    const tasks = plans.map(({ task }) => task);
    const results = await (options.runTasks ?? oneAfterTheOther(backUpShard))(tasks, onBytes);
    const manifest: Manifest = {
      run,
      backup: target.id,
      identity: facts.identity,
      context: facts.context,
      shardCount: facts.shardCount,
      described: facts.described,
      keyStore,
      startedMs,
      finishedMs: clock.now(),
      shards: plans.map(({ kept, task }, shard) => {
        const segments = [...kept, ...results[shard]!.segments];
        const last = segments.at(-1);
        const end = last === undefined ? 0 : last.base + last.length;
        return { shard, end, segments, tombstones: [...task.tombstones, ...results[shard]!.tombstones] };
      }),
    };
    inBackup(backup, () => writeManifest(backup, manifest));
    keepNewest(backup, Math.max(1, options.keepRuns ?? 3));
    const written = results.flatMap(({ segments }) => segments);
    return {
      run,
      context: facts.context,
      shards: facts.shardCount,
      positions: manifest.shards.map(({ end }) => end),
      filesWritten: written.length,
      bytesWritten: sum(written.map(({ bytes }) => bytes)),
      logBytesRead: totalBytes,
      logBytes: sum(manifest.shards.map(({ segments }) => sum(segments.map(({ length }) => length)))),
      leftOut: sum(results.map(({ leftOut }) => leftOut)),
      tookMs: clock.monotonic() - startedAt,
    };
  } finally {
    target.release();
  }
}

/** Copies the segments of one shard. Errors: `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`, `LOG_DAMAGED`. */
export async function backUpShard(task: BackUpTask, onBytes: (bytes: number) => void): Promise<ShardBackup> {
  const { shard, backup, run } = task;
  if (task.segments.length === 0) return { segments: [], tombstones: [], leftOut: 0 };
  const keys = KeyStore.open(task.keys, { create: false });
  const log = new LogReader(nodeDisk, task.logFolder);
  try {
    const lives = new Map<string, Life>();
    for (const { entity, time, seq } of task.tombstones) lives.set(entity, { time, seq });
    const segments: ManifestSegment[] = [];
    const tombstones: ManifestTombstone[] = [];
    let leftOut = 0;
    for (const source of task.segments) {
      const bytes = readSegment(log, source);
      const { base, length, salt, createdMs } = source;
      const file = segmentFileOf(backup, shard, { base, run });
      const sealed = inBackup(backup, () => {
        fs.mkdirSync(path.dirname(file), { recursive: true });
        const writer = new SegmentFileWriter(file, { shard, base, length });
        try {
          return sealSegment(bytes, source, lives, keys, writer);
        } finally {
          writer.close();
        }
      });
      const { lastTime, sha256, entities } = sealed;
      segments.push({ base, length, salt, createdMs, lastTime, run, bytes: sealed.bytes, sha256, entities });
      tombstones.push(...sealed.tombstones);
      leftOut += sealed.leftOut;
      onBytes(length);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    inBackup(backup, () => {
      for (const folder of [
        path.dirname(segmentFileOf(backup, shard, { base: 0, run })),
        path.join(backup, "shards"),
        backup,
      ]) {
        syncFolder(folder);
      }
    });
    return { segments, tombstones, leftOut };
  } finally {
    log.close();
    keys.close();
  }
}

export function oneAfterTheOther<T, R>(run: (task: T, onBytes: (bytes: number) => void) => Promise<R>): RunTasks<T, R> {
  return async (tasks, onBytes) => {
    const results: R[] = [];
    for (const task of tasks) results.push(await run(task, onBytes));
    return results;
  };
}

function keyStoreIdOf(file: string, data: string, manifest: Manifest | undefined): string {
  const keys = openKeysOf(data, file);
  try {
    keys.checkIs(manifest?.keyStore);
    return keys.id;
  } finally {
    keys.close();
  }
}

function checkIsOutside(backup: string, data: string): void {
  const from = (folder: string, to: string) => path.relative(fs.realpathSync(folder), to);
  const nearest = nearestThere(path.resolve(backup));
  const between = from(data, nearest);
  if (between === "" || !(between.startsWith("..") || path.isAbsolute(between))) {
    throw refused(backup, `it lies inside the data folder ${data}`);
  }
}

/** The real path of a folder, or of the nearest one above it that is there. */
function nearestThere(folder: string): string {
  for (let at = folder; ; at = path.dirname(at)) if (fs.existsSync(at)) return fs.realpathSync(at);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}
