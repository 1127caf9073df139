// How late an event loop runs its timers, as Node's histogram sees it.
import type { monitorEventLoopDelay } from "node:perf_hooks";

export const delayResolutionMs = 10;

export interface DelayMs {
  readonly mean: number;
  readonly p99: number;
  readonly max: number;
}

/** The histogram counts from one sample to the next, so an idle loop shows the resolution itself: that is taken off. */
export function eventLoopDelay(histogram: ReturnType<typeof monitorEventLoopDelay>): DelayMs {
  const late = (nanoseconds: number) =>
    Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - delayResolutionMs) : 0;
  const delay = { mean: late(histogram.mean), p99: late(histogram.percentile(99)), max: late(histogram.max) };
  histogram.reset();
  return delay;
}
