// The driver's children: servers, clients and the referee, each a process of its own.
//
// A child that ends before it has said what it owes rejects whoever waits for it, with its exit code. Children die with
// the driver: they end when its channel closes.
import { type ChildProcess, type ForkOptions, fork, type StdioOptions, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { NodeOptions } from "@heddle/runtime";
import { engineFlags, threadPoolSize } from "../../../apps/heddle/src/process-settings.ts";
import type { AbandonOrder, CheckJob, ClientMessage, LoadJob, OpenLoopMeasurement } from "../load/job.ts";
import type { Measurement } from "../load/meter.ts";
import type { RefereeReport } from "../referee/main.ts";
import type { ServerMessage, ServerOrder, ServerUsage } from "./server-process.ts";

/** What a child says on standard error is kept, and told when it ends before its time. */
const quiet: StdioOptions = ["ignore", "ignore", "pipe", "ipc"];
const errorTextMax = 4_000;

export interface Server {
  readonly pid: number;
  readonly port: number;
  readonly shards: number;
  readonly threads: number;
  usage(): Promise<ServerUsage>;
  /** Stops it in order. */
  close(): Promise<void>;
  /** Ends it as a crash would: SIGKILL. */
  kill(): Promise<void>;
}

export function startFloor(kind: "binary" | "http", file: string, durability: string): Promise<Server> {
  return startServer("../floor/main.ts", [kind, file, durability]);
}

/**
 * Started as `heddle serve` starts itself. Without projections, unless the options name sinks: the other scenarios are about writing.
 * `profileFolder`: the node writes V8 CPU profiles of all its threads there when it is stopped.
 */
export function startNodeProcess(options: NodeOptions, profileFolder?: string): Promise<Server> {
  const profile = profileFolder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`];
  const env = { UV_THREADPOOL_SIZE: String(threadPoolSize()), ...process.env };
  return startServer("../node/main.ts", [JSON.stringify({ sinks: [], ...options })], {
    execArgv: [...engineFlags(), ...profile],
    env,
  });
}

async function startServer(module: string, args: string[], options: ForkOptions = {}): Promise<Server> {
  const child = fork(pathOf(module), args, { execArgv: [], ...options, stdio: quiet });
  const messages = new Inbox<ServerMessage>(child, module);
  const ready = await messages.take("ready");
  const order = (what: ServerOrder) => child.send(what);
  return {
    pid: child.pid!,
    port: ready.port,
    shards: ready.shards,
    threads: ready.threads,
    async usage() {
      order({ kind: "usage" });
      return (await messages.take("usage")).usage;
    },
    async close() {
      order({ kind: "close" });
      await messages.take("closed");
      await messages.ended;
    },
    async kill() {
      child.kill("SIGKILL");
      await messages.ended;
    },
  };
}

export interface LoadProcess {
  /** Resolves when the measurement has begun. */
  readonly measuring: Promise<unknown>;
  readonly measured: Promise<{ measurement: Measurement; cpuMs: number; rssBytes: number }>;
  readonly done: Promise<{ openLoop?: OpenLoopMeasurement; givenUp: boolean }>;
  abandon(): void;
}

type Progress = Extract<ClientMessage, { kind: "progress" }>;

export function startLoad(job: LoadJob, onProgress: (progress: Progress) => void): LoadProcess {
  const { child, messages } = startClient(job, onProgress);
  return {
    measuring: messages.take("measuring"),
    measured: messages.take("measured"),
    done: messages.take("done"),
    abandon: () => child.send({ kind: "abandon" } satisfies AbandonOrder),
  };
}

export async function checkStates(job: CheckJob): Promise<{ accounts: number; differing: readonly string[] }> {
  const { messages } = startClient(job, () => {});
  const checked = await messages.take("checked");
  await messages.ended;
  return checked;
}

function startClient(job: LoadJob | CheckJob, onProgress: (progress: Progress) => void) {
  const child = fork(pathOf("../load/main.ts"), [JSON.stringify(job)], {
    execArgv: [],
    stdio: quiet,
  });
  child.on("message", (message: ClientMessage) => {
    if (message.kind === "progress") onProgress(message);
  });
  return { child, messages: new Inbox<ClientMessage>(child, "load") };
}

export async function callReferee(
  data: string,
  domain: string,
  bookFile: string,
  { audit = false } = {},
): Promise<RefereeReport> {
  const asked = [data, domain, bookFile, ...(audit ? ["--audit"] : [])];
  const child = spawn(process.execPath, [pathOf("../referee/main.ts"), ...asked], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (part: Buffer) => {
    text += part.toString();
  });
  const [code] = await new Promise<[number | null]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (ended) => resolve([ended]));
  });
  if (code !== 0 && code !== 1) throw new Error(`the referee ended with ${code} before it had a verdict`);
  return JSON.parse(text) as RefereeReport;
}

function pathOf(module: string): string {
  return fileURLToPath(new URL(module, import.meta.url));
}

/** Messages of a child by kind. One that nobody has asked for yet is kept. */
class Inbox<M extends { readonly kind: string }> {
  readonly #kept: M[] = [];
  readonly #waiting = new Map<string, { resolve: (message: never) => void; reject: (error: Error) => void }>();
  readonly #name: string;
  #end: Error | undefined;
  readonly ended: Promise<void>;

  constructor(child: ChildProcess, name: string) {
    this.#name = name;
    child.on("message", (message: M) => {
      const waiting = this.#waiting.get(message.kind);
      this.#waiting.delete(message.kind);
      if (waiting !== undefined) waiting.resolve(message as never);
      else if (message.kind !== "progress") this.#kept.push(message);
    });
    let errorText = "";
    child.stderr?.on("data", (part: Buffer) => {
      errorText = (errorText + part.toString()).slice(-errorTextMax);
    });
    this.ended = new Promise((resolve) => {
      child.on("error", (error) => this.#fail(error, resolve));
      child.on("close", (code, signal) => {
        this.#fail(new Error(`${this.#name} ended with ${code ?? signal}\n${errorText}`.trimEnd()), resolve);
      });
    });
  }

  take<K extends M["kind"]>(kind: K): Promise<Extract<M, { readonly kind: K }>> {
    type Wanted = Extract<M, { readonly kind: K }>;
    const kept = this.#kept.findIndex((message) => message.kind === kind);
    if (kept >= 0) return Promise.resolve(this.#kept.splice(kept, 1)[0] as Wanted);
    if (this.#end !== undefined) return Promise.reject(this.#end);
    const promise = new Promise<Wanted>((resolve, reject) => this.#waiting.set(kind, { resolve, reject }));
    // Several answers may be owed when a child dies, and only one of them is being waited for.
    promise.catch(() => {});
    return promise;
  }

  #fail(error: Error, resolve: () => void): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#end);
    this.#waiting.clear();
    resolve();
  }
}
