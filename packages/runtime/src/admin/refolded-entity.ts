// What a refold of the log knows of one entity, and what the partition said of it.
import type { EntityHead, Extent, SnapshotRecord } from "@heddle/partition/internal";

export class RefoldedEntity {
  seq = 0;
  time = 0;
  /** By aggregate index; `unfoldable` after a fold has failed, no entry for an aggregate without events. */
  readonly states: unknown[] = [];
  /** The rule that each aggregate broke last, so that one that stays broken is told once. */
  readonly broken: (string | undefined)[] = [];
  /** Append ids that callers gave. */
  ids: Set<string> | undefined;
  expected: ExpectedEntity | undefined;
}

/** Stands for a state that is not known, because a fold failed. */
export const unfoldable = Symbol("unfoldable");

/** What the partition says of one entity. */
export interface ExpectedEntity {
  readonly head: EntityHead | undefined;
  /** Undefined once they are at their end, or known to be wrong. */
  extents: Iterator<Extent> | undefined;
  /** Of the present fold, those that the refold has not come to yet. */
  snapshots: readonly SnapshotRecord[];
  /** Whether the refold has come to the head's sequence. */
  headMet: boolean;
  /** Last sequence that the covered position reaches. */
  coveredSeq: number;
}
