// Recovery: makes a shard's memory from its partition and its log.
//
// R1. The partition is right up to the position that it covers; heads, append ids and windows may be newer (a checkpoint
//     that was cut short), and what of the log's tail they have already is passed over. Counts of types, and the stages of
//     erasures, are of the covered position exactly.
// R2. A tombstone in the tail begins an erasure, unless all that it erases is erased: then a log is read from its start,
//     as for a new partition, and that was done with long ago.
import {
  besideFlags,
  type EntryView,
  EventLog,
  entityOfEntry,
  entryFlags,
  idDigestOfErased,
} from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { type ErasureRecord, erasedIdNameOfDigest } from "@heddle/partition/internal";
import { newAppendView, readAppendBody, type TextCache } from "@heddle/protocol/internal";
import { Activation } from "./activation.ts";
import { Alarms } from "./alarms.ts";
import { AppendIds } from "./append-ids.ts";
import { messageOf } from "./decoding.ts";
import type { Entity } from "./entity.ts";
import { Erasures, type ErasuresOptions } from "./erasures.ts";
import { HashChain } from "./hash-chain.ts";
import type { Memory } from "./memory.ts";
import { OpenGroups } from "./open-groups.ts";
import { noSession, Sessions } from "./sessions.ts";
import type { ShardOptions } from "./shard-options.ts";
import { readErasedFacts } from "./system-facts.ts";
import { isJournal, journalEntity, readJournal } from "./transactions/journal.ts";
import { OpenTransactions } from "./transactions/open-transactions.ts";
import { TypeCounts } from "./type-counts.ts";

export interface RecoveryOptions {
  readonly shard: ShardOptions;
  readonly texts: TextCache;
  /** Up to here the log is known to have been durable. */
  readonly knownEnd: number;
  readonly erasures: Pick<ErasuresOptions, "checkpoint" | "withoutCheckpoints">;
}

/** Errors: `LOG_DAMAGED`, `PARTITION_DAMAGED`; whatever the disk throws. */
export function recoverMemory(options: RecoveryOptions): Memory {
  return new Recovery(options).run();
}

