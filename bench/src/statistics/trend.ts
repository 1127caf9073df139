// Trend: whether a run was as fast at its end as at its start.

/** What a run did in one interval. */
export interface Sample {
  /** End of the interval, in seconds since the measurement began. */
  readonly atS: number;
  readonly seconds: number;
  readonly events: number;
  readonly eventsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Trend {
  /** The window at either end, in seconds: a minute in a run of three minutes and more, else a third of the run. */
  readonly windowS: number;
  readonly firstEventsPerSecond: number;
  readonly lastEventsPerSecond: number;
  /** Last over first: below 1 the run got slower. */
  readonly ratio: number;
  /** Of the rates of all samples: standard deviation over mean. */
  readonly deviation: number;
}

/** The longest interval between two samples, in seconds. */
export const sampleSecondsMax = 15;

/** How often a run of a length is sampled: ten times, between once a second and every 15 seconds. */
export function sampleSecondsFor(seconds: number): number {
  return Math.min(sampleSecondsMax, Math.max(1, Math.round(seconds / 10)));
}

/** Undefined for fewer than three samples: there is no first and last to compare then. */
export function trendOf(samples: readonly Sample[]): Trend | undefined {
  const total = samples.reduce((sum, sample) => sum + sample.seconds, 0);
  if (samples.length < 3) return undefined;
  const windowS = Math.min(60, total / 3);
  const first = rateWithin(samples, windowS);
  const last = rateWithin(samples.toReversed(), windowS);
  const rates = samples.map((sample) => sample.eventsPerSecond);
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
  return {
    windowS: Number(windowS.toFixed(1)),
    firstEventsPerSecond: Math.round(first),
    lastEventsPerSecond: Math.round(last),
    ratio: first === 0 ? 0 : Number((last / first).toFixed(3)),
    deviation: mean === 0 ? 0 : Number((Math.sqrt(variance) / mean).toFixed(3)),
  };
}

// Whole samples until the window is filled; at least one.
function rateWithin(samples: readonly Sample[], windowS: number): number {
  let seconds = 0;
  let events = 0;
  for (const sample of samples) {
    if (seconds > 0 && seconds + sample.seconds > windowS * 1.01) break;
    seconds += sample.seconds;
    events += sample.events;
  }
  return seconds === 0 ? 0 : events / seconds;
}
