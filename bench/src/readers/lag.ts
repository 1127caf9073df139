// LagSampler: how far a projection is behind, asked of the node every now and then while it is under load.
import { Heddle } from "@heddle/client";
import { LatencyHistogram, type LatencySummary } from "../statistics/histogram.ts";

export interface LagReport {
  /** How old the oldest event was that rows did not show yet, at each sample. */
  readonly lag: LatencySummary;
  /** Events that came into rows in a second, over the last two thirds of the load. */
  readonly projectedPerSecond: number;
  /** From the end of the load to rows that show all of it. */
  readonly drainedMs: number;
}

const sampleMs = 50;
/** Rows that do not show all after so long will not. */
const drainMsMax = 120_000;

export class LagSampler {
  readonly #db: Heddle;
  readonly #projection: string;
  readonly #histogram = new LatencyHistogram();
  readonly #samples: { readonly atMs: number; readonly events: number }[] = [];
  readonly #ending = new AbortController();
  readonly #sampling: Promise<void>;

  constructor(port: number, projection: string) {
    this.#db = new Heddle({ host: "127.0.0.1", port, connections: 1 });
    this.#projection = projection;
    this.#sampling = this.#sample();
  }

  /** The load is over: waits until nothing is behind any more. Errors: when that takes too long. */
  async drained(): Promise<LagReport> {
    this.#ending.abort();
    await this.#sampling;
    const from = performance.now();
    try {
      await waitUntilSeen(this.#db, this.#projection);
    } finally {
      await this.#db.close();
    }
    const drainedMs = Math.round(performance.now() - from);
    return { lag: this.#histogram.summary(), projectedPerSecond: this.#rate(), drainedMs };
  }

  // What comes first is the opening of the accounts.
  #rate(): number {
    const last = this.#samples.at(-1)!;
    const first = this.#samples[Math.floor(this.#samples.length / 3)]!;
    return Math.round((1000 * (last.events - first.events)) / Math.max(1, last.atMs - first.atMs));
  }

  async #sample(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const { lagMs, events } = await listed(this.#db, this.#projection);
      this.#histogram.record(lagMs);
      this.#samples.push({ atMs: performance.now(), events });
      await pause(sampleMs);
    }
  }
}

/** Resolves when rows show all that is in the log. */
export async function waitUntilSeen(db: Heddle, projection: string): Promise<void> {
  const until = performance.now() + drainMsMax;
  for (;;) {
    const { state, problem, lagBytes } = await listed(db, projection);
    if (state === "live" && lagBytes === 0) return;
    if (performance.now() > until) throw new Error(`${projection} is ${state}, ${lagBytes} bytes behind: ${problem}`);
    await pause(5);
  }
}

async function listed(db: Heddle, projection: string) {
  const found = (await db.projections()).find((listed) => listed.projection === projection);
  if (found === undefined) throw new Error(`the node has no projection ${projection}`);
  return found;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
