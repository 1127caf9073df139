// What a refold of the log knows of one entity, and what the partition said of it.
import type { EntityHead, Extent, SnapshotRecord } from "@heddle/partition/internal";
import { noChain } from "./entity-chain.ts";
import type { RefoldedStates } from "./refold.ts";

export class RefoldedEntity implements RefoldedStates {
  readonly id: string;
  seq = 0;
  time = 0;
  readonly states: unknown[] = [];
  readonly broken: (string | undefined)[] = [];
  /** Over its entries so far; undefined behind an erased one, until the tombstone. */
  chain: string | undefined = noChain;
  /** Sequence of the last tombstone; 0 before any. */
  baseSeq = 0;
  /** Its log position. */
  basePosition = 0;
  /** Sequence and position of the first entry since the last tombstone that is erased, and of the first that is not. */
  firstErased: Place | undefined = undefined;
  firstWhole: Place | undefined = undefined;
  /** Append ids that callers gave, of entries that are not erased. */
  ids: Set<string> | undefined = undefined;
  /** What the partition has in the place of ids from before a tombstone. */
  erasedIds: Set<string> | undefined = undefined;
  expected: ExpectedEntity | undefined = undefined;

  constructor(id: string) {
    this.id = id;
  }
}

export interface Place {
  readonly seq: number;
  readonly position: number;
}

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
  /** Whether a check that differs was told: all that follow differ, too. */
  chainBroken: boolean;
}
