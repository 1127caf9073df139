// What the client takes from outside, so that a test or a simulator can stand in its place.
import { type Clock, type Random, systemClock, systemRandom } from "@heddle/kernel";
import { connectAny } from "./connect.ts";
import type { Connect } from "./transport.ts";

export interface Timers {
  /** Calls back once after `delayMs`; the returned function calls it off. */
  after(delayMs: number, run: () => void): () => void;
  /** Calls back when this turn of the event loop and all that its promises started is done. */
  afterTurn(run: () => void): void;
}

export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: Timers;
  readonly connect: Connect;
}

export const systemTimers: Timers = {
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  // After the microtasks: callers that were just answered have made their next calls by then, through however many
  // awaits, and all of them go out in one write. A browser has no setImmediate.
  afterTurn: typeof setImmediate === "function" ? (run) => setImmediate(run) : (run) => setTimeout(run, 0),
};

export const systemPorts: Ports = {
  clock: systemClock,
  random: systemRandom,
  timers: systemTimers,
  connect: connectAny,
};
