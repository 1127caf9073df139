// RebuiltIndex: what a partition holds, derived from the entries of a log as they come by.
//
// It equals what the shard would have written: heads with their chains and bases, extents with their checks, append ids (of
// erased entries their digests), counts of event types, and the windows of sessions that can still bring a retry. Snapshots
// stand at each entity's head, where a shard that was not asleep has them too; an erased entity has none.
// An erasure that the log shows to be unfinished is noted as one, with everything that the shard needs to go on with it.
import { type CompiledContext, describeThrown } from "@heddle/domain/internal";
import { type EntryView, entryFlags, idDigestOfErased, resetFlags } from "@heddle/event-log/internal";
import { isHeddleError, isSystemEntity } from "@heddle/kernel";
import {
  type CheckpointWriter,
  erasedIdNameOfDigest,
  type Forgetting,
  type Partition,
  type SnapshotRecord,
} from "@heddle/partition/internal";
import {
  EntryDecoder,
  initialStates,
  isJournal,
  journalEntity,
  OpenTransactions,
  readJournal,
  SessionWindow,
  snapshotsOf,
} from "@heddle/shard/internal";
import { systemAlarms } from "../load-domain.ts";
import { chainAfter, chainCheck, noChain } from "./entity-chain.ts";
import { sessionSilenceMsMax } from "./session-calls.ts";
import { TypeCounts } from "./type-counts.ts";

export interface RebuiltShard {
  readonly shard: number;
  readonly entities: number;
  readonly events: number;
  readonly appendIds: number;
  readonly sessions: number;
  readonly snapshots: number;
  readonly coveredPosition: number;
  /** Entities whose events the domain module cannot fold: they have no snapshot, and no state until it can. */
  readonly unfolded: readonly { readonly entity: string; readonly problem: string }[];
}

const unfoldedToldMax = 20;

interface RebuiltEntity {
  readonly id: string;
  seq: number;
  position: number;
  time: number;
  chain: string;
  /** Of the last tombstone whose erasure has ended. */
  baseSeq: number;
  /** Undefined while they are not known: after a fold has failed, and after an erased entry. */
  states: unknown[] | undefined;
  /** Since the last checkpoint. */
  extents: number[];
  /** Since the last checkpoint, the last tombstone whose erasure has ended. */
  forgetting: Forgetting | undefined;
  /** Whether payloads stand in the log since the last tombstone. */
  hasPayloads: boolean;
  /** Sequence of the tombstone, while its erasure is under way. */
  erasing: number;
  /** Snapshots that the last checkpoint wrote. */
  snapshots: number;
  /** When it wants to be woken, as the last checkpoint wrote it. */
  alarm: number | undefined;
}

export class RebuiltIndex {
  readonly #domain: CompiledContext;
  readonly #partition: Partition;
  readonly #decoder = new EntryDecoder();
  readonly #nothingFolded: readonly number[];
  readonly #entities = new Map<string, RebuiltEntity>();
  readonly #sessions = new Map<number, SessionWindow>();
  readonly #counts = new TypeCounts();
  readonly #transactions = new OpenTransactions({ pending: [], decided: [] });
  readonly #unfolded: { entity: string; problem: string }[] = [];
  #changed = new Set<RebuiltEntity>();
  #ids: { entity: string; id: string; position: number }[] = [];
  #events = 0;
  #appendIds = 0;
  #newestMs = 0;

  constructor(domain: CompiledContext, partition: Partition) {
    this.#domain = domain;
    this.#partition = partition;
    this.#nothingFolded = Array.from(domain.aggregates, () => 0);
  }

  /** An entry that belongs to no history. */
  onBeside(entry: EntryView): void {
    this.#transactions.take(entry);
    if (!isJournal(entry)) return;
    this.#newestMs = Math.max(this.#newestMs, entry.time);
    this.#addCall(entry);
    const { id } = readJournal(entry);
    if (id !== "") this.#ids.push({ entity: journalEntity, id, position: entry.position });
  }

  onEntry(entry: EntryView): void {
    this.#transactions.take(entry);
    const view = this.#decoder.open(entry);
    const entity = this.#entity(view.entity);
    entity.seq = entry.firstSeq + entry.eventCount - 1;
    entity.position = entry.position;
    entity.time = entry.time;
    this.#changed.add(entity);
    this.#events += entry.eventCount;
    this.#newestMs = Math.max(this.#newestMs, entry.time);
    this.#addCall(entry);
    if ((entry.flags & entryFlags.erased) !== 0) this.#onErased(entity, entry);
    else {
      if (view.id !== "") this.#ids.push({ entity: entity.id, id: view.id, position: entry.position });
      if ((entry.flags & resetFlags) === 0) this.#counts.addEntry(entry, view);
      if ((entry.flags & entryFlags.tombstone) === 0) entity.hasPayloads = true;
      else this.#onTombstone(entity, entry);
      this.#fold(entity, entry);
    }
    entity.chain = chainAfter(entity.chain, entry);
    entity.extents.push(entry.firstSeq, entry.eventCount, entry.position, chainCheck(entity.chain));
  }

