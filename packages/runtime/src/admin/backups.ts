// Backups: `heddle backup` and `heddle restore`, with a shard's part of the work on a thread of the pool each.
//
// What a backup is and promises stands in packages/backup; here it is only put together with the threads.
import {
  type BackUpResult,
  type BackupProgress,
  backUp,
  type RestoreResult,
  restoreBackup,
  type Until,
  type VerifyResult,
  verifyBackup,
} from "@heddle/backup";
import type { RunTasks } from "@heddle/backup/internal";
import { HeddleError } from "@heddle/kernel";
import { keysFileOf } from "../data-folder.ts";
import { runOnPool } from "./shard-pool.ts";

type OnProgress = ((progress: BackupProgress) => void) | undefined;

export interface BackUpFolderOptions {
  readonly data: string;
  readonly backup: string;
  /** Default: keys/keys.sqlite in the data folder. */
  readonly keys?: string | undefined;
  readonly keepRuns?: number | undefined;
  readonly onProgress?: OnProgress;
}

/** Errors: `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`, `LOG_DAMAGED`, `DATA_FOLDER_*`. */
export function backUpFolder({ data, backup, keys, keepRuns, onProgress }: BackUpFolderOptions): Promise<BackUpResult> {
  return backUp(
    {
      data,
      backup,
      keys: keys ?? keysFileOf(data),
      runTasks: onPool("backUp"),
      ...(keepRuns === undefined ? {} : { keepRuns }),
    },
    onProgress,
  );
}

export interface RestoreFolderOptions {
  readonly backup: string;
  readonly data: string;
  readonly keys: string;
  readonly run?: number | undefined;
  readonly until?: Until | undefined;
  readonly onProgress?: OnProgress;
}

/** Errors: `BACKUP_REFUSED`, `KEYS_UNAVAILABLE`, `DATA_FOLDER_UNWRITABLE`. */
export function restoreFolder(options: RestoreFolderOptions): Promise<RestoreResult> {
  const { backup, data, keys, run, until, onProgress } = options;
  return restoreBackup({ backup, data, keys, runTasks: onPool("restore"), ...given({ run, until }) }, onProgress);
}

export interface CheckBackupOptions {
  readonly backup: string;
  /** Left out: the files are checked, and not whether they can be decrypted. */
  readonly keys?: string | undefined;
  readonly run?: number | undefined;
  readonly onProgress?: OnProgress;
}

/** Errors: `BACKUP_REFUSED` for the first file that is not right, also when keys of entities are missing. */
export async function checkBackup({ backup, keys, run, onProgress }: CheckBackupOptions): Promise<VerifyResult> {
  const result = await verifyBackup({ backup, runTasks: onPool("verifyBackup"), ...given({ keys, run }) }, onProgress);
  if (result.missing === 0 || keys === undefined) return result;
  const problem = `it has no key, and no mark of an erasure, for ${result.missing} entities of the backup`;
  throw new HeddleError("KEYS_UNAVAILABLE", { file: keys, problem });
}

function onPool<T, R>(name: "backUp" | "restore" | "verifyBackup"): RunTasks<T, R> {
  return (tasks, onBytes) => {
    let told = 0;
    return runOnPool<T, R>(name, tasks, Number.MAX_SAFE_INTEGER, ({ doneBytes }) => {
      if (doneBytes > told) onBytes(doneBytes - told);
      told = doneBytes;
    });
  };
}

/** Only those that are set: an option that is there and undefined is another thing than one that is not there. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const set = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
