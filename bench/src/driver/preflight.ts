// Preflight: whether the disk below the data folder can take synced writes at a rate at which anything can be measured.
import fs from "node:fs";
import path from "node:path";

export interface Preflight {
  readonly writes: number;
  readonly bytesPerWrite: number;
  readonly medianUs: number;
  readonly p99Us: number;
  readonly thresholdUs: number;
  /** Whether the median is within the threshold. */
  readonly passed: boolean;
}

/** As `heddle doctor`: a disk that is slower than this is refused unless the user insists. */
export const syncThresholdUs = 5_000;

const writes = 200;
const bytesPerWrite = 4_096;
/** A slow disk need not be asked 200 times. */
const timeMaxMs = 3_000;

/** Appends small blocks to a file in the folder, each followed by fdatasync, and removes the file. */
export function measureSyncLatency(folder: string): Preflight {
  const file = path.join(folder, `preflight-${process.pid}`);
  const descriptor = fs.openSync(file, "wx");
  const block = Buffer.alloc(bytesPerWrite, 1);
  const tookUs: number[] = [];
  try {
    const startedAt = performance.now();
    while (tookUs.length < writes && performance.now() - startedAt < timeMaxMs) {
      const before = performance.now();
      fs.writeSync(descriptor, block);
      fs.fdatasyncSync(descriptor);
      tookUs.push((performance.now() - before) * 1000);
    }
  } finally {
    fs.closeSync(descriptor);
    fs.unlinkSync(file);
  }
  return summarise(tookUs);
}

export function summarise(tookUs: readonly number[]): Preflight {
  const sorted = tookUs.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!);
  const medianUs = at(0.5);
  return {
    writes: sorted.length,
    bytesPerWrite,
    medianUs,
    p99Us: at(0.99),
    thresholdUs: syncThresholdUs,
    passed: medianUs <= syncThresholdUs,
  };
}
