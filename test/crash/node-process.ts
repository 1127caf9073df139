// NodeProcess: a node in a process of its own, as its parent sees it.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { FromNode, NodeStart, ToNode } from "./node-main.ts";

export const bankDomain = fileURLToPath(new URL("../../apps/examples/bank/index.ts", import.meta.url));

const shiftedClock = new URL("./shifted-clock.ts", import.meta.url).href;

/** Compiled code, kept from process to process: tests start a hundred, and most of a start is compiling. */
const compileCache = fileURLToPath(new URL("../../node_modules/.cache/heddle-crash", import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [fact: string]: unknown;
}

export class NodeProcess {
  /** What its logger said. */
  readonly logs: LogLine[] = [];
  /** Resolves at the end of the process, however it comes. */
  readonly exited: Promise<Exit>;
  /** Resolves when it takes calls, or cannot any more. */
  readonly settled: Promise<"ready" | "refused" | "exited">;
  /** Once it has ended. */
  exit: Exit | undefined;
  refusal: { readonly code: string; readonly message: string } | undefined;
  port = 0;
  readonly #child: ChildProcess;
  readonly #listeners: ((line: LogLine) => void)[] = [];
  #whenArmed: (() => void) | undefined;

  /** `clockAheadMs`: the wall clock of the whole process is ahead by so much. */
  constructor(
    options: Omit<NodeStart, "domain"> & { readonly domain?: string },
    { clockAheadMs }: { readonly clockAheadMs?: number } = {},
  ) {
    const start: NodeStart = { domain: bankDomain, ...options };
    this.#child = fork(fileURLToPath(new URL("./node-main.ts", import.meta.url)), [JSON.stringify(start)], {
      // The parent's own flags are a test runner's.
      execArgv: clockAheadMs === undefined ? [] : ["--import", shiftedClock],
      env: {
        ...process.env,
        NODE_COMPILE_CACHE: compileCache,
        ...(clockAheadMs === undefined ? {} : { HEDDLE_CLOCK_AHEAD_MS: String(clockAheadMs) }),
      },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.exited = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
    const answered = new Promise<"ready" | "refused">((resolve) => {
      this.#child.on("message", (message: FromNode) => {
        if (message.kind === "log") this.#onLog(JSON.parse(message.line) as LogLine);
        else if (message.kind === "armed") this.#whenArmed?.();
        else {
          if (message.kind === "ready") this.port = message.port;
          else this.refusal = message;
          resolve(message.kind);
        }
      });
    });
    this.settled = Promise.race([answered, this.exited.then(() => "exited" as const)]);
  }

  /** Calls back at every line of its log from now on. */
  onLog(listener: (line: LogLine) => void): void {
    this.#listeners.push(listener);
  }

  /** SIGKILL: nothing of the process runs after it. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /**
   * Of a node that was started with some `crashAt`, `later` at least: `name:n` kills it, counted from when this resolves, and
   * nothing that was said before does. Never resolves when the node is dead.
   */
  crashAt(point: string): Promise<void> {
    return new Promise((resolve) => {
      this.#whenArmed = resolve;
      this.#child.send({ kind: "crash-at", point } satisfies ToNode, () => {});
    });
  }

  close(): Promise<Exit> {
    this.#child.send({ kind: "close" } satisfies ToNode);
    return this.exited;
  }

  #onLog(line: LogLine): void {
    this.logs.push(line);
    for (const listener of this.#listeners) listener(line);
  }
}
