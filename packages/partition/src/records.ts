// Records: what a partition holds, as its callers see it.

export interface EntityHead {
  /** Sequence of the entity's last event. */
  readonly seq: number;
  /** Log position of the entry that holds it. */
  readonly position: number;
  /** Milliseconds since 1970 of that event. */
  readonly time: number;
  /** The hash chain after that entry: 32 latin1 characters, one for each byte; empty while nothing is chained. */
  readonly chain: string;
  /** Sequence of the entity's last tombstone; 0 if it was never erased. It is erased now when this equals `seq`. */
  readonly baseSeq: number;
  /** When the entity wants to be woken, in milliseconds since 1970; left out by nearly all. */
  readonly alarm?: number | undefined;
  /**
   * All extents of the entity, from its first event on, where the head itself holds them: for a short history that is not
   * likely to go on. Quads as in {@link CheckpointWriter.putEntity}. Whoever puts the entity again puts them again.
   */
  readonly inlineExtents?: Float64Array | undefined;
}

/** One log entry: events `firstSeq` to `firstSeq + count - 1` lie in the entry at this log position. */
export interface Extent {
  readonly firstSeq: number;
  readonly count: number;
  readonly position: number;
  /** The first four bytes of the hash chain after the entry, as a big-endian number. */
  readonly check: number;
}

export interface SnapshotRecord {
  readonly aggregate: string;
  /** Version of the fold that made the state; the reader discards those of another. */
  readonly foldVersion: number;
  /** Sequence of the entity up to which events are in the state. */
  readonly seq: number;
  /** Opaque to the partition. */
  readonly state: Uint8Array;
}

export interface SessionRecord {
  readonly session: number;
  readonly lastSeenMs: number;
  /** Alternating call number and log position. */
  readonly calls: Float64Array;
}

export interface AppendIdRecord {
  readonly entity: string;
  /** As the caller gave it, or the name that took its place when the entity was erased (`erasedIdName`). */
  readonly id: string;
  /** Log position of the entry that carried the id. */
  readonly position: number;
}

/** How many stored events of a type there are, by the schema version they were written with. */
export interface TypeCount {
  readonly aggregate: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly count: number;
}

/**
 * What is still to be done for an erased entity: its events to be taken out of the catalogue's counts, its payloads to be
 * overwritten in the log, or what LMDB's file has left of it to be scrubbed.
 */
export type ErasureStage = "count" | "log" | "scrub";

/** An erasure under way. */
export interface ErasureRecord {
  readonly entity: string;
  /** Sequence of the tombstone. */
  readonly seq: number;
  readonly stage: ErasureStage;
}

/** An entity that wants to be woken, and when: milliseconds since 1970. */
export interface AlarmRecord {
  readonly entity: string;
  readonly due: number;
}

export interface AlarmQuery {
  /** The part of the entity's id before its first slash. */
  readonly kind: string;
  /** Inclusive. Default 0. */
  readonly from?: number;
  /** Exclusive. Default: no end. */
  readonly to?: number;
  /** Only what comes behind this one. */
  readonly after?: AlarmRecord | undefined;
  readonly limit: number;
}

/** Says to `putEntity` that nobody knows which alarm the partition has of an entity: it is looked up, at the price of a read. */
export const alarmUnknown = -1;

/** A pending entry of a transaction: neither applied nor aborted as far as the log goes. */
export interface PendingRecord {
  readonly position: number;
  /** The shard that decides about the transaction, and its number there. */
  readonly coordinator: number;
  readonly number: number;
}

/** A transaction that was decided here, and of which the log does not say that all other shards have settled it. */
export interface DecidedRecord {
  readonly number: number;
  readonly shards: readonly number[];
}

/** Transactions over several shards that are open as of the covered position: by position, and by number. */
export interface OpenTransactions {
  readonly pending: readonly PendingRecord[];
  readonly decided: readonly DecidedRecord[];
}

/** From where on an entity's life counts: what lies below is forgotten. */
export interface Forgetting {
  /** Sequence of the tombstone. */
  readonly belowSeq: number;
  /** Log position of the tombstone. */
  readonly belowPosition: number;
}
