// marksIn: which rows a server's files still have, byte by byte (P6). Rows that are looked for have `MARK-account/<number>-` in them.
import { filesOf } from "../../../infra/servers/files-of.spec-support.ts";

/** Accounts whose mark is in any file of a folder. */
export function marksIn(folder: string): Set<string> {
  const marks = (bytes: Buffer) => bytes.toString("latin1").matchAll(/MARK-(account\/\d+)-/g);
  const found = filesOf(folder, (bytes) => Array.from(marks(bytes), ([, name]) => name!));
  return new Set([...found.values()].flat());
}
