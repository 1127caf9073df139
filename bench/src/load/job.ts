// What the driver tells a client process, and what it hears from it. Both cross as JSON.
import type { Sample } from "../statistics/trend.ts";
import type { LoadShape } from "./load.ts";
import type { Measurement } from "./meter.ts";

export interface LoadJob {
  readonly kind: "load";
  readonly target: "heddle" | "http" | "floor";
  readonly port: number;
  readonly connections: number;
  readonly shape: LoadShape;
  readonly warmupSeconds: number;
  /** How long to measure … */
  readonly seconds: number;
  /** … or how many events to write, whichever is reached first. */
  readonly eventsMax?: number;
  readonly sampleSeconds: number;
  /** Afterwards, calls at a rate, or at this share of the one that was measured, whether or not the node keeps up. */
  readonly openLoop?: ({ readonly share: number } | { readonly callsPerSecond: number }) & { readonly seconds: number };
  /** Where the book goes; one that is there already is gone on with, and then the accounts are open. */
  readonly bookFile: string;
}

/** Reads every account and compares it with the book. */
export interface CheckJob {
  readonly kind: "check";
  readonly target: "heddle";
  readonly port: number;
  readonly connections: number;
  readonly bookFile: string;
}

export type ClientJob = LoadJob | CheckJob;

export interface OpenLoopMeasurement extends Measurement {
  /** Calls a second that fell due. */
  readonly offeredPerSecond: number;
}

export type ClientMessage =
  | { readonly kind: "measuring" }
  | { readonly kind: "progress"; readonly phase: string; readonly events: number; readonly sample?: Sample }
  | { readonly kind: "measured"; readonly measurement: Measurement; readonly cpuMs: number; readonly rssBytes: number }
  | { readonly kind: "done"; readonly openLoop?: OpenLoopMeasurement; readonly givenUp: boolean }
  | { readonly kind: "checked"; readonly accounts: number; readonly differing: readonly string[] };

/** The one order that a client takes: book what is under way as unknown, and end. */
export interface AbandonOrder {
  readonly kind: "abandon";
}
