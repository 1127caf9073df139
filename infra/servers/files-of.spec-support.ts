// filesOf: what stands in the files of a server that runs, and replaces or removes some of them while they are read.
import fs from "node:fs";
import path from "node:path";

/**
 * What `look` finds in each file below a folder, by its path. All are looked at again when one went away between its listing and its
 * reading: what stood in it may stand in another by now.
 */
export function filesOf<T>(folder: string, look: (bytes: Buffer) => T): ReadonlyMap<string, T> {
  for (;;) {
    const found = new Map<string, T>();
    try {
      for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const file = path.join(entry.parentPath, entry.name);
        found.set(file, look(fs.readFileSync(file)));
      }
      return found;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || !fs.existsSync(folder)) throw error;
    }
  }
}

/** Files below a folder in which a text stands. */
export function filesWith(folder: string, text: string): string[] {
  return [...filesOf(folder, (bytes) => bytes.includes(text))].flatMap(([file, has]) => (has ? [file] : []));
}
