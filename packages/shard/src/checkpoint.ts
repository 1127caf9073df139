// Checkpoint: writes what changed since the last one into the partition, while appends go on.
//
// C1. A checkpoint is a consistent cut: it begins when everything decided is durable, and what changes before it is
//     written is kept as it was (states are immutable, so keeping one is keeping a reference). The partition then equals
//     a fold of the log up to the covered position.
// C2. All is written in pieces over many turns, ended sagas and then entities in key order; the covered position comes last. A crash in between
//     leaves heads, ids and windows newer than the position, which recovery passes over.
// C3. A checkpoint that fails gives back what it was handed, and the next one writes the same again, in longer extents.
// Not promised: that it succeeds. Recovery then starts from an older position.
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError, isSystemEntity } from "@heddle/kernel";
import type {
  CheckpointWriter,
  FreshIds,
  OpenTransactions as OpenTransactionRecords,
  Partition,
  TypeCount,
} from "@heddle/partition/internal";
import type { Activation } from "./activation.ts";
import type { Alarms } from "./alarms.ts";
import type { AppendIds } from "./append-ids.ts";
import { snapshotsOf } from "./encode-state.ts";
import type { EndedEntities } from "./ended-entities.ts";
import { type Entity, extentWidth, noExtents, shortHistoryMax } from "./entity.ts";
import type { Erasures, ErasuresCut } from "./erasures.ts";
import type { ChangedSessions, Sessions } from "./sessions.ts";
import { SortInTurns } from "./sort-in-turns.ts";
import type { OpenTransactions } from "./transactions/open-transactions.ts";
import { putTypeCounts, type TypeCounts } from "./type-counts.ts";

// What one turn writes: about a millisecond of the shard's thread.
const sliceEntitiesMax = 250;
const sliceBytesMax = 256 << 10;
/** Numbers in windows; a window by itself weighs as much as so many. */
const sliceCallsMax = 16_384;
const sessionWeight = 64;
/** Entities let go in one turn after the commit: that only clears a field. */
const sliceSettledMax = 20_000;

export interface CheckpointOptions {
  readonly shard: number;
  readonly partition: Partition;
  readonly domain: CompiledContext;
  readonly activation: Activation;
  readonly alarms: Alarms;
  readonly appendIds: AppendIds;
  readonly sessions: Sessions;
  readonly types: TypeCounts;
  readonly erasures: Erasures;
  readonly transactions: OpenTransactions;
  readonly covering: number;
  /** Resolves when the log is on disk up to `covering`; left out where it is anyway. */
  readonly syncLog?: (() => Promise<void>) | undefined;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export class Checkpoint {
  /** Settles when it has ended, well or not; it gave everything back then. */
  readonly done: Promise<void>;
  readonly #options: CheckpointOptions;
  readonly #writer: CheckpointWriter;
  readonly #entities: readonly Entity[];
  readonly #ended: EndedEntities;
  readonly #ids: FreshIds;
  readonly #sessions: ChangedSessions;
  readonly #types: readonly TypeCount[];
  readonly #erasures: ErasuresCut;
  readonly #open: OpenTransactionRecords;
  #cancelled = false;

  constructor(options: CheckpointOptions) {
    this.#options = options;
    this.#writer = options.partition.checkpoint(options.covering);
    const { changed, ended } = options.activation.takeChanged();
    this.#entities = changed;
    this.#ended = ended;
    this.#ids = options.appendIds.flush();
    this.#sessions = options.sessions.takeChanged();
    this.#types = options.types.takeChanged();
    this.#erasures = options.erasures.cut();
    this.#open = options.transactions.records();
    this.done = this.#run();
  }

  /** Ends it before it commits: for a shard that no longer trusts its memory. */
  cancel(): void {
    this.#cancelled = true;
  }

  async #run(): Promise<void> {
    const { crashPoint, syncLog } = this.#options;
    try {
      crashPoint?.("checkpoint:begun");
      // The partition must never outlive the log that it points to.
      await syncLog?.();
      await this.#writeEnded();
      await this.#writeEntities();
      this.#writer.takeAppendIds(this.#ids);
      await this.#writeSessions();
      putTypeCounts(this.#writer, this.#types);
      this.#erasures.put(this.#writer);
      this.#writer.putOpenTransactions(this.#open);
      crashPoint?.("checkpoint:before-commit");
      await this.#writer.commit();
    } catch (error) {
      this.#giveBack();
      throw error;
    }
    crashPoint?.("checkpoint:after-commit");
    await this.#settle();
  }

  async #writeEnded(): Promise<void> {
    const ended = this.#ended;
    const inOrder = new SortInTurns(ended.rows(), (row) => ended.idAt(row));
    do await this.#nextTurn();
    while (inOrder.sortMore());
    for (let left = sliceEntitiesMax, row = inOrder.next(); row !== undefined; row = inOrder.next()) {
      this.#writer.putPackedHead(ended.heads, row);
      if (--left > 0) continue;
      left = sliceEntitiesMax;
      await this.#nextTurn();
    }
  }

