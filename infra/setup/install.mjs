// install.mjs: makes a fresh clone ready. Plain JavaScript, because it runs on whatever Node started npm.
//
// Runs `npm ci` when node_modules is missing or older than the lock file; otherwise does nothing and says nothing.
import { spawnSync } from "node:child_process";
import { existsSync, statSync, utimesSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const marker = `${root}node_modules/.package-lock.json`;
const lock = `${root}package-lock.json`;

if (!existsSync(marker) || statSync(marker).mtimeMs < statSync(lock).mtimeMs) {
  console.log("heddle: installing dependencies (npm ci), about 15 seconds");
  // Of a package that cannot be fetched, or is fetched too slowly, npm asks twice more by itself.
  const ci = ["ci", "--fetch-retries=5"];
  const npm = process.env.npm_execpath ? [process.execPath, [process.env.npm_execpath, ...ci]] : ["npm", ci];
  const done = spawnSync(npm[0], npm[1], { cwd: root, stdio: "inherit" });
  if (done.status !== 0) {
    console.error("heddle: `npm ci` failed; its own message is above. Mend it and run the command again.");
    process.exit(done.status ?? 1);
  }
  const now = new Date();
  utimesSync(marker, now, now);
}
