// Meter: counts what callers do, from the warm-up to the end of the measurement.
//
// M1. Only calls that end while the meter measures are counted, each with its whole latency.
// M2. Recording allocates nothing.
import { LatencyHistogram, type LatencySummary } from "../statistics/histogram.ts";
import type { Sample } from "../statistics/trend.ts";

export interface Measurement {
  readonly seconds: number;
  readonly calls: number;
  readonly events: number;
  readonly eventsPerSecond: number;
  readonly callsPerSecond: number;
  readonly latency: LatencySummary;
  readonly samples: readonly Sample[];
}

export class Meter {
  readonly #now: () => number;
  readonly #all = new LatencyHistogram();
  readonly #interval = new LatencyHistogram();
  readonly #samples: Sample[] = [];
  #measuring = false;
  #startedAt = 0;
  #endedAt = 0;
  #sampledAt = 0;
  #events = 0;
  #intervalEvents = 0;
  /** Events of calls that ended at any time, measured or not: for progress and for runs that end by a count. */
  totalEvents = 0;

  /** `now` in milliseconds, never going backwards. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get measuring(): boolean {
    return this.#measuring;
  }

  start(): void {
    this.#measuring = true;
    this.#startedAt = this.#now();
    this.#sampledAt = this.#startedAt;
  }

  call(latencyMs: number, events: number): void {
    this.totalEvents += events;
    if (!this.#measuring) return;
    this.#events += events;
    this.#intervalEvents += events;
    this.#all.record(latencyMs);
    this.#interval.record(latencyMs);
  }

  /** Ends an interval and tells what was done in it. */
  sample(): Sample {
    const now = this.#now();
    const seconds = (now - this.#sampledAt) / 1000;
    const { p50Ms, p99Ms, maxMs } = this.#interval.summary();
    const sample: Sample = {
      atS: Number(((now - this.#startedAt) / 1000).toFixed(2)),
      seconds,
      events: this.#intervalEvents,
      eventsPerSecond: seconds === 0 ? 0 : Math.round(this.#intervalEvents / seconds),
      p50Ms,
      p99Ms,
      maxMs,
    };
    this.#samples.push(sample);
    this.#sampledAt = now;
    this.#intervalEvents = 0;
    this.#interval.clear();
    return sample;
  }

  /** Ends the measurement; what is left of an interval becomes a last sample if it is more than half a one. */
  stop(sampleSeconds: number): void {
    this.#endedAt = this.#now();
    if (this.#endedAt - this.#sampledAt > sampleSeconds * 500) this.sample();
    this.#measuring = false;
  }

  measurement(): Measurement {
    const seconds = (this.#endedAt - this.#startedAt) / 1000;
    const calls = this.#all.count;
    return {
      seconds: Number(seconds.toFixed(3)),
      calls,
      events: this.#events,
      eventsPerSecond: seconds === 0 ? 0 : Math.round(this.#events / seconds),
      callsPerSecond: seconds === 0 ? 0 : Math.round(calls / seconds),
      latency: this.#all.summary(),
      samples: this.#samples,
    };
  }
}
