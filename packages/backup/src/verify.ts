// Verify: reads all of a backup and says whether it could be restored, without restoring it.
import { type BackupProgress, oneAfterTheOther, type RunTasks } from "./back-up.ts";
import { readBackup } from "./backup-folder.ts";
import { KeyRing } from "./key-ring.ts";
import { KeyStore } from "./key-store.ts";
import type { ManifestShard } from "./manifest.ts";
import { openSegment, readSegmentFile } from "./open-segment.ts";

export interface VerifyOptions {
  readonly backup: string;
  /** The key store. Without it only the files are checked, not whether they can be decrypted. */
  readonly keys?: string;
  readonly run?: number;
  readonly runTasks?: RunTasks<VerifyTask, VerifiedShard>;
}

export interface VerifyTask {
  readonly backup: string;
  readonly keys: string | undefined;
  readonly shard: ManifestShard;
}

/** Entities are counted life by life and segment by segment. */
export interface VerifiedShard {
  readonly files: number;
  readonly bytes: number;
  readonly logBytes: number;
  /** With a key, erased, and unknown to the key store; all 0 without one. */
  readonly readable: number;
  readonly erased: number;
  readonly missing: number;
}

export interface VerifyResult extends VerifiedShard {
  readonly run: number;
  readonly context: string;
  readonly shards: number;
  readonly finishedMs: number;
  readonly positions: readonly number[];
}

/** Errors: `BACKUP_REFUSED` for the first file that is not right, `KEYS_UNAVAILABLE`. */
export async function verifyBackup(
  options: VerifyOptions,
  onProgress: (progress: BackupProgress) => void = () => {},
): Promise<VerifyResult> {
  const { backup } = options;
  const manifest = readBackup(backup, options.run);
  if (options.keys !== undefined) {
    const keys = KeyStore.open(options.keys, { create: false });
    try {
      keys.checkIs(manifest.keyStore);
    } finally {
      keys.close();
    }
  }
  const totalBytes = manifest.shards.reduce((all, { end }) => all + end, 0);
  let doneBytes = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    onProgress({ doneBytes, totalBytes });
  };
  const tasks = manifest.shards.map((shard) => ({ backup, keys: options.keys, shard }));
  const shards = await (options.runTasks ?? oneAfterTheOther(verifyShard))(tasks, onBytes);
  const sum = (of: (shard: VerifiedShard) => number) => shards.reduce((all, shard) => all + of(shard), 0);
  return {
    run: manifest.run,
    context: manifest.context,
    shards: manifest.shardCount,
    finishedMs: manifest.finishedMs,
    positions: manifest.shards.map(({ end }) => end),
    files: sum((shard) => shard.files),
    bytes: sum((shard) => shard.bytes),
    logBytes: sum((shard) => shard.logBytes),
    readable: sum((shard) => shard.readable),
    erased: sum((shard) => shard.erased),
    missing: sum((shard) => shard.missing),
  };
}

export async function verifyShard(task: VerifyTask, onBytes: (bytes: number) => void): Promise<VerifiedShard> {
  const { backup, shard } = task;
  const keys = task.keys === undefined ? undefined : KeyStore.open(task.keys, { create: false });
  try {
    const ring = keys === undefined ? undefined : new KeyRing(keys, shard.tombstones);
    const verified = { files: 0, bytes: 0, logBytes: 0, readable: 0, erased: 0, missing: 0 };
    for (const segment of shard.segments) {
      const source = readSegmentFile(backup, shard.shard, segment);
      const found = ring?.find(source.keyNames) ?? new Array<"erased">(source.entities).fill("erased");
      openSegment(backup, shard.shard, segment, source, found);
      verified.files++;
      verified.bytes += segment.bytes;
      verified.logBytes += segment.length;
      for (const key of ring === undefined ? [] : found) verified[typeof key === "string" ? key : "readable"]++;
      onBytes(segment.length);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return verified;
  } finally {
    keys?.close();
  }
}