class Recovery {
  readonly #options: RecoveryOptions;
  readonly #chain = new HashChain();
  readonly #view = newAppendView();
  /** Erasures that the partition knows of, by entity. */
  readonly #noted: Map<string, ErasureRecord>;
  /** By entity, how many of its events were found erased since its last tombstone. */
  readonly #erasedEvents = new Map<string, number>();
  readonly #appendIds: AppendIds;
  readonly #sessions: Sessions;
  readonly #types: TypeCounts;
  readonly #erasures: Erasures;
  readonly #transactions: OpenTransactions;
  readonly #activation: Activation;
  #memory: Memory | undefined;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    const { partition, clock, limits } = options.shard;
    this.#appendIds = new AppendIds(partition);
    this.#sessions = new Sessions({ bytesMax: limits.sessionBytesMax, nowMonotonic: clock.monotonic() });
    this.#types = new TypeCounts(partition.catalogue());
    this.#transactions = new OpenTransactions(partition.openTransactions());
    this.#noted = new Map(partition.erasures().map((record) => [record.entity, record]));
    this.#erasures = new Erasures({
      ...options.erasures,
      shard: options.shard,
      memory: () => this.#recovered(),
    });
    this.#activation = new Activation({
      shard: options.shard.shard,
      shardCount: options.shard.shardCount,
      domain: options.shard.domain,
      partition,
      readEntry: (position) => this.#readEntry(position),
      activeEntitiesMax: limits.activeEntitiesMax,
      stateBytesMax: limits.stateBytesMax,
      tombstoneOf: (id) => this.#erasures.tombstoneOf(id) ?? this.#noted.get(id)?.seq,
    });
  }

  run(): Memory {
    const { shard: options, knownEnd } = this.#options;
    const { partition, limits } = options;
    for (const kept of partition.sessions()) this.#sessions.restore(kept.session, kept.lastSeenMs, kept.calls);
    const log = EventLog.open({
      disk: options.disk,
      folder: options.logFolder,
      shard: options.shard,
      clock: options.clock,
      random: options.random,
      durability: options.durability,
      segmentBytes: limits.segmentBytes,
      knownEnd,
      replayFrom: partition.coveredPosition,
      onEntry: (entry) => this.#takeEntry(entry),
      crashPoint: options.crashPoint,
    });
    this.#memory = {
      log,
      groups: new OpenGroups(log, this.#chain, this.#activation, options.replies),
      activation: this.#activation,
      alarms: new Alarms(options, this.#activation),
      appendIds: this.#appendIds,
      sessions: this.#sessions,
      types: this.#types,
      erasures: this.#erasures,
      transactions: this.#transactions,
    };
    try {
      for (const record of this.#noted.values()) this.#resume(record);
    } catch (error) {
      log.close();
      throw error;
    }
    this.#noted.clear();
    return this.#memory;
  }

  #recovered(): Memory {
    return this.#memory!;
  }

  // Copies that a restoring wrote belong to no call: it is answered with the entry before them.
  #takeEntry(entry: EntryView): void {
    this.#transactions.take(entry);
    if ((entry.flags & besideFlags) !== 0) {
      this.#takeBeside(entry);
      return;
    }
    if (entry.session !== noSession) {
      this.#sessions.recover(entry.session, entry.call, entry.position, entry.time);
    }
    if ((entry.flags & entryFlags.erased) !== 0) {
      this.#takeErased(entry);
      return;
    }
    const view = this.#view;
    readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, this.#options.texts, view);
    if (view.id !== "") this.#appendIds.add(view.entity, view.id, entry.position);
    this.#types.addEntry(entry, view);
    const isTombstone = (entry.flags & entryFlags.tombstone) !== 0;
    const life = isTombstone ? this.#activation.activate(view.entity).baseSeq : 0;
    const entity = this.#activation.recover(view.entity, entry);
    if (entity !== undefined) this.#chain.link(entity, entry);
    if (isTombstone) this.#takeTombstone(entry, this.#activation.activate(view.entity), life);
  }

  // Of what belongs to no history, only a transaction's decision belongs to a call.
  #takeBeside(entry: EntryView): void {
    if (!isJournal(entry)) return;
    if (entry.session !== noSession) {
      this.#sessions.recover(entry.session, entry.call, entry.position, entry.time);
    }
    const { id } = readJournal(entry);
    if (id !== "") this.#appendIds.add(journalEntity, id, entry.position);
  }

  #takeErased(entry: EntryView): void {
    const id = entityOfEntry(entry);
    const digest = idDigestOfErased(entry);
    if (digest !== undefined) this.#appendIds.add(id, erasedIdNameOfDigest(digest), entry.position);
    if (this.#activation.recover(id, entry) === undefined) return;
    this.#erasedEvents.set(id, (this.#erasedEvents.get(id) ?? 0) + entry.eventCount);
  }

  // `life`: the entity's base before this entry. It is the tombstone itself, or a later one, when the partition has it as
  // the entity's base already.
  #takeTombstone({ firstSeq: seq, position, time }: EntryView, entity: Entity, life: number): void {
    const gone = this.#erasedEvents.get(entity.id) ?? 0;
    this.#erasedEvents.delete(entity.id);
    if (life >= seq) return;
    // The partition may have the entity's head already, and not yet that it is erased.
    entity.baseSeq = seq;
    if (gone === seq - 1 - life) entity.beginAtBase();
    else {
      const { shard } = this.#options.shard;
      const receipt = { entity: entity.id, shard, seq, position, time, from: life + 1, to: seq - 1 };
      this.#erasures.add(receipt, life, "count");
    }
  }

  // The tombstone lies before the covered position; a new life may follow it, if the next checkpoint was cut short.
  #resume({ entity, seq, stage }: ErasureRecord): void {
    if (this.#erasures.tombstoneOf(entity) !== undefined) return;
    const { shard, partition } = this.#options.shard;
    const { log } = this.#memory!;
    const extent = partition.extents(entity, seq, "forward").next().value;
    const entry = extent?.firstSeq === seq && extent.position < log.durableEnd ? log.read(extent.position) : undefined;
    if (entry === undefined || (entry.flags & entryFlags.tombstone) === 0 || entityOfEntry(entry) !== entity) {
      const problem = `it says that ${entity} is being erased from sequence ${seq} down, where no tombstone is`;
      throw new HeddleError("PARTITION_DAMAGED", { folder: `of shard ${shard}`, problem });
    }
    const { position, time } = entry;
    const { from, to } = readErasedFacts(entry);
    this.#erasures.add({ entity, shard, seq, position, time, from, to }, from - 1, stage);
  }

  // A disk that cannot give back a few bytes concerns those who asked for them, not the whole shard.
  #readEntry(position: number): EntryView {
    try {
      return this.#recovered().log.read(position);
    } catch (cause) {
      if (!isSystemError(cause)) throw cause;
      const problem = `position ${position} could not be read: ${messageOf(cause)}`;
      throw new HeddleError("LOG_DAMAGED", { file: this.#options.shard.logFolder, offset: 0, problem }, { cause });
    }
  }
}

function isSystemError(thrown: unknown): boolean {
  return thrown instanceof Error && !(thrown instanceof HeddleError) && "code" in thrown;
}
