// QueryProcesses: runs queries on SQLite's file in processes of its own, each with a time limit that holds.
//
// Q3. A query that is not answered in time is ended with its process (SIGKILL), and a fresh one takes its place at once.
// Q4. There are at most `processesMax`; what waits for one is bounded (P8).
// Q5. Every query is settled: by its answer, its time limit, the end of its process, or `close`.
import { type ChildProcess, fork } from "node:child_process";
import { HeddleError } from "@heddle/kernel";
import { fromWireError } from "@heddle/kernel/internal";
import { memorySignal, type QueryAnswer, type QueryJob, type QueryProcessStart } from "./query-messages.ts";

export interface QueryProcessesOptions {
  /** The database file. It need not be there yet. */
  readonly file: string;
  /** Default 2. */
  readonly processesMax?: number;
  /** Queries that may wait for a process. Default 256. */
  readonly waitingMax?: number;
  /** Resident memory of one process. Default 512 MiB. */
  readonly memoryBytesMax?: number;
  /** What processes write to their standard error, and their sudden ends, go here. */
  readonly report: (message: string, facts: Record<string, unknown>) => void;
}

export interface QueryTask extends Omit<QueryJob, "id" | "runMs"> {
  /** On the clock of `performance.now()`. */
  readonly deadline: number;
  /** What the caller allowed, for the error. */
  readonly timeoutMs: number;
}

export interface QueryFound {
  /** Tables and views that were read, in small letters. */
  readonly tables: readonly string[];
  /** msgpack of [column names, rows as arrays]. */
  readonly rows: Uint8Array;
}

interface Waiting {
  readonly task: QueryTask;
  readonly resolve: (found: QueryFound) => void;
  readonly reject: (error: HeddleError) => void;
  timer: NodeJS.Timeout | undefined;
}

interface Process {
  readonly child: ChildProcess;
  job: Waiting | undefined;
  isEnding: boolean;
}

const defaults = { processesMax: 2, waitingMax: 256, memoryBytesMax: 512 << 20 } as const;

export class QueryProcesses {
  readonly #options: Required<QueryProcessesOptions>;
  readonly #processes = new Set<Process>();
  #waiting: Waiting[] = [];
  #nextId = 1;
  #isClosed = false;

  constructor(options: QueryProcessesOptions) {
    this.#options = { ...defaults, ...options };
  }

  /** Queries under way. */
  get running(): number {
    return [...this.#processes].filter(({ job }) => job !== undefined).length;
  }

  get processIds(): number[] {
    return [...this.#processes].flatMap(({ child }) => child.pid ?? []);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Errors: `QUERY_REFUSED`, `QUERY_LIMIT`, `OVERLOADED`, `SINK_UNAVAILABLE`, `SINK_REFUSED`, `CLOSED`. */
  run(task: QueryTask): Promise<QueryFound> {
    const { waitingMax } = this.#options;
    if (this.#isClosed) return Promise.reject(closed());
    if (this.#waiting.length >= waitingMax) {
      const facts = { queue: "the queue of queries", depth: this.#waiting.length, depthMax: waitingMax };
      return Promise.reject(new HeddleError("OVERLOADED", facts));
    }
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { task, resolve, reject, timer: undefined };
      waiting.timer = setTimeout(() => this.#onTimeout(waiting), Math.max(1, task.deadline - performance.now()));
      this.#waiting.push(waiting);
      this.#next();
    });
  }

  /** Ends the processes; queries that are under way reject with `CLOSED`. Resolves when all are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of this.#waiting.splice(0)) settle(waiting, closed());
    const ends = [...this.#processes].map((process) => this.#end(process, closed()));
    await Promise.all(ends);
  }

  #next(): void {
    while (this.#waiting.length > 0) {
      const process = this.#free();
      if (process === undefined) return;
      const waiting = this.#waiting.shift()!;
      const { sql, values, rowsMax, bytesMax, deadline } = waiting.task;
      const runMs = Math.max(0, deadline - performance.now());
      process.job = waiting;
      process.child.send({ id: this.#nextId++, sql, values, rowsMax, bytesMax, runMs } satisfies QueryJob);
    }
  }

  #free(): Process | undefined {
    for (const process of this.#processes) if (process.job === undefined && !process.isEnding) return process;
    const alive = [...this.#processes].filter(({ isEnding }) => !isEnding).length;
    return alive < this.#options.processesMax ? this.#start() : undefined;
  }

  #start(): Process {
    const url = new URL(import.meta.url.endsWith(".ts") ? "./query-process.ts" : "./query-process.js", import.meta.url);
    const { file, memoryBytesMax, report } = this.#options;
    const start: QueryProcessStart = { file, parent: globalThis.process.pid, memoryBytesMax };
    const child = fork(url, [JSON.stringify(start)], {
      serialization: "advanced", // Big integers and bytes go over as they are.
      execArgv: [],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const process: Process = { child, job: undefined, isEnding: false };
    this.#processes.add(process);
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      report("a query process wrote to its standard error", { text: text.slice(0, 2_000) });
    });
    child.on("message", (answer: QueryAnswer) => this.#onAnswer(process, answer));
    // What can not be sent, or not be started, is followed by its end; a process that was never there has none.
    child.on("error", (error) => this.#onGone(process, error.message));
    child.on("exit", (code, signal) => this.#onGone(process, signal ?? `code ${code}`));
    return process;
  }

  #onAnswer(process: Process, answer: QueryAnswer): void {
    const { job } = process;
    process.job = undefined;
    if (job !== undefined) settle(job, "error" in answer ? fromWireError(answer.error) : answer);
    this.#next();
  }

  #onTimeout(waiting: Waiting): void {
    const error = new HeddleError("QUERY_LIMIT", { limit: "milliseconds", max: waiting.task.timeoutMs });
    const place = this.#waiting.indexOf(waiting);
    if (place >= 0) {
      this.#waiting.splice(place, 1);
      settle(waiting, error);
      return;
    }
    const process = [...this.#processes].find(({ job }) => job === waiting);
    if (process === undefined) return;
    void this.#end(process, error);
    if (!this.#isClosed) this.#start();
    this.#next();
  }

  #end(process: Process, error: HeddleError): Promise<void> {
    const { child, job } = process;
    process.isEnding = true;
    process.job = undefined;
    if (job !== undefined) settle(job, error);
    if (!this.#processes.has(process)) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill("SIGKILL");
    });
  }

  #onGone(process: Process, how: string): void {
    if (!this.#processes.delete(process)) return;
    const { job, isEnding } = process;
    process.job = undefined;
    if (!isEnding) this.#options.report("a query process ended", { how });
    if (job !== undefined) settle(job, this.#lost(how));
    if (!this.#isClosed) this.#next();
  }

  #lost(how: string): HeddleError {
    if (how === memorySignal) {
      return new HeddleError("QUERY_LIMIT", { limit: "bytes of memory", max: this.#options.memoryBytesMax });
    }
    return new HeddleError("SINK_UNAVAILABLE", { sink: "sqlite", message: `the query's process ended: ${how}` });
  }
}

function settle(waiting: Waiting, outcome: QueryFound | HeddleError): void {
  clearTimeout(waiting.timer);
  if (outcome instanceof HeddleError) waiting.reject(outcome);
  else waiting.resolve(outcome);
}

function closed(): HeddleError {
  return new HeddleError("CLOSED", { what: "the node" });
}
