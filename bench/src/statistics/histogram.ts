// LatencyHistogram: every sample of a run, in memory that is allocated before the run.
//
// Resolution: 1 µs below 256 µs, 1/128 of the value (0.8 %) above. A percentile is the upper edge of its bucket, so it is
// never shown better than it was; the greatest sample is kept as it is.
// Not promised: anything beyond 2^36 µs (19 hours), which is counted as that.

/** Buckets for each power of two. */
const stepsPerOctave = 128;
const stepBits = 7;
const octaves = 29;
const usMax = 2 ** (stepBits + octaves) - 1;

export const histogramResolution = "1 µs below 256 µs, 0.8 % above; upper edge of the bucket";

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export class LatencyHistogram {
  readonly #counts = new Uint32Array(stepsPerOctave * (octaves + 1));
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  record(ms: number): void {
    const us = Math.min(Math.max(Math.ceil(ms * 1000), 0), usMax);
    this.#counts[bucketOf(us)]!++;
    this.#count++;
    this.#sumMs += ms;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The latency that a share of the samples did not exceed: 0.99 for p99. 0 when there is no sample. */
  percentileMs(share: number): number {
    if (this.#count === 0) return 0;
    const wanted = Math.max(1, Math.ceil(this.#count * share));
    let seen = 0;
    let bucket = 0;
    for (; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= wanted) break;
    }
    return Math.min(upperEdgeUs(bucket) / 1000, this.#maxMs);
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      meanMs: rounded(this.#count === 0 ? 0 : this.#sumMs / this.#count),
      p50Ms: rounded(this.percentileMs(0.5)),
      p90Ms: rounded(this.percentileMs(0.9)),
      p99Ms: rounded(this.percentileMs(0.99)),
      p999Ms: rounded(this.percentileMs(0.999)),
      maxMs: rounded(this.#maxMs),
    };
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#sumMs = 0;
    this.#maxMs = 0;
  }
}

// Values below 2^8 have a bucket each; the octave from 2^(7+s) on is cut into 128 steps of 2^s.
function bucketOf(us: number): number {
  if (us < 2 * stepsPerOctave) return us;
  const shift = Math.floor(Math.log2(us)) - stepBits;
  return shift * stepsPerOctave + Math.floor(us / 2 ** shift);
}

function upperEdgeUs(bucket: number): number {
  if (bucket < 2 * stepsPerOctave) return bucket;
  const shift = Math.floor(bucket / stepsPerOctave) - 1;
  const step = bucket - shift * stepsPerOctave;
  return (step + 1) * 2 ** shift - 1;
}

function rounded(ms: number): number {
  return Number(ms.toFixed(3));
}
