// Faults: what a simulation does to a node while it works, drawn from the seed.
import type { Chance } from "./chance.ts";

/**
 * How often what goes wrong. Rates are events in a simulated second; probabilities lie between 0 and 1.
 */
export interface Faults {
  /** Power cuts of the whole node; of what was not synced the disks keep nothing, everything, or torn pieces. */
  readonly crashes: number;
  /** Shard threads that are lost and come back. */
  readonly lostThreads: number;
  /** Connections that break. */
  readonly brokenConnections: number;
  /** Of the node's wall clock: up to a minute forth or back. */
  readonly clockJumps: number;
  /** Times when a disk has no room for a while. */
  readonly fullDisks: number;
  /** Checkpoints that find the disk full. */
  readonly failedCheckpoints: number;
  /** Checkpoints out of turn. */
  readonly checkpoints: number;
  /** Probability, each time that a transaction, a saga or a reminder passes a crash point, that its thread or the node dies. */
  readonly crashesAtPoints: number;
  /** Probability that a sync fails. */
  readonly failedSyncs: number;
  /** Probability that a sync takes up to 300 ms instead of up to 2 ms. */
  readonly slowSyncs: number;
  /** Probability that a message takes up to 200 ms instead of up to 1 ms. */
  readonly delayedMessages: number;
}

export const noFaults: Faults = {
  crashes: 0,
  lostThreads: 0,
  brokenConnections: 0,
  clockJumps: 0,
  fullDisks: 0,
  failedCheckpoints: 0,
  checkpoints: 0,
  crashesAtPoints: 0,
  failedSyncs: 0,
  slowSyncs: 0,
  delayedMessages: 0,
};

export const defaultFaults: Faults = {
  crashes: 1,
  lostThreads: 2,
  brokenConnections: 2,
  clockJumps: 0.5,
  fullDisks: 0.5,
  failedCheckpoints: 0.5,
  checkpoints: 4,
  crashesAtPoints: 0.01,
  failedSyncs: 0.002,
  slowSyncs: 0.01,
  delayedMessages: 0.005,
};

/**
 * Faults by the seed: each kind is there or not, seldom or often. A run in which little goes wrong finds what another hides: an
 * answer that is lost is asked for again as soon as something else breaks.
 */
export function drawFaults(chance: Chance): Faults {
  const drawn = Object.entries(defaultFaults).map(([kind, rate]) => [
    kind,
    chance.happens(0.5) ? 0 : chance.pick([rate / 2, rate, rate * 2]),
  ]);
  return Object.fromEntries(drawn) as unknown as Faults;
}

/** Milliseconds until the next of something that happens so many times a second; Infinity for never. */
export function nextAfterMs(chance: Chance, rate: number): number {
  if (rate <= 0) return Infinity;
  // Evenly from nothing to twice the mean: no logarithm, whose last digits differ from machine to machine.
  return (chance.below(2_000_000) / 1_000_000) * (1_000 / rate);
}
