// What a simulation is made of, and what comes of it.
import type { Heddle, HeddleOptions } from "@heddle/client";
import type { AnyContext } from "@heddle/domain";
import type { Survival } from "../simulated-disk.ts";
import type { Faults } from "./faults.ts";

/** What a workload and a check are given. */
export interface SimulatedWorld<C extends AnyContext = AnyContext> {
  /** A client of the node, with a connection and sessions of its own. Its options are those of the SDK. */
  client(options?: HeddleOptions): Heddle<C>;
  /** A whole number from 0, below the bound; the only randomness that a workload may use. */
  below(bound: number): number;
  /** Waits for simulated milliseconds. No other timer passes in a simulation. */
  sleep(ms: number): Promise<void>;
  /** Milliseconds since 1970, as the node's clock shows them; faults may set it forth or back. */
  now(): number;
  /** Whenever a fault has set the node's clock back: what it showed before and after, in milliseconds since 1970. */
  setBacks(): readonly { readonly from: number; readonly to: number }[];
  /** Cuts the node's power, now; resolves when it is back and every shard is open. Of what was not synced the disks keep … */
  crash(survival?: Survival): Promise<void>;
  /** Writes a line into the trace. */
  note(text: string): void;
  /** Reports what must not be. The simulation goes on; its result is not ok. */
  violation(text: string): void;
}

export interface SimulateOptions<C extends AnyContext = AnyContext> {
  readonly context: C;
  readonly seed: number;
  /**
   * What clients do. Anything that waits for something else than the world or its clients (a timer, a file) has no place here:
   * the simulation would not wait for it. What it throws is a violation.
   */
  readonly workload: (world: SimulatedWorld<C>) => Promise<void>;
  /** Looks at what there is once all faults are over. What it throws is a violation. */
  readonly check?: (world: SimulatedWorld<C>) => Promise<void>;
  /** What goes wrong, and nothing else. Default: drawn from the seed. */
  readonly faults?: Partial<Faults>;
  /** Default 4. */
  readonly shards?: number;
  /** Default 2. */
  readonly threads?: number;
}

export interface SimulationResult {
  readonly ok: boolean;
  readonly seed: number;
  readonly violations: readonly string[];
  /** One line for each event. */
  readonly trace: readonly string[];
  /** SHA-256 of the trace. */
  readonly traceHash: string;
  /** Milliseconds that passed in the simulation. */
  readonly simulatedMs: number;
  readonly counts: SimulationCounts;
}

export interface SimulationCounts {
  readonly events: number;
  readonly crashes: number;
  readonly lostThreads: number;
}
