// A process that makes a backup or restores one and is killed by its own hand in the middle: after so many calls of a kind
// that touches the disk. Run as: node crash-child.spec-support.ts backup|restore <calls> <options as JSON>
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { backUp } from "./back-up.ts";
import { restoreBackup } from "./restore.ts";

const [what, calls, options] = process.argv.slice(2);
let left = Number(calls);
for (const name of ["writeSync", "fsyncSync", "renameSync", "unlinkSync", "mkdirSync", "openSync"] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      if (left-- === 0) process.kill(process.pid, "SIGKILL");
      return original(...args);
    },
  });
}
syncBuiltinESMExports();

if (what === "backup") await backUp(JSON.parse(options!));
else await restoreBackup(JSON.parse(options!));
