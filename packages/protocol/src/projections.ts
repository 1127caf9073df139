// What is said about queries and projections.

/** What a query's parameter may be. `true` is 1 and `false` is 0, as columns of this type are stored. */
export type QueryParameter = string | number | bigint | boolean | null | Uint8Array;

/** In order for `?`; by name, without its sign, for `:name`. */
export type QueryParameters = readonly QueryParameter[] | Readonly<Record<string, QueryParameter>>;

/** A cell of a query's answer. Integers beyond 2^53 come as big integers. */
export type QueryValue = string | number | bigint | null | Uint8Array;

export type QueryRow = Readonly<Record<string, QueryValue>>;

export interface QueryResult<R = QueryRow> {
  /** Names in the order of the SELECT. */
  readonly columns: readonly string[];
  readonly rows: readonly R[];
}

/** A place in a shard's log, as receipts carry it. */
export interface LogPlace {
  readonly shard: number;
  readonly position: number;
}

/** How sure rqlite has to be that it answers from what was committed last; see its documentation of read consistency. */
export type QueryConsistency = "none" | "weak" | "linearizable" | "strong" | "auto";

/**
 * `starting`: it asks its sink what is there. `live`: it follows the log. `rebuilding`: a new one is being made beside it, whose rows nobody sees before it has caught up; the
 * old rows are read meanwhile. `paused`: by an operator. `waiting`: its sink is away, and it tries again by itself. `stopped`: it
 * needs somebody, see `problem`.
 */
export type ProjectionState = "starting" | "live" | "rebuilding" | "paused" | "waiting" | "stopped";

/** A projection in one sink, as an operator sees it. */
export interface ListedProjection {
  readonly projection: string;
  readonly sink: string;
  /** The table or collection that users read. */
  readonly table: string;
  /** Of the definition that its rows were made by; 0 when there are none. */
  readonly version: number;
  readonly state: ProjectionState;
  /** Why it is not live. */
  readonly problem?: string;
  /** How far it is, by shard: positions in the log, and where the log ends. */
  readonly shards: readonly (LogPlace & { readonly end: number })[];
  /** Of log that it has not seen. */
  readonly lagBytes: number;
  /** How old the oldest event is that it may not have seen; 0 when it has seen all. */
  readonly lagMs: number;
  /** Events folded since its rows were begun. */
  readonly events: number;
  readonly eventsPerSecond: number;
  /** Entities whose events wait because one of them failed. */
  readonly setAside: number;
  /** The first of them. */
  readonly failures: readonly ProjectionFailure[];
  /** Entities whose events wait for the end of a saga. */
  readonly waitingForSagas: number;
  /** Of the rows that are read: greater after each rebuild. */
  readonly generation: number;
  readonly rebuild?: ProjectionRebuild;
}

/** An event whose function threw, or made a row that its columns do not take. */
export interface ProjectionFailure {
  readonly entity: string;
  readonly seq: number;
  readonly aggregate: string;
  readonly type: string;
  readonly message: string;
  /** When it was set aside, in milliseconds since 1970. */
  readonly time: number;
}

/** How far a rebuild is. */
export interface ProjectionRebuild {
  readonly reason: string;
  /** Bytes of log. */
  readonly done: number;
  readonly total: number;
  readonly events: number;
  readonly eventsPerSecond: number;
}

/** What an operation was done to. */
export interface ProjectionRebuilt {
  readonly projection: string;
  readonly sink: string;
  /** Of the rows that are read; after a rebuild at least this. */
  readonly generation: number;
}
