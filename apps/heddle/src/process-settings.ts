// What a process is best started with when a node runs in it. Node reads both before anything of a program's own runs, so `startNode`
// cannot set them: the launcher of `heddle serve` does, and the benchmark, for the nodes that it starts.
import os from "node:os";

/** `UV_THREADPOOL_SIZE`: one pool of threads serves the syncs of every log and the commits of every partition. */
export function threadPoolSize(cores = os.availableParallelism()): number {
  return Math.max(16, 4 * cores);
}

const helpersFlag = "--v8-pool-size";
const defaultHelpers = 4;

/**
 * Flags for Node; none where it does as well without. The engine has four helpers to collect and compile, on however few cores; there
 * they stand in the way of shard threads and of syncs (docs/decisions/0023-few-cores-few-helpers.md).
 */
export function engineFlags(cores = os.availableParallelism()): string[] {
  return cores > defaultHelpers ? [] : [`${helpersFlag}=${Math.max(1, cores - 1)}`];
}

/** Whether somebody has said how many helpers there are to be. */
export function hasEngineFlags(args: readonly string[], nodeOptions = ""): boolean {
  return [...args, ...nodeOptions.split(" ")].some((arg) => arg.replaceAll("_", "-").startsWith(helpersFlag));
}
