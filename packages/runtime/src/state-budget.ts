// State budget: what active entities may take in memory, where nobody says it, and how much of that may live.
import os from "node:os";

/** Of the machine's memory, or of the container's: there are caches of the system beside it, and other programs. */
const share = 1 / 8;
const bytesMin = 64 << 20;
/** Beyond it the collector's pauses grow, and few have so much that is in use at a time. */
const bytesMax = 1 << 30;

/**
 * Bytes of heap for each that lives in it, with what the collector has not come to (see shard-thread.ts): measured over two
 * million entities, appends and reads at random.
 */
const heapPerLiveByte = 1.8;

export function defaultStateBytes(memoryBytes: number = memoryOfMachine()): number {
  return Math.min(bytesMax, Math.max(bytesMin, Math.floor(share * memoryBytes)));
}

/** What may live in the heap, so that it takes no more than `bytes` together with what the collector has not come to. */
export function liveBytesOf(bytes: number): number {
  return bytes / heapPerLiveByte;
}

/** Below this the engine's own choice does as well. */
const firstMarkingBytesMin = 64 << 20;

/**
 * How large a shard thread's heap gets before the collector looks through all of it for the first time: half of what it may take for
 * its entities. Left to itself V8 begins with little, and on the way there marks what lives five times over, on cores that have
 * other work: reminders of 200,000 entities took 1.2 times as long.
 */
export function firstMarkingBytesOf(liveBytes: number): number | undefined {
  const bytes = Math.floor((heapPerLiveByte * liveBytes) / 2);
  return bytes < firstMarkingBytesMin ? undefined : bytes;
}

function memoryOfMachine(): number {
  // 0 where the system does not tell, and more than there is where nothing is constrained.
  const container = process.constrainedMemory();
  return container > 0 ? Math.min(container, os.totalmem()) : os.totalmem();
}
