// BoundKeys: the one key store that a data folder uses, whoever works on the folder (P6).
//
// A backup that takes its keys from one store while the node erases in another would keep what is erased. So the folder
// remembers the id of the first store that it was used with, and every other one is refused.
//
//   DATA/keystore.id   the id of the key store, one line
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { syncFolder, writeSynced } from "./files.ts";
import { KeyStore } from "./key-store.ts";

export const boundName = "keystore.id";

/**
 * Opens the key store of a data folder. It is made when neither it nor an earlier one of the folder is there.
 * Errors: `KEYS_UNAVAILABLE`, also when the folder was used with another store; `DATA_FOLDER_UNWRITABLE`.
 */
export function openKeysOf(data: string, file: string): KeyStore {
  const known = boundIdOf(data);
  const keys = KeyStore.open(file, { create: known === undefined });
  try {
    const bound = known ?? bind(data, keys.id);
    if (bound === keys.id) return keys;
    const problem = `it is the key store ${keys.id}, but ${path.join(data, boundName)} says that this data folder's keys are in ${bound}`;
    throw new HeddleError("KEYS_UNAVAILABLE", { file, problem });
  } catch (error) {
    keys.close();
    throw error;
  }
}

/** The id of the key store that a data folder was first used with; undefined before that. Errors: `DATA_FOLDER_UNWRITABLE`. */
export function boundIdOf(data: string): string | undefined {
  try {
    return fs.readFileSync(path.join(data, boundName), "utf8").trim();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unwritable(data, cause);
  }
}

// Two processes may do so at once: the one whose link comes second uses what the first has said.
function bind(data: string, id: string): string {
  const beside = path.join(data, `${boundName}.${randomUUID()}`);
  try {
    writeSynced(beside, Buffer.from(`${id}\n`), "wx");
    try {
      fs.linkSync(beside, path.join(data, boundName));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    } finally {
      fs.unlinkSync(beside);
    }
    syncFolder(data);
  } catch (cause) {
    throw unwritable(data, cause);
  }
  return boundIdOf(data) ?? id;
}

function unwritable(data: string, cause: unknown): HeddleError {
  return new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message: (cause as Error).message }, { cause });
}
