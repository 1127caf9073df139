// ServerProcess: one server in a process and a folder of its own, on a loopback port of its own.
//
// The folder is temporary and goes when the server is stopped, unless it was given; it holds what the server stores,
// its configuration and `server.log`, its output. The server dies with the process that started it, however that ends:
// a shell beside it waits for the end of a pipe and kills it then.
//
// Not promised: that a port stays free while its server is down. Ports lie below those that the system gives to
// outgoing connections, so that a client which keeps calling a killed server does not end up talking to itself.
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { ServerError } from "./server-error.ts";
import type { ServerName } from "./settings.ts";

export interface StartOptions {
  /** Where the server keeps its data; made when missing, kept at the stop. Default: a temporary folder. */
  readonly folder?: string;
  /** Default: a free one. */
  readonly port?: number;
}

export interface RunningServer extends AsyncDisposable {
  readonly name: ServerName;
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  /** Changes with every restart. Errors: `NOT_RUNNING` while there is no process. */
  readonly pid: number;
  /** As the server itself told it. */
  readonly version: string;
  readonly running: boolean;
  /** Resolves when its process is gone, however it ended. */
  readonly gone: Promise<void>;
  /** What the server said last, at most 4 KiB. */
  output(): string;
  /** Ends it in order and removes its folder, if that is temporary. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when the process is gone. The folder stays. */
  kill(): Promise<void>;
  /** Starts it anew with the same port and folder; stops it in order first if it runs. */
  restart(): Promise<void>;
  /** SIGSTOP: the server keeps its connections and answers nothing. */
  pause(): void;
  resume(): void;
}

/** What one kind of server has of its own. */
export interface ServerKind {
  readonly name: ServerName;
  readonly url: (port: number) => string;
  /** Writes what the server reads at its start and says how to run it. */
  readonly prepare: (at: { readonly port: number; readonly folder: string }) => {
    readonly file: string;
    readonly args: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  };
  /** The version, once the server at this port takes calls. Errors: rejects while it does not. */
  readonly probe: (port: number) => Promise<string>;
}

const readyWithinMs = 60_000;
const stopWithinMs = 15_000;
const pollEveryMs = 25;
/** Another process may take a port between our look and the server's. */
const portTries = 5;
const portFrom = 15_000;
const portTo = 32_000;

export async function startServer(kind: ServerKind, options: StartOptions): Promise<RunningServer> {
  if (options.port !== undefined && !(await isFree(options.port)))
    throw new ServerError("PORT_IN_USE", `${kind.name} can not have port ${options.port}: something listens there`);
  const temporary = options.folder === undefined;
  const folder = path.resolve(options.folder ?? fs.mkdtempSync(path.join(os.tmpdir(), `heddle-${kind.name}-`)));
  fs.mkdirSync(folder, { recursive: true });
  for (let tries = 1; ; tries++) {
    const server = new ServerProcess(kind, options.port ?? (await freePort()), folder, temporary);
    try {
      await server.restart();
      return server;
    } catch (error) {
      const portWasTaken = /address already in use|EADDRINUSE/i.test(server.output());
      if (options.port === undefined && portWasTaken && tries < portTries) continue;
      if (temporary) fs.rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }
}

class ServerProcess implements RunningServer {
  readonly port: number;
  readonly folder: string;
  version = "";
  readonly #kind: ServerKind;
  readonly #temporary: boolean;
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();

  constructor(kind: ServerKind, port: number, folder: string, temporary: boolean) {
    this.#kind = kind;
    this.port = port;
    this.folder = folder;
    this.#temporary = temporary;
  }

  get name(): ServerName {
    return this.#kind.name;
  }

  get url(): string {
    return this.#kind.url(this.port);
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new ServerError("NOT_RUNNING", `${this.name} is not running`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get gone(): Promise<void> {
    return this.#gone;
  }

  output(): string {
    return tailOf(path.join(this.folder, "server.log"));
  }

  async restart(): Promise<void> {
    await this.#end("SIGTERM");
    fs.mkdirSync(this.folder, { recursive: true });
    const { file, args, env } = this.#kind.prepare({ port: this.port, folder: this.folder });
    const log = fs.openSync(path.join(this.folder, "server.log"), "w");
    // A session of its own: a signal to the parent's group, as from a terminal, does not reach the server, and all
    // processes of the server can be signalled together.
    const child = spawn(file, args, {
      stdio: ["ignore", log, log],
      detached: true,
      env: { ...process.env, ...env },
    });
    fs.closeSync(log);
    let ended: string | undefined;
    this.#gone = new Promise((resolve) => {
      const end = (how: string) => {
        ended ??= how;
        if (this.#child === child) this.#child = undefined;
        resolve();
      };
      child.once("error", (error) => end(error.message));
      child.once("exit", (code, signal) => end(signal === null ? `it ended with exit code ${code}` : `got ${signal}`));
    });
    if (child.pid !== undefined) {
      this.#child = child;
      const guard = guardOf(child.pid, this.#temporary ? this.folder : "");
      void this.#gone.then(() => {
        // The guard dies before its pipe ends, so it never kills whoever has the number next.
        guard.kill("SIGKILL");
        guard.stdin?.destroy();
      });
    }
    const deadline = performance.now() + readyWithinMs;
    for (;;) {
      if (ended === undefined) {
        try {
          this.version = await this.#kind.probe(this.port);
          if (ended === undefined) return;
        } catch (error) {
          if (performance.now() > deadline) {
            await this.#end("SIGKILL");
            ended = `it did not take calls within ${readyWithinMs / 1000} s (${(error as Error).message})`;
          }
        }
      }
      if (ended !== undefined) {
        const said = this.output().trim();
        throw new ServerError(
          "DID_NOT_START",
          `${this.name} did not start on port ${this.port}: ${ended}${said === "" ? "" : `\n${said}`}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, pollEveryMs));
    }
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
    if (this.#temporary) fs.rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  pause(): void {
    process.kill(-this.pid, "SIGSTOP");
  }

  resume(): void {
    process.kill(-this.pid, "SIGCONT");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return this.#gone;
    const group = -child.pid;
    if (signal === "SIGKILL") process.kill(group, "SIGKILL");
    else {
      child.kill("SIGTERM");
      // A paused process takes no SIGTERM.
      process.kill(group, "SIGCONT");
    }
    const impatience = setTimeout(() => process.kill(group, "SIGKILL"), stopWithinMs);
    await this.#gone;
    clearTimeout(impatience);
  }
}

/** Kills the server's group (and removes `folder`, if any) as soon as this process is gone. Reads no bytes, only the pipe's end. */
function guardOf(pid: number, folder: string): ChildProcess {
  const script =
    'while read -r _; do :; done; kill -9 "-$0"; if [ -n "$1" ]; then rm -rf "$1" || { sleep 1; rm -rf "$1"; }; fi';
  return spawn("/bin/sh", ["-c", script, String(pid), folder], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
}

/**
 * A port that outgoing connections never take by themselves: those begin at 32,768 on Linux, and a client that calls a dead server
 * there can be given the very port it calls, and is then connected to itself. The one after it is free too: rqlite listens on two.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = portFrom + 2 * Math.floor((Math.random() * (portTo - portFrom)) / 2);
    if ((await isFree(port)) && (await isFree(port + 1))) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function tailOf(file: string, bytesMax = 4_096): string {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
  return text.slice(-bytesMax);
}
