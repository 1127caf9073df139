// ShardPool: runs stateless jobs, one for each shard or slice of one, on a pool of threads, and tells how far they are.
//
// Jobs are CPU work that reads a whole log: on the caller's thread they would stop a node, or a progress bar.
// Errors cross as data, because a class dies on the way between threads.
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { fromWireError, type WireError } from "@heddle/kernel/internal";
// Loads the native library on this thread too: Node would unload it when the last thread of the pool that has it ends.
import "@heddle/partition/internal";
import { Piscina } from "piscina";

/** Bytes of log, over all jobs. */
export interface AdminProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** What every job is given besides its own options. */
export interface PoolJob {
  /** One counter for each job, of bytes done; a job moves only that of its own slot. */
  readonly progress: BigInt64Array;
  readonly slot: number;
}

/** Jobs that run at a time. */
export function poolThreads(): number {
  return os.availableParallelism();
}

export type JobOutcome<R> =
  | { readonly ok: true; readonly result: R }
  | { readonly ok: false; readonly error: WireError };

const progressIntervalMs = 100;

/**
 * Runs a job of shard-jobs.ts for each of the options and gives the results in the same order.
 * Errors: the first job's that failed, once all have ended.
 */
export async function runOnPool<Options, R>(
  name: "audit" | "auditProjection" | "rebuild" | "rehearse" | "backUp" | "restore" | "verifyBackup",
  jobs: readonly Options[],
  totalBytes: number,
  onProgress: ((progress: AdminProgress) => void) | undefined,
): Promise<R[]> {
  const progress = new BigInt64Array(new SharedArrayBuffer(8 * Math.max(1, jobs.length)));
  const tell = () => {
    let done = 0n;
    for (let i = 0; i < progress.length; i++) done += Atomics.load(progress, i);
    onProgress?.({ doneBytes: Math.min(Number(done), totalBytes), totalBytes });
  };
  const threads = Math.max(1, Math.min(jobs.length, poolThreads()));
  const pool = new Piscina<Options & PoolJob, JobOutcome<R>>({
    filename: fileURLToPath(new URL(`./shard-jobs${ownExtension()}`, import.meta.url)),
    minThreads: threads,
    maxThreads: threads,
    // The default puts idle threads to sleep in a way that stops their timers and LMDB's completions.
    atomics: "disabled",
    recordTiming: false,
  });
  const ticker = setInterval(tell, progressIntervalMs);
  try {
    const running = jobs.map((job, slot) => pool.run({ ...job, slot, progress }, { name }));
    // All of them, even after a failure: a thread must not end while it has a partition open.
    const outcomes = await Promise.allSettled(running);
    tell();
    return outcomes.map((outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      if (!outcome.value.ok) throw fromWireError(outcome.value.error);
      return outcome.value.result;
    });
  } finally {
    clearInterval(ticker);
    await pool.close();
  }
}

/** The sources run as .ts, the published build as .js. */
function ownExtension(): string {
  return path.extname(fileURLToPath(import.meta.url));
}