  async #writeEntities(): Promise<void> {
    const inOrder = new SortInTurns(this.#entities, (entity) => entity.id as string);
    do await this.#nextTurn();
    while (inOrder.sortMore());
    let entity = inOrder.next();
    while (entity !== undefined) {
      let bytes = 0;
      for (let left = sliceEntitiesMax; left > 0 && bytes < sliceBytesMax && entity !== undefined; left--) {
        bytes += this.#writeEntity(entity);
        entity = inOrder.next();
      }
      await this.#nextTurn();
    }
  }

  // Returns the bytes of its snapshots.
  #writeEntity(entity: Entity): number {
    const { alarms, activation, domain } = this.#options;
    if (entity.cut === undefined) {
      alarms.beforeCut(entity);
      entity.handOver();
    }
    const { seq, position, time, chain, states } = entity.cut ?? entity;
    entity.cut = undefined;
    const forgetting = this.#erasures.forgetting(entity.id);
    let extents = entity.flushingExtents;
    if (forgetting !== undefined) {
      this.#writer.forgetHistory(entity.id, forgetting);
      extents = extentsFrom(extents, forgetting.belowSeq);
    }
    const baseSeq = forgetting?.belowSeq ?? entity.indexBase;
    const alarm = alarms.of(entity, states);
    // Nobody is likely to look at it again, and if somebody does, its few entries are soon folded.
    const isOver = alarm === undefined && seq <= shortHistoryMax && isSystemEntity(entity.id);
    const snapshots = states === undefined || isOver ? [] : snapshotsOf(domain, entity.id, states, seq);
    const head = { seq, position, time, chain, baseSeq, alarm };
    this.#writer.putEntity(entity.id, head, new Float64Array(extents), snapshots, entity.storedAlarm);
    entity.storedAlarm = alarm;
    const bytes = snapshots.reduce((sum, snapshot) => sum + snapshot.state.length, 0);
    if (states !== undefined) activation.weigh(entity, states, bytes);
    return bytes;
  }

  async #writeSessions(): Promise<void> {
    const { changed, lapsed } = this.#sessions;
    let left = sliceCallsMax;
    for (const window of changed) {
      // What came after the cut may not be durable yet, and is in the log's tail if it is.
      const calls = window.calls(this.#options.covering);
      this.#writer.putSession(window.session, window.lastSeenMs, calls);
      left -= calls.length + sessionWeight;
      if (left > 0) continue;
      left = sliceCallsMax;
      await this.#nextTurn();
    }
    for (const session of lapsed) {
      this.#writer.dropSession(session);
      left -= sessionWeight;
      if (left > 0) continue;
      left = sliceCallsMax;
      await this.#nextTurn();
    }
  }

  // From here on the partition has everything: memory may let go of it.
  async #settle(): Promise<void> {
    for (let at = 0; at < this.#entities.length; at += sliceSettledMax) {
      if (at > 0) await new Promise<void>((resolve) => this.#options.schedule(resolve));
      for (const entity of this.#entities.slice(at, at + sliceSettledMax)) {
        entity.flushingExtents = noExtents;
        if (entity.queuedFor === 0) this.#options.alarms.saved(entity);
        // An ended saga is seldom asked about again, and there are many: they would drive out the entities of their steps.
        if (entity.storedAlarm === undefined && isSystemEntity(entity.id)) this.#options.activation.letGo(entity);
      }
    }
    this.#options.activation.taken();
    this.#options.appendIds.flushed();
    this.#erasures.settle();
  }

  #giveBack(): void {
    const { activation, appendIds, sessions, types } = this.#options;
    activation.giveBack();
    appendIds.giveBack();
    sessions.giveBack(this.#sessions);
    types.giveBack(this.#types);
  }

  // Waits for the partition too: without it a disk slower than the shard would fill memory with what waits to be put.
  async #nextTurn(): Promise<void> {
    await new Promise<void>((resolve) => this.#options.schedule(resolve));
    await this.#writer.drained();
    if (this.#cancelled) throw new HeddleError("CLOSED", { what: `the checkpoint of shard ${this.#options.shard}` });
  }
}

function extentsFrom(quads: readonly number[], seq: number): number[] {
  let at = 0;
  while (at < quads.length && quads[at]! < seq) at += extentWidth;
  return quads.slice(at);
}
