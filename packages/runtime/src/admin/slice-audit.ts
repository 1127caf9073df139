// SliceAudit: what one slice of a shard is audited with, and what comes of it.
import type { CompiledContext } from "@heddle/domain/internal";
import type { TypeCount } from "@heddle/partition/internal";
import type { AuditProblem } from "./audit-problems.ts";
import type { SliceSagas } from "./audit-sagas.ts";
import type { Slice } from "./entity-slices.ts";

export interface AuditSliceOptions extends Slice {
  readonly data: string;
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  /** Problems that are told whole; all are counted. */
  readonly problemsMax: number;
  /** Event types are counted up to this position. */
  readonly countedTo: number;
}

/** Payloads of one event type that their schema does not take a second time. */
export interface RefusedPayloads {
  /** `Aggregate.Type`. */
  readonly name: string;
  readonly count: number;
  /** The first of them, as problems. */
  readonly problems: readonly AuditProblem[];
}

export interface SliceAudit {
  readonly entities: number;
  /** Pairs of entity and aggregate that have events. Heddle's own entities count in neither. */
  readonly aggregates: number;
  /** Entities whose last event is a tombstone. */
  readonly erased: number;
  /** Entities whose erasure has begun and not ended. */
  readonly pendingErasures: number;
  readonly entries: number;
  readonly events: number;
  readonly logBytes: number;
  /** Bytes after the last whole record: a group under way beside a running node, else a torn tail that a start cuts. */
  readonly tailBytes: number;
  /** `absent`: there is none, and the next start makes it from the log. */
  readonly partition: "compared" | "absent" | "unreadable";
  readonly problems: readonly AuditProblem[];
  readonly problemTotal: number;
  readonly refused: readonly RefusedPayloads[];
  readonly sagas: SliceSagas;
  /** Event types of which some stored payload fits its schema, as `Aggregate.Type`. */
  readonly taken: readonly string[];
  /** Of the events up to `countedTo`; undefined where erasures, or damage, leave nothing to compare them with. */
  readonly typeCounts: readonly TypeCount[] | undefined;
}
