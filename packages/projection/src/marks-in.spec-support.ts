// marksIn: which rows a server's files still have, byte by byte (P6). Rows that are looked for have `MARK-account/<number>-` in them.
import fs from "node:fs";
import path from "node:path";

/** Accounts whose mark is in any file of a folder. */
export function marksIn(folder: string): Set<string> {
  const found = new Set<string>();
  for (const file of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const bytes = fs.readFileSync(path.join(file.parentPath, file.name), "latin1");
    for (const [, name] of bytes.matchAll(/MARK-(account\/\d+)-/g)) found.add(name!);
  }
  return found;
}
