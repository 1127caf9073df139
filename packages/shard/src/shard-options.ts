// ShardOptions: what a shard is opened with, and the bounds that it keeps.
import type { CompiledContext } from "@heddle/domain/internal";
import type { Disk, Durability } from "@heddle/event-log/internal";
import type { Clock, HeddleError, Random } from "@heddle/kernel";
import type { Partition } from "@heddle/partition/internal";
import type { AlarmSource } from "./alarm-source.ts";
import type { Frame } from "./frame.ts";
import type { ShardCalls } from "./shard-calls.ts";
import type { ShardState } from "./stats.ts";
import type { ReplySink } from "./waiting-replies.ts";

export interface ShardLimits {
  /** A group is closed at this many bytes; what comes while the one before is not durable waits in the mailbox. */
  readonly groupBytesMax: number;
  /** How long a group may wait for company, in ms. 0: it goes as soon as the disk is free. */
  readonly lingerMs: number;
  /** A checkpoint begins after this many bytes of log … */
  readonly checkpointBytes: number;
  /** … or after this many ms, if anything changed: so old an acknowledged event may be before the hash chain has it. */
  readonly checkpointIntervalMs: number;
  /** Entities in memory beyond this many are let go, those that the partition has whole … */
  readonly activeEntitiesMax: number;
  /** … and also when they take more memory than this, as estimated from their encoded states. */
  readonly stateBytesMax: number;
  /** Memory for the idempotency windows of client sessions: beyond it new ones are refused as OVERLOADED. */
  readonly sessionBytesMax: number;
  readonly segmentBytes: number;
  /** So long a call waits for an entity that a transaction holds, in ms, before it is refused as ENTITY_HELD. */
  readonly holdWaitMs: number;
  /** So long a transaction waits for another shard before it is given up, in ms. */
  readonly holdMs: number;
}

export const defaultShardLimits: ShardLimits = {
  groupBytesMax: 4 << 20,
  lingerMs: 0,
  checkpointBytes: 64 << 20,
  checkpointIntervalMs: 3_000,
  activeEntitiesMax: 2_000_000,
  stateBytesMax: 256 << 20,
  sessionBytesMax: 256 << 20,
  segmentBytes: 64 << 20,
  holdWaitMs: 5_000,
  holdMs: 10_000,
};

/**
 * Records elsewhere that hold copies of what an entity was given: those of sagas. They are erased with it (P6).
 */
export interface CopyHolder {
  /** The record behind an append, told from the append's id; undefined for nearly all. */
  recordOf(appendId: string): string | undefined;
  /** Resolves when it is sure that the records will be erased. Errors: `OVERLOADED` while one is still needed. */
  bury(entity: string, records: ReadonlySet<string>): Promise<void>;
  /** Resolves when nothing is left of the records. */
  gone(entity: string, records: ReadonlySet<string>): Promise<void>;
}

/** Where the log has an entity's tombstone. */
export interface TombstonePlace {
  readonly entity: string;
  readonly shard: number;
  readonly seq: number;
  readonly position: number;
}

/** An error says why copies that are still there do not go now. */
export type CopiesState = "gone" | "waiting" | HeddleError;

/**
 * Those that read the log beside the shard and keep copies of what they have read: NATS, projections. These go, too (P6).
 */
export interface ReaderCopies {
  /**
   * Resolves when it is durable that the copies of these entries will be erased. Asked before the log overwrites them, in
   * parts, and once more after a crash.
   */
  bury(tombstone: TombstonePlace, positions: Float64Array): Promise<void>;
  /**
   * What has become of the copies of what lies before each of these tombstones, which the log has no more. Does not wait for
   * them: it is asked again.
   */
  gone(tombstones: readonly TombstonePlace[]): Promise<readonly CopiesState[]>;
}

/** Where a life of an entity ended: sequence and time (ms since 1970) of the tombstone. */
export interface Tombstone {
  readonly entity: string;
  readonly seq: number;
  readonly time: number;
}

export interface ShardOptions {
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  readonly logFolder: string;
  readonly disk: Disk;
  readonly partition: Partition;
  readonly clock: Clock;
  readonly random: Random;
  readonly durability: Durability;
  readonly limits: ShardLimits;
  readonly replies: ReplySink;
  /**
   * Destroys the keys with which backups can be read of what lies before these tombstones. Left out where nothing makes
   * backups.
   */
  readonly eraseKeys?: ((tombstones: readonly Tombstone[]) => void) | undefined;
  /** For what concerns several shards. Left out where there is one shard and nothing else on its thread. */
  readonly calls?: ShardCalls | undefined;
  /**
   * Who answers requests of kinds that are not the shard's own, such as sagas. Called in the order of the mailbox, while the
   * shard is open. It copies what it needs later, answers to the frame's connection through `replies`, once, and must not
   * call the shard before it returns. What it throws is the reply.
   */
  readonly handlers?: ReadonlyMap<number, (frame: Frame) => void> | undefined;
  /**
   * By kind of Heddle's own entities, who is told of their alarms. To be given wherever the domain has the aggregates: what a
   * checkpoint writes without them is an index without alarms.
   */
  readonly alarms?: ReadonlyMap<string, AlarmSource> | undefined;
  readonly copies?: CopyHolder | undefined;
  /** Left out where nothing that reads the log keeps a copy. */
  readonly readers?: ReaderCopies | undefined;
  /** Runs a task in a later turn, after a delay in ms. */
  readonly schedule: (task: () => void, delayMs: number) => void;
  /** Told of what an operator should know: recoveries, failures, stops. */
  readonly report: (level: "info" | "warn" | "error", message: string, facts: Record<string, unknown>) => void;
  /** Told of every change of state, so that readiness can be answered without asking the thread. */
  readonly onState?: (state: ShardState, reason: string) => void;
  /**
   * Told how far the log is durable: when the shard has opened or recovered, and once a commit group, before its replies
   * leave, so that whoever has a receipt finds its event there (P2). Must be quick, and must not call the shard.
   */
  readonly onDurableEnd?: ((end: number) => void) | undefined;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

/** A promise that the next turn keeps. */
export function nextTurnOf({ schedule }: Pick<ShardOptions, "schedule">): Promise<void> {
  return new Promise((resolve) => schedule(resolve, 0));
}
