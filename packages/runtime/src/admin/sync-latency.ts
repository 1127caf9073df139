// SyncLatency: how long one small durable write to a folder takes. It is what an append waits for, so it bounds them all.
import fs from "node:fs";
import path from "node:path";

export interface SyncLatency {
  readonly samples: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

/** The log's smallest write is a page of the disk's cache. */
const writeBytes = 4096;
const warmUpSamples = 5;

/**
 * Writes 4 KiB behind each other into a file of its own and syncs after each, as a log does for a lone caller. Takes
 * `samples` times the disk's latency; the file is removed. Errors: whatever the disk throws.
 */
export function measureSyncLatency(folder: string, samples: number): SyncLatency {
  const file = path.join(folder, `.sync-latency-${process.pid}`);
  const fd = fs.openSync(file, "w");
  try {
    const bytes = new Uint8Array(writeBytes).fill(0x5a);
    const tookUs: number[] = [];
    for (let i = 0; i < samples + warmUpSamples; i++) {
      const startedAt = performance.now();
      fs.writeSync(fd, bytes, 0, writeBytes, i * writeBytes);
      fs.fdatasyncSync(fd);
      if (i >= warmUpSamples) tookUs.push((performance.now() - startedAt) * 1000);
    }
    return { samples, ...percentiles(tookUs) };
  } finally {
    fs.closeSync(fd);
    fs.rmSync(file, { force: true });
  }
}

/** Nearest rank: the smallest sample that at least so many per cent do not exceed. Whole microseconds. */
export function percentiles(samplesUs: readonly number[]): { p50Us: number; p99Us: number; maxUs: number } {
  const sorted = samplesUs.toSorted((a, b) => a - b);
  const rank = (percent: number) =>
    Math.round(sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? 0);
  return { p50Us: rank(50), p99Us: rank(99), maxUs: rank(100) };
}
