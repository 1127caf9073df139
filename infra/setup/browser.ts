// browser: a Chromium for the browser tests: the one that is installed, or Debian's package.
//
// Looks at HEDDLE_CHROMIUM, then along PATH. Installs only as root on a Debian, where `apt-get install` needs no questions
// asked, and says so; elsewhere it tells what to do. Downloads no browser of its own.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const places = ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

/** The path of a Chromium or Chrome, or undefined. Errors: throws when HEDDLE_CHROMIUM names none. */
export function findChromium(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const given = env["HEDDLE_CHROMIUM"];
  if (given !== undefined && given !== "") {
    if (canRun(given)) return given;
    throw new Error(`HEDDLE_CHROMIUM is ${given}, which is no file that can be run`);
  }
  const folders = (env["PATH"] ?? "").split(path.delimiter).filter((folder) => folder !== "");
  return [...names.flatMap((name) => folders.map((folder) => path.join(folder, name))), ...places].find(canRun);
}

/** Finds one, installs it if that is possible, or says in one line why there is none. */
export function obtainChromium(
  say: (line: string) => void = console.log,
  env: NodeJS.ProcessEnv = process.env,
): { path: string } | { missing: string } {
  let found: string | undefined;
  try {
    found = findChromium(env);
  } catch (error) {
    return { missing: (error as Error).message };
  }
  if (found !== undefined) return { path: found };
  const how = "install chromium or google-chrome, or set HEDDLE_CHROMIUM to its path";
  if (process.getuid?.() !== 0 || !fs.existsSync("/etc/debian_version"))
    return { missing: `there is no Chromium; ${how}` };
  say("no Chromium is installed; installing Debian's: apt-get install -y --no-install-recommends chromium");
  const install = () => aptGet(["install", "-y", "--no-install-recommends", "chromium"]);
  // An index that was never fetched, or is old, knows no chromium or one that is gone.
  if (!install() && !(aptGet(["update"]) && install()))
    return { missing: `apt-get could not install chromium; ${how}` };
  found = findChromium(env);
  return found === undefined ? { missing: `apt-get installed no chromium; ${how}` } : { path: found };
}

function aptGet(args: readonly string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // A machine that has just started may be updating itself, and mirrors fail now and then.
  const patience = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=5"];
  return (
    spawnSync("apt-get", ["-q", ...patience, ...args], { env, stdio: ["ignore", "ignore", "ignore"] }).status === 0
  );
}

function canRun(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
