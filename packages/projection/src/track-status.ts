// TrackStatus: what can be told about a projection in a sink, as plain data.

/**
 * `starting`     it asks its sink what is there.
 * `live`         its rows follow the log.
 * `rebuilding`   it is built anew; with `table` readable, as it was, or as it comes.
 * `paused`       an operator said so.
 * `waiting`      for its sink, or for a source that fails; it goes on by itself.
 * `stopped`      somebody has to do something; `problem` says what.
 */
export type TrackState = "starting" | "live" | "rebuilding" | "paused" | "waiting" | "stopped";

export interface TrackProblem {
  readonly code: string;
  readonly message: string;
  readonly facts: unknown;
}

/** An entity whose events wait for an operator. */
export interface SetAside {
  readonly entity: string;
  readonly aggregate: string;
  readonly type: string;
  readonly seq: number;
  readonly shard: number;
  readonly position: number;
  readonly error: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface RebuildStatus {
  /** Why, as a sentence. */
  readonly reason: string;
  /** Bytes of log that are read, and to be read. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly events: number;
  readonly eventsPerSecond: number;
  /** An estimate; undefined until there is one. */
  readonly secondsLeft: number | undefined;
}

export interface TrackStatus {
  readonly projection: string;
  readonly sink: string;
  readonly table: string;
  readonly state: TrackState;
  readonly problem: TrackProblem | undefined;
  /** Of the definition that its rows were made by; 0 when there are none. */
  readonly version: number;
  readonly generation: number;
  /** By shard. */
  readonly positions: readonly number[];
  readonly lagBytes: number;
  /** How old its rows are, at most. 0 when it has all. */
  readonly lagMs: number;
  /** Since the rows were begun. */
  readonly events: number;
  readonly eventsPerSecond: number;
  /** Entities. */
  readonly setAside: number;
  /** The first of them. */
  readonly setAsideFirst: readonly SetAside[];
  /** Entities that wait for the end of a saga. */
  readonly waitingForSagas: number;
  readonly rebuild: RebuildStatus | undefined;
}