  async checkpoint(covering: number): Promise<void> {
    const writer = this.#partition.checkpoint(covering);
    for (const entity of this.#changed) this.#putEntity(writer, entity);
    for (const { entity, id, position } of this.#ids) writer.putAppendId(entity, id, position);
    this.#appendIds += this.#ids.length;
    this.#putSessions(writer);
    writer.putOpenTransactions(this.#transactions.records());
    for (const { aggregate, type, schemaVersion, count } of this.#counts.rows()) {
      writer.putTypeCount(aggregate, type, schemaVersion, count);
    }
    this.#changed = new Set();
    this.#ids = [];
    await writer.commit();
  }

  facts(): Omit<RebuiltShard, "shard" | "coveredPosition"> {
    let snapshots = 0;
    for (const entity of this.#entities.values()) snapshots += entity.snapshots;
    return {
      entities: this.#entities.size,
      events: this.#events,
      appendIds: this.#appendIds,
      sessions: this.#sessions.size,
      snapshots,
      unfolded: this.#unfolded,
    };
  }

  #entity(id: string): RebuiltEntity {
    let entity = this.#entities.get(id);
    if (entity === undefined) {
      entity = {
        id,
        seq: 0,
        position: 0,
        time: 0,
        chain: noChain,
        baseSeq: 0,
        states: this.#initialStates(id),
        extents: [],
        forgetting: undefined,
        hasPayloads: false,
        erasing: 0,
        snapshots: 0,
        alarm: undefined,
      };
      this.#entities.set(id, entity);
    }
    return entity;
  }

  #initialStates(entity: string): unknown[] {
    return initialStates(this.#domain, entity);
  }

  #onErased(entity: RebuiltEntity, entry: EntryView): void {
    const digest = idDigestOfErased(entry);
    if (digest !== undefined) {
      this.#ids.push({ entity: entity.id, id: erasedIdNameOfDigest(digest), position: entry.position });
    }
    entity.states = undefined;
  }

  // The extent of the tombstone itself is added afterwards: it is the first of those that stay.
  #onTombstone(entity: RebuiltEntity, entry: EntryView): void {
    if (entity.hasPayloads) entity.erasing = entry.firstSeq;
    else {
      entity.baseSeq = entry.firstSeq;
      entity.forgetting = { belowSeq: entry.firstSeq, belowPosition: entry.position };
      entity.extents = [];
    }
    entity.hasPayloads = false;
    entity.chain = noChain;
  }

  #putEntity(writer: CheckpointWriter, entity: RebuiltEntity): void {
    const snapshots = this.#snapshotsOf(entity);
    if (entity.forgetting !== undefined) writer.forgetHistory(entity.id, entity.forgetting);
    if (entity.erasing > 0) writer.putErasure(entity.id, entity.erasing, "count");
    const alarmBefore = entity.alarm;
    entity.alarm = this.#alarmOf(entity);
    writer.putEntity(entity.id, entity, Float64Array.from(entity.extents), snapshots, alarmBefore);
    entity.extents = [];
    entity.forgetting = undefined;
    entity.snapshots = snapshots.length;
  }

  #alarmOf({ id, states }: RebuiltEntity): number | undefined {
    if (states === undefined || !isSystemEntity(id)) return undefined;
    const source = systemAlarms.get(id.slice(0, id.indexOf("/")));
    const aggregate = source && this.#domain.aggregates.get(source.aggregate);
    return aggregate && source.alarmOf(states[aggregate.index]);
  }

  // Session 0 is nobody's: calls that no client numbered.
  #addCall({ session, call, position, time }: EntryView): void {
    if (session === 0) return;
    let window = this.#sessions.get(session);
    if (window === undefined) {
      window = new SessionWindow(session);
      this.#sessions.set(session, window);
    }
    window.add(call, position, time);
  }

  #fold(entity: RebuiltEntity, entry: EntryView): void {
    if ((entry.flags & resetFlags) !== 0) {
      entity.states = this.#initialStates(entity.id);
      return;
    }
    if (entity.states === undefined) return;
    try {
      this.#decoder.foldInto(entity.states, entry, this.#domain, this.#nothingFolded);
    } catch (error) {
      entity.states = undefined;
      if (this.#unfolded.length < unfoldedToldMax) {
        const problem = isHeddleError(error, "DOMAIN_FAILED")
          ? `${error.facts.where}: ${error.facts.message}`
          : describeThrown(error);
        this.#unfolded.push({ entity: entity.id, problem });
      }
    }
  }

  #snapshotsOf({ id, states, seq, baseSeq, erasing }: RebuiltEntity): SnapshotRecord[] {
    if (states === undefined || seq === Math.max(baseSeq, erasing)) return [];
    return snapshotsOf(this.#domain, id, states, seq);
  }

  #putSessions(writer: CheckpointWriter): void {
    for (const [session, window] of this.#sessions) {
      if (this.#newestMs - window.lastSeenMs > sessionSilenceMsMax) {
        this.#sessions.delete(session);
        writer.dropSession(session);
      } else if (window.dirty) {
        window.dirty = false;
        writer.putSession(session, window.lastSeenMs, window.calls());
      }
    }
  }
}
