// Receipt: what a write gives back.

/** What an accepted append or command gives back: the events are durable. */
export interface Receipt {
  readonly ok: true;
  /** Sequence of the entity's last event after this append. */
  readonly seq: number;
  /** Sequence of the first event of this append. */
  readonly firstSeq: number;
  /** Events written. */
  readonly count: number;
  readonly shard: number;
  /** Place in that shard's log; later appends of the shard have greater ones. */
  readonly position: number;
  /** Milliseconds since 1970, never falling within one entity. */
  readonly time: number;
  /** True when this id had taken effect before: nothing was written now, this is the first receipt. */
  readonly duplicate: boolean;
}
