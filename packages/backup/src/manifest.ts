// Manifest: what one run of a backup holds. Written last, so that a run which was cut off has none.
//
//   manifest-000001.json   { heddleBackup: format, checksum: SHA-256 of the content as JSON, content }
//
// Each names everything that is needed to restore it, files of earlier runs included.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { writeWhole } from "./files.ts";
import type { Life } from "./life.ts";
import { refused } from "./refuse.ts";

/** Of manifests, the folder's description and segment files together. */
export const backupFormat = 1;

/** A segment of the source's log, as far as it went, and the file of the backup that has it. */
export interface ManifestSegment {
  readonly base: number;
  /** Bytes of the log in it, header included. */
  readonly length: number;
  readonly salt: number;
  /** When the source began it, ms since 1970. With the salt this tells it from any other segment. */
  readonly createdMs: number;
  /** The latest time of an entry in it; 0 without one. */
  readonly lastTime: number;
  /** The run that wrote the file. */
  readonly run: number;
  /** Of the backup's file. */
  readonly bytes: number;
  readonly sha256: string;
  /** Entities, life by life, whose payloads are in it. */
  readonly entities: number;
}

export interface ManifestTombstone extends Life {
  readonly entity: string;
  readonly position: number;
}

export interface ManifestShard {
  readonly shard: number;
  /** Position up to which the log is in the backup: the end of a record. */
  readonly end: number;
  readonly segments: readonly ManifestSegment[];
  /** All of the shard's, in order: where the lives of entities begin. */
  readonly tombstones: readonly ManifestTombstone[];
}

export interface Manifest {
  readonly run: number;
  /** The backup folder's own id. */
  readonly backup: string;
  /** See data-facts.ts. */
  readonly identity: string;
  readonly context: string;
  readonly shardCount: number;
  readonly described: Readonly<Record<string, unknown>>;
  /** Id of the key store that has the keys. */
  readonly keyStore: string;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly shards: readonly ManifestShard[];
}

export function manifestName(run: number): string {
  return `manifest-${String(run).padStart(6, "0")}.json`;
}

/** The runs that a backup folder has manifests of, oldest first. */
export function runsIn(folder: string): number[] {
  return fs
    .readdirSync(folder)
    .flatMap((name) => /^manifest-(\d{6,})\.json$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

export function writeManifest(folder: string, content: Manifest): void {
  const text = JSON.stringify({ heddleBackup: backupFormat, checksum: checksumOf(content), content });
  writeWhole(path.join(folder, manifestName(content.run)), `${text}\n`);
}

/** Errors: `BACKUP_REFUSED` when it is missing, cut, altered, or of another version. */
export function readManifest(folder: string, run: number): Manifest {
  const name = manifestName(run);
  const content = readChecked(folder, name) as Manifest;
  if (content.run !== run) throw refused(folder, `${name} is the manifest of run ${content.run}`);
  return content;
}

/** A JSON file of a backup with its format and checksum. */
export function readChecked(folder: string, name: string): unknown {
  let text: string;
  try {
    text = fs.readFileSync(path.join(folder, name), "utf8");
  } catch (cause) {
    throw refused(folder, `${name} cannot be read: ${(cause as Error).message}`, cause);
  }
  let parsed: { heddleBackup?: unknown; checksum?: unknown; content?: unknown };
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch (cause) {
    throw refused(folder, `${name} was cut or altered: it is not JSON`, cause);
  }
  if (!Number.isSafeInteger(parsed?.heddleBackup)) throw refused(folder, `${name} does not say a backup's format`);
  if (parsed.heddleBackup !== backupFormat) {
    throw refused(folder, `${name} has format version ${parsed.heddleBackup}, this program knows ${backupFormat}`);
  }
  if (parsed.checksum !== checksumOf(parsed.content)) {
    throw refused(folder, `${name} was altered: its checksum does not match`);
  }
  return parsed.content;
}

export function checksumOf(content: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify(content) ?? "")
    .digest("hex");
}
