// Runs the real command line as a process of its own, as a user's shell does.
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../../", import.meta.url));
export const launcher = path.join(repository, "apps/heddle/bin/heddle.js");
export const bank = path.join(repository, "apps/examples/bank");

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly said: string;
}

export interface Running {
  readonly child: ChildProcess;
  /** The first match in what it has written to standard output so far, or writes from now on. Rejects if it ends first. */
  printed(pattern: RegExp): Promise<RegExpExecArray>;
  readonly ended: Promise<Ended>;
}

export interface RunOptions {
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** The environment of a shell without a node of its own and without colours. */
function environmentOf(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { HEDDLE_URL: _url, PORT: _port, UV_THREADPOOL_SIZE: _size, ...inherited } = process.env;
  const bin = path.join(repository, "node_modules/.bin");
  return { ...inherited, PATH: `${bin}${path.delimiter}${inherited["PATH"] ?? ""}`, ...more };
}

/** A test that fails leaves nothing running behind. */
const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

export function start(program: string, args: readonly string[], { input = "", environment }: RunOptions = {}): Running {
  const child = spawn(program, args, { cwd: repository, env: environmentOf(environment), stdio: "pipe" });
  children.add(child);
  child.once("close", () => children.delete(child));
  let out = "";
  let said = "";
  const waiting = new Set<() => void>();
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
    for (const look of waiting) look();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, out, said }));
  });
  return {
    child,
    ended,
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(out);
          if (match === null) return;
          waiting.delete(look);
          resolve(match);
        };
        waiting.add(look);
        ended.then(() => reject(new Error(`it ended before it printed ${pattern}:\n${out}\n${said}`)), reject);
        look();
      }),
  };
}

/** Runs `heddle` to its end. */
export function heddle(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return start(process.execPath, [launcher, ...args], options).ended;
}

export function temporaryFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "heddle-cli-"));
}

export interface ServedNode {
  readonly url: string;
  readonly data: string;
  readonly running: Running;
  /** Runs `heddle` against this node. */
  heddle(args: readonly string[], options?: RunOptions): Promise<Ended>;
  /** Asks it to end, and waits until it has. */
  stop(signal?: NodeJS.Signals): Promise<Ended>;
}

/** Starts `heddle serve` with the bank on a free port. */
export async function serve(data: string, more: readonly string[] = [], options: RunOptions = {}): Promise<ServedNode> {
  const args = ["serve", "--domain", bank, "--data", data, "--port", "0", "--json", "--log-level", "warn", ...more];
  const running = start(process.execPath, [launcher, ...args], options);
  const [, url] = await running.printed(/"url":"([^"]+)"/);
  return {
    url: url!,
    data,
    running,
    heddle: (args, options = {}) =>
      heddle(args, { ...options, environment: { HEDDLE_URL: url!, ...options.environment } }),
    stop(signal = "SIGTERM") {
      running.child.kill(signal);
      return running.ended;
    },
  };
}
