// Sink: where the rows of projections are kept. Three implementations: SQLite in a file, rqlite, MongoDB.
//
// A projection has one or two *generations* in a sink, each with rows and a state of its own: the one that is read under the
// projection's table or collection, and one that is being built anew beside it. A track is the only writer of a projection in a
// sink; a sink serves many tracks, whose calls may interleave.
//
// S1. `write` is whole: rows, deletes, position, what is held and what is known of sagas move together. After `write` has failed,
//     or its process died in it, the next `describe` finds all of it or nothing, with rows that belong to the state it gives: a
//     store without transactions finishes (or undoes) there what was begun.
// S2. A write is applied once: it names the revision before it, and who wrote it. One that finds its own revision written by
//     itself has been applied already (a reply was lost) and is done; any other is `SINK_REFUSED`, because somebody else writes.
// S3. Everything comes back as it was written: every character of a text (never NUL, never half of a surrogate pair), every
//     safe integer, every finite double but -0, JSON by its content. A value is never a reason to refuse a write.
// S4. `swap` is atomic for readers: before it they find the old rows, after it the new ones, never none and never both.
// S5. What was deleted is not read any more at once; after `scrub` its bytes are in no file of the store (P6).
// Not promised: that several projections are at the same position.
//
// Errors of every method: `SINK_UNAVAILABLE` when the same call may succeed later (away, no answer, locked); `SINK_REFUSED` when
// somebody has to do something first (credentials, a full disk, tables that are not ours). Nothing else is thrown for reasons
// that lie outside of the process.
import type { CompiledProjection, Row, RowKey } from "@heddle/domain/internal";

export type Awaitable<T> = T | Promise<T>;

/** One of a projection's generations. Numbers grow and are never used again. */
export interface GenerationRef {
  readonly projection: CompiledProjection;
  readonly generation: number;
}

/** What a sink keeps about a generation beside its rows. */
export interface GenerationState {
  readonly generation: number;
  /** Of the definition that made it: `CompiledProjection.version` and `.shape`. */
  readonly version: number;
  readonly shape: string;
  /** Number of writes so far: 0 when it is made. */
  readonly revision: number;
  /** By shard: everything below is in the rows, or held. */
  readonly positions: readonly number[];
  /** The track's own, as JSON. */
  readonly facts: string;
}

/** What a sink knows about a projection. */
export interface StoredProjection {
  readonly projection: string;
  /** The one that is read. */
  readonly live: GenerationState | undefined;
  /** The one that is being built beside it. */
  readonly next: GenerationState | undefined;
  /** The track's own, as JSON: what an operator asked for. Empty as long as nobody did. */
  readonly settings: string;
}

/** A row with where it came from. */
export interface SourcedRow {
  readonly row: Row;
  /** The one entity that ever wrote it; empty once a second one did. */
  readonly source: string;
}

/** What becomes of one row. Objects are the track's own, and may have further fields: a sink only reads them. */
export interface RowWrite {
  /** Tells rows of a projection apart: see `KeyedRow`. */
  readonly id: string;
  readonly key: RowKey;
  /** Null: it goes, if it is there. */
  readonly row: Row | null;
  /** As in {@link SourcedRow}. For a projection with `ownKey` it is the key. */
  readonly source: string;
}

/** An entity whose events are not folded at the moment: its application goes on at this place of the feed. */
export interface Held {
  readonly entity: string;
  /**
   * `error`: the event's function threw; it waits for an operator. `saga`: the event is a step of a saga that has not ended.
   * `retry`: it goes on by itself.
   */
  readonly reason: "error" | "saga" | "retry";
  readonly shard: number;
  /** Where to read from to find it: the position of a record. */
  readonly record: number;
  /** Position of the entry, and index of the event in it. */
  readonly position: number;
  readonly index: number;
  readonly seq: number;
  readonly aggregate: string;
  readonly type: string;
  /** For `saga`: its id. Empty otherwise. */
  readonly saga: string;
  /** For `error`: what was thrown, as a sentence. May hold parts of a payload: it goes with the entity. */
  readonly error: string;
  /** Since when, in milliseconds since 1970. */
  readonly since: number;
}

