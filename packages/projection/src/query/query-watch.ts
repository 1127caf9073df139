// The entry of a query process's watch, a thread: ends the process when a query takes too much memory, when nobody is left who asked
// for it, and when it goes on although its time is up. The thread that runs the query can do nothing: it is inside SQLite.
import { workerData } from "node:worker_threads";
import { memorySignal, type QueryWatchShared } from "./query-messages.ts";

const { parent, memoryBytesMax, running, deadline } = workerData as QueryWatchShared & {
  readonly parent: number;
  readonly memoryBytesMax: number;
};
/** Memory grows by some 100 MB in this time. */
const lookEveryMs = 50;

for (;;) {
  Atomics.wait(running, 0, 0);
  while (Atomics.load(running, 0) === 1) {
    Atomics.wait(running, 0, 1, lookEveryMs);
    if (process.memoryUsage.rss() > memoryBytesMax) process.kill(process.pid, memorySignal);
    const isLate = process.hrtime.bigint() > Atomics.load(deadline, 0);
    // The time of a query that has just begun is written before it is said to run.
    if (process.ppid !== parent || (isLate && Atomics.load(running, 0) === 1)) process.kill(process.pid, "SIGKILL");
  }
}
