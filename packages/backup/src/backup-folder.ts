// BackupFolder: the files of a backup, which of them are needed, and who may write there.
//
//   backup.json                              what it is a backup of: written first, never changed
//   manifest-000001.json                     see manifest.ts
//   lock                                     held while a run writes
//   shards/0000/0000000000000000-000001.seg  one segment: base, and the run that wrote it; see segment-file.ts
//
// Files are written once and never changed. A run adds its own and only then its manifest; what no manifest names is what
// a run left behind that did not end, and the next run takes it away.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { DataFacts } from "./data-facts.ts";
import { shardFolderName } from "./data-facts.ts";
import { syncFolder, takeLock, unfinishedSuffix, writeWhole } from "./files.ts";
import {
  backupFormat,
  checksumOf,
  type Manifest,
  type ManifestSegment,
  manifestName,
  readChecked,
  readManifest,
  runsIn,
} from "./manifest.ts";
import { inBackup, refused } from "./refuse.ts";

const markName = "backup.json";
const lockName = "lock";

interface Mark {
  /** Random, made with the folder. */
  readonly id: string;
  readonly identity: string;
  readonly context: string;
}

export function segmentFileOf(folder: string, shard: number, segment: Pick<ManifestSegment, "base" | "run">): string {
  const name = `${String(segment.base).padStart(16, "0")}-${String(segment.run).padStart(6, "0")}.seg`;
  return path.join(folder, shardFolderName(shard), name);
}

export interface OpenBackup {
  readonly id: string;
  /** Of the newest run. */
  readonly manifest: Manifest | undefined;
  release(): void;
}

/**
 * Takes a backup folder for a run: makes it, if there is none, and clears away what an earlier run left unfinished.
 * Errors: `BACKUP_REFUSED` when it is not empty and no backup, a backup of another data folder, being written by another
 * process, or damaged.
 */
export function openForRun(folder: string, facts: DataFacts): OpenBackup {
  return inBackup(folder, () => {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    checkIsBackupOrEmpty(folder);
    const release = takeLock(path.join(folder, lockName));
    if (release === undefined) throw refused(folder, "another process is writing into it");
    try {
      if (!fs.existsSync(path.join(folder, markName))) makeMark(folder, facts);
      const mark = readMark(folder);
      if (mark.identity !== facts.identity) {
        throw refused(folder, `it belongs to the data folder ${mark.identity}, not to ${facts.identity}`);
      }
      const runs = runsIn(folder);
      const manifests = runs.map((run) => checkedManifest(folder, mark, run));
      for (const manifest of manifests.slice(-1)) checkFiles(folder, manifest);
      removeUnnamed(folder, manifests);
      return { id: mark.id, manifest: manifests.at(-1), release };
    } catch (error) {
      release();
      throw error;
    }
  });
}

/**
 * The manifest of a run, the newest by default, when all its files are there in their lengths. What is in them is checked
 * when they are read. Errors: `BACKUP_REFUSED`.
 */
export function readBackup(folder: string, run?: number): Manifest {
  return inBackup(folder, () => {
    if (!fs.existsSync(path.join(folder, markName))) throw refused(folder, `it is no backup: there is no ${markName}`);
    const mark = readMark(folder);
    const runs = runsIn(folder);
    if (runs.length === 0) throw refused(folder, "it is incomplete: no run of it has ended");
    const wanted = run ?? runs.at(-1)!;
    if (!runs.includes(wanted)) throw refused(folder, `it has no run ${wanted}; it has ${runs.join(", ")}`);
    const manifest = checkedManifest(folder, mark, wanted);
    checkFiles(folder, manifest);
    return manifest;
  });
}

/** Takes away the manifests of all but the newest runs, and then the files that only they needed. */
export function keepNewest(folder: string, runs: number): void {
  inBackup(folder, () => {
    const all = runsIn(folder);
    const kept = all.slice(-runs);
    const manifests = kept.map((run) => readManifest(folder, run));
    for (const run of all.slice(0, -runs)) fs.unlinkSync(path.join(folder, manifestName(run)));
    // A manifest must not come back after a power cut when its files are gone.
    syncFolder(folder);
    removeUnnamed(folder, manifests);
  });
}

function checkIsBackupOrEmpty(folder: string): void {
  const names = fs.readdirSync(folder);
  // A crash before the first file was in its place leaves these at most, SQLite's journal beside the lock included.
  const isBegun = names.every((name) => name.startsWith(lockName) || name === `${markName}${unfinishedSuffix}`);
  if (!isBegun && !names.includes(markName)) throw refused(folder, "it is not empty, and it is no backup");
}

function makeMark(folder: string, { identity, context }: DataFacts): void {
  const content: Mark = { id: randomUUID(), identity, context };
  writeWhole(
    path.join(folder, markName),
    `${JSON.stringify({ heddleBackup: backupFormat, checksum: checksumOf(content), content })}\n`,
  );
}

function readMark(folder: string): Mark {
  return readChecked(folder, markName) as Mark;
}

function checkedManifest(folder: string, mark: Mark, run: number): Manifest {
  const manifest = readManifest(folder, run);
  if (manifest.backup !== mark.id) throw refused(folder, `${manifestName(run)} belongs to another backup`);
  return manifest;
}

function checkFiles(folder: string, manifest: Manifest): void {
  for (const { shard, segments } of manifest.shards) {
    for (const segment of segments) {
      const file = segmentFileOf(folder, shard, segment);
      const bytes = fs.statSync(file, { throwIfNoEntry: false })?.size;
      const name = path.relative(folder, file);
      if (bytes === undefined) throw refused(folder, `it is incomplete: ${name} is missing`);
      if (bytes !== segment.bytes) throw refused(folder, `${name} has ${bytes} bytes, wanted ${segment.bytes}`);
    }
  }
}

function removeUnnamed(folder: string, manifests: readonly Manifest[]): void {
  const named = new Set<string>();
  for (const { shards } of manifests) {
    for (const { shard, segments } of shards) {
      for (const segment of segments) named.add(segmentFileOf(folder, shard, segment));
    }
  }
  for (const name of fs.readdirSync(folder)) {
    if (name.endsWith(unfinishedSuffix)) fs.unlinkSync(path.join(folder, name));
  }
  const shards = path.join(folder, "shards");
  for (const shard of fs.existsSync(shards) ? fs.readdirSync(shards) : []) {
    for (const name of fs.readdirSync(path.join(shards, shard))) {
      const file = path.join(shards, shard, name);
      if (name.endsWith(".seg") && !named.has(file)) fs.unlinkSync(file);
    }
  }
}