/** How a saga ended, kept as long as events of its steps may still be read. */
export interface SagaOutcome {
  readonly saga: string;
  /** `unknown`: its record was erased. */
  readonly outcome: "committed" | "compensated" | "unknown";
  /** By shard: behind this position no event of its steps can come. */
  readonly ends: readonly number[];
}

/** One write of a track. Within it no row, entity or saga comes twice. */
export interface SinkBatch {
  /** The one that this write makes: one more than the stored. */
  readonly revision: number;
  /** Tells this track from any other that ever wrote: random, made with the track. */
  readonly writer: string;
  readonly positions: readonly number[];
  readonly facts: string;
  /** Before the rows are written: those whose source is one of these entities go. */
  readonly erased: readonly string[];
  readonly rows: readonly RowWrite[];
  /** By entity: a record that takes the place of an earlier one, or null for none. */
  readonly held: ReadonlyMap<string, Held | null>;
  /** By saga. */
  readonly outcomes: ReadonlyMap<string, SagaOutcome | null>;
}

export interface SinkQuery {
  readonly sql: string;
  /** By place, or by name. */
  readonly params: readonly unknown[] | Readonly<Record<string, unknown>>;
  readonly rowsMax: number;
  readonly timeoutMs: number;
  /** A consistency level of the store's own, such as rqlite's `strong`. */
  readonly consistency?: string | undefined;
}

export interface SinkRows {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

export interface Sink {
  /** As people see it, and as it is named in errors and options: `sqlite`, or an address without user and password. */
  readonly name: string;
  readonly kind: "sqlite" | "rqlite" | "mongodb";
  /**
   * Gets ready: connects, makes the tables that it keeps its own facts in. May be called again after it failed; does nothing
   * when it is open.
   */
  open(): Awaitable<void>;
  /** Every projection that something is stored about, also those that no domain module has any more. */
  list(): Awaitable<readonly string[]>;
  /**
   * Undefined when there is nothing. To be called before anything else is done to a projection, and after a failed write (S1).
   * Only by who writes to the projection, or while nobody does: what it finds begun it finishes, as that of a process that is no
   * more.
   */
  describe(projection: string): Awaitable<StoredProjection | undefined>;
  /**
   * Makes an empty generation, with its indexes: the live one when there is none, else the next one. Done twice it begins anew.
   * `generation` is greater than all before.
   */
  create(ref: GenerationRef, state: GenerationState): Awaitable<void>;
  /** Makes the next generation the live one, and drops the live one (S4). */
  swap(ref: GenerationRef): Awaitable<void>;
  /** Drops the next generation, if there is one. */
  dropNext(projection: string): Awaitable<void>;
  /** Drops all of a projection, in whatever shape it is stored. */
  forget(projection: string): Awaitable<void>;
  settings(projection: string, settings: string): Awaitable<void>;
  /** Rows by their keys, in that order; undefined for those that are not there. As of the last write. */
  load(ref: GenerationRef, keys: readonly RowKey[]): Awaitable<readonly (SourcedRow | undefined)[]>;
  /** All that is held, and all outcomes: read once, when a track begins. */
  held(ref: GenerationRef): Awaitable<readonly Held[]>;
  outcomes(ref: GenerationRef): Awaitable<readonly SagaOutcome[]>;
  write(ref: GenerationRef, batch: SinkBatch): Awaitable<void>;
  /** Every row, in any order, a list at a time: for audits, tests, and comparisons. As of the last write if nobody writes. */
  rows(ref: GenerationRef): AsyncIterable<readonly SourcedRow[]>;
  /**
   * When it resolves, no byte of what was deleted before the call is in the store's files. May be called often.
   * Errors: `SINK_UNAVAILABLE` while something stands in the way, such as a reader that holds on to old pages.
   */
  scrub(): Awaitable<void>;
  /** SQL sinks that answer queries themselves. SQLite does not: see `SqliteSink.file`. */
  query?(query: SinkQuery): Promise<SinkRows>;
  /** Ends what is open. A write that is under way is awaited. */
  close(): Awaitable<void>;
}
