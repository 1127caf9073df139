// RestoreTarget: the folder that a restore fills, beside the one that it will be.
//
//   DATA.restoring/   lock, restoring.json (so that only what a restore made is ever taken away), shards/…
//
// Renamed at the end: a node that is started too early finds no folder rather than half of one.
import fs from "node:fs";
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { descriptionFile } from "./data-facts.ts";
import { syncFolder, takeLock, writeWhole } from "./files.ts";

const markName = "restoring.json";
const lockName = "lock";

export interface RestoreTarget {
  readonly folder: string;
  /** Writes the folder's description and gives the folder its name. */
  finish(described: Readonly<Record<string, unknown>>): void;
  /** Takes the folder away. */
  discard(): void;
}

export function unwritable(data: string, message: string, cause?: unknown): HeddleError {
  return new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message }, { cause });
}

/** Errors: `DATA_FOLDER_UNWRITABLE` when the folder is not empty, being restored by another process, or cannot be made. */
export function beginFolder(data: string): RestoreTarget {
  const wanted = path.resolve(data);
  const folder = `${wanted}.restoring`;
  try {
    if (fs.existsSync(wanted) && fs.readdirSync(wanted).length > 0) {
      throw unwritable(data, "it is not empty, and a restore overwrites nothing");
    }
    fs.mkdirSync(folder, { recursive: true });
    const names = fs.readdirSync(folder);
    const isOurs = names.every((name) => name.startsWith(lockName)) || names.includes(markName);
    if (!isOurs) throw unwritable(data, `${folder} is in the way`);
    const release = takeLock(path.join(folder, lockName));
    if (release === undefined) throw unwritable(data, "another process is restoring it");
    return fill(wanted, folder, release);
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    throw unwritable(data, (cause as Error).message, cause);
  }
}

function fill(wanted: string, folder: string, release: () => void): RestoreTarget {
  fs.writeFileSync(path.join(folder, markName), "{}\n");
  for (const name of fs.readdirSync(folder)) {
    if (name !== markName && !name.startsWith(lockName)) fs.rmSync(path.join(folder, name), { recursive: true });
  }
  return {
    folder,
    finish(described) {
      writeWhole(path.join(folder, descriptionFile), `${JSON.stringify(described, undefined, 2)}\n`);
      release();
      fs.unlinkSync(path.join(folder, lockName));
      fs.renameSync(folder, wanted);
      // Only now: until the folder has its name, a restore that begins again must know it. What a crash leaves is harmless.
      fs.unlinkSync(path.join(wanted, markName));
      syncFolder(wanted);
      syncFolder(path.dirname(wanted));
    },
    discard() {
      release();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}
