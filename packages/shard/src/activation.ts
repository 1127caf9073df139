// Activation: entities come to life from the partition and the log, and go back to sleep when memory has too many.
//
// A1. An entity with anything that the partition does not have is never let go, nor one that a transaction holds.
// A2. Beyond its bounds memory grows by such entities only, and the log's tail bounds those (see shard.ts, P8).
import type { CompiledContext } from "@heddle/domain/internal";
import { type EntryView, entryFlags } from "@heddle/event-log/internal";
import { type EntityId, HeddleError, hashEntity, isSystemEntity, parseAnyEntityId, systemKinds } from "@heddle/kernel";
import { invariant, secretHash, shardOfHash, TurnoverMap } from "@heddle/kernel/internal";
import { alarmUnknown, type EntityHead, type Extent, type Partition } from "@heddle/partition/internal";
import { decodeValue } from "@heddle/protocol/internal";
import { initialStates } from "./decide.ts";
import { encodeState, memoryOf } from "./encode-state.ts";
import { canBePacked, EndedEntities } from "./ended-entities.ts";
import { Entity, extentWidth, noExtents } from "./entity.ts";
import { freeze } from "./plain-data.ts";
import { hasAggregate } from "./proposals.ts";
import { EntryDecoder } from "./stored-events.ts";

export interface ActivationOptions {
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  readonly partition: Partition;
  readonly readEntry: (position: number) => EntryView;
  /** Entities beyond this many are let go, as far as A1 allows. */
  readonly activeEntitiesMax: number;
  /** The same for the memory that they take, in bytes. */
  readonly stateBytesMax: number;
  /** Sequence of an entity's tombstone while its erasure is under way, which the partition may not have as its base yet. */
  readonly tombstoneOf: (id: string) => number | undefined;
}

/**
 * What an active entity takes beside its id and its states; `memoryOf` says what these take.
 * Source: heap before and after 200,000 entities. Bank example (33 bytes encoded) 614 bytes each when they were written and
 * 646 when they were woken, a profile of nested objects (143 bytes encoded) 1,035 and 969; ids of 201 characters instead of
 * 19 add 184 and 159. These constants say 650 and 1,091, and 182 for the ids.
 */
const entityBytes = 500;

/** An activation that folded more events than this leaves a snapshot at the next checkpoint. */
const foldedEventsMax = 128;

/** Entities looked at for each one that wakes, while there are too many: enough to catch up. */
const stepsPerAdd = 8;
/** Entities looked at in one tick. */
const stepsPerTick = 10_000;

const sagaPrefix = `${systemKinds.saga}/`;

export class Activation {
  readonly #options: ActivationOptions;
  readonly #active = new Map<string, Entity>();
  /** Heddle's own, by themselves: there may be very many, and they would slow down every look-up. */
  readonly #own = new Map<string, Entity>();
  /** Of these, sagas: an id comes but once, and as a Map's key would be kept among all texts that the engine knows. */
  readonly #sagas = new TurnoverMap<string, Entity>();
  readonly #decoder = new EntryDecoder();
  #changed: Entity[] = [];
  #ended = new EndedEntities();
  /** Handed to the checkpoint that runs. */
  #inCheckpoint: readonly Entity[] = [];
  #endedInCheckpoint = new EndedEntities();
  /** Those among the ended that somebody wanted since. */
  #unpacked: Entity[] = [];
  #nextCheckpoint = 1;
  #stateBytes = 0;
  /** Entities woken so far. */
  activations = 0;
  /** Goes round and round: whoever was used since it last came by is spared once (second chance). */
  #hand: Iterator<Entity> | undefined;

  constructor(options: ActivationOptions) {
    this.#options = options;
  }

  get activeCount(): number {
    return this.#active.size + this.#own.size + this.#sagas.size;
  }

  /**
   * Memory that active entities take, as estimated. What a checkpoint has still to write counts as it was before it changed,
   * a new entity without its states: it cannot be let go anyway (A1), and the log's tail bounds it (A2).
   */
  get stateBytes(): number {
    return this.#stateBytes;
  }

  /** An entity that exists, woken if it sleeps; undefined for one that was never written. Errors as `activate`. */
  find(id: string): Entity | undefined {
    const active = this.#placeOf(id).get(id);
    if (active !== undefined) {
      active.touched = true;
      return active;
    }
    const entity = this.#unpack(id) ?? this.#asleep(id);
    return entity === undefined ? undefined : this.#add(entity);
  }

  /** The same for who only reads entries in this turn: one that sleeps is not woken. Errors as `activate`. */
  peek(id: string): Entity | undefined {
    return this.#placeOf(id).get(id) ?? this.#endedAs(id) ?? this.#asleep(id);
  }

  #asleep(id: string): Entity | undefined {
    this.#checkOwned(id);
    const head = this.#options.partition.head(id);
    if (head === undefined) return undefined;
    const entity = new Entity(id as EntityId, head);
    entity.baseSeq = this.baseOf(id, head);
    return entity;
  }

  /** Sequence of the last tombstone of an entity that the partition has: it may be newer than the partition's own. */
  baseOf(id: string, head: EntityHead): number {
    return this.#options.tombstoneOf(id) ?? head.baseSeq;
  }

  /**
   * An entity, new if it was never written.
   * Errors: `INVALID_ENTITY_ID`; `BAD_FRAME` when the id belongs to another shard.
   */
  activate(id: string): Entity {
    return this.find(id) ?? this.#add(new Entity(id as EntityId, unwritten));
  }

  /** The states of an entity's aggregates, by index. Errors: `DOMAIN_FAILED`; `LOG_DAMAGED`. */
  statesOf(entity: Entity): unknown[] {
    entity.states ??= this.#load(entity);
    return entity.states;
  }

  /**
   * Entries of an entity from a sequence on, as they lie in the log, each once; none from before its last tombstone. Not to
   * be kept over a turn.
   */
  extentsForward(entity: Entity, fromSeq: number): Generator<Extent> {
    return this.#extentsFrom(entity, Math.max(fromSeq, entity.baseSeq));
  }

  /** Entries from before an entity's last tombstone that the partition or memory still knows. */
  *extentsToErase(entity: Entity, fromSeq: number): Generator<Extent> {
    for (const extent of this.#extentsFrom(entity, fromSeq)) {
      if (extent.firstSeq >= entity.baseSeq) return;
      yield extent;
    }
  }

  *#extentsFrom(entity: Entity, fromSeq: number): Generator<Extent> {
    let next = fromSeq;
    for (const extent of this.#options.partition.extents(entity.id, fromSeq, "forward")) {
      if (extent.firstSeq + extent.count <= next) continue;
      yield extent;
      next = extent.firstSeq + extent.count;
    }
    for (const quads of [entity.flushingExtents, entity.newExtents]) {
      for (let i = 0; i < quads.length; i += extentWidth) {
        const extent = extentAt(quads, i);
        if (extent.firstSeq + extent.count <= next) continue;
        yield extent;
        next = extent.firstSeq + extent.count;
      }
    }
  }

  /** As `extentsForward`, from a sequence down. */
  *extentsBackward(entity: Entity, fromSeq: number): Generator<Extent> {
    const lowest = Math.max(1, entity.baseSeq);
    let next = fromSeq;
    for (const quads of [entity.newExtents, entity.flushingExtents]) {
      for (let i = quads.length - extentWidth; i >= 0; i -= extentWidth) {
        const extent = extentAt(quads, i);
        if (extent.firstSeq > next) continue;
        if (next < lowest) return;
        yield extent;
        next = extent.firstSeq - 1;
      }
    }
    if (next < lowest) return;
    for (const extent of this.#options.partition.extents(entity.id, next, "backward")) {
      if (extent.firstSeq > next) continue;
      if (next < lowest) return;
      yield extent;
      next = extent.firstSeq - 1;
    }
  }

  /** Reads the entry at a position that is durable. Errors: `LOG_DAMAGED`. */
  readAt(position: number): EntryView {
    return this.#options.readEntry(position);
  }

  /**
   * Reads the entry of an extent and opens it in `decoder`.
   * Errors: `LOG_DAMAGED`; `PARTITION_DAMAGED` when another entry lies there than the partition says, as in one that was
   * put beside another log.
   */
  readEntry(entity: Entity, { firstSeq, count, position }: Extent, decoder: EntryDecoder): EntryView {
    const entry = this.#options.readEntry(position);
    const view = decoder.open(entry);
    if (view.entity === entity.id && entry.firstSeq === firstSeq && entry.eventCount === count) return entry;
    const problem =
      `it says that events ${firstSeq} to ${firstSeq + count - 1} of ${entity.id} lie at position ${position}, ` +
      `where the log has event ${entry.firstSeq} of ${view.entity}`;
    throw new HeddleError("PARTITION_DAMAGED", { folder: `of shard ${this.#options.shard}`, problem });
  }

  /**
   * Recovery: takes in an entry of the log's tail. What the partition already has is passed over: a checkpoint that was
   * cut short leaves heads newer than the position it covers.
   */
  recover(id: string, entry: EntryView): Entity | undefined {
    const entity = this.activate(id);
    const { firstSeq, position } = entry;
    if (firstSeq <= entity.seq) return undefined;
    invariant(firstSeq === entity.seq + 1, "P1/no-gap", { entity: id, firstSeq, seq: entity.seq, position });
    this.extend(entity, entry.eventCount, position, entry.time);
    if ((entry.flags & entryFlags.tombstone) !== 0) this.bury(entity);
    return entity;
  }

  /** To be called before an entity's states change: what the running checkpoint has still to write is kept (C1). */
  beforeChange(entity: Entity): void {
    if (entity.queuedFor !== 0 && entity.queuedFor < this.#nextCheckpoint) entity.keepCut();
  }

  /** Moves an entity on by one log entry. */
  extend(entity: Entity, count: number, position: number, time: number): void {
    if (entity.queuedFor === 0) this.#markChanged(entity);
    entity.extend(count, position, time);
  }

  /** The entry that an entity was just extended by is its tombstone: everything before it is gone. */
  bury(entity: Entity): void {
    entity.baseSeq = entity.seq;
    entity.states = undefined;
  }

  /** Has an entity written at the next checkpoint, though it has no new entries. */
  touch(entity: Entity): void {
    this.beforeChange(entity);
    if (entity.queuedFor === 0) this.#markChanged(entity);
  }

  /** Memory taken by entities that cannot be let go before a checkpoint has written them, as estimated. */
  get unsavedBytes(): number {
    const entities = entityBytes * (this.#changed.length + this.#inCheckpoint.length);
    return entities + this.#ended.bytes + this.#endedInCheckpoint.bytes;
  }

  /** Whether the partition does not have an entity as it is. */
  isChanged(id: string): boolean {
    return this.#placeOf(id).get(id)?.dirty === true || this.#rowsWith(id) !== undefined;
  }

  /** Entities in memory that the partition does not have as they are, but for those that ended since. Some come twice. */
  *changed(): Generator<Entity> {
    yield* this.#changed;
    yield* this.#inCheckpoint;
    yield* this.#unpacked;
  }

  /** Sagas that ended since the partition was last written, as they stand; the objects are not the shard's. */
  *ended(): Generator<Entity> {
    for (const rows of [this.#ended, this.#endedInCheckpoint]) {
      for (const row of rows.rows()) {
        const id = rows.idAt(row);
        if (!this.#sagas.has(id)) yield asEntity(id, rows.headAt(row));
      }
    }
  }

  /**
   * Entities that changed since this was last called, each once, and those that ended: they belong to the checkpoint that begins
   * now. The ended ones are lent until `taken` or `giveBack`.
   */
  takeChanged(): { readonly changed: readonly Entity[]; readonly ended: EndedEntities } {
    this.#inCheckpoint = this.#changed;
    this.#changed = [];
    const ended = this.#ended;
    this.#ended = this.#endedInCheckpoint;
    this.#endedInCheckpoint = ended;
    this.#nextCheckpoint++;
    return { changed: this.#inCheckpoint, ended };
  }

  /** The partition has what `takeChanged` gave. The entities' extents are let go by the checkpoint itself. */
  taken(): void {
    this.#inCheckpoint = [];
    this.#endedInCheckpoint.clear();
    for (const entity of this.#unpacked.splice(0)) {
      entity.inlineExtents = Float64Array.from(entity.flushingExtents);
      entity.flushingExtents = noExtents;
    }
  }

  /** To be called when a saga has come to its end, and all of it is durable and chained. */
  pack(entity: Entity): void {
    if (!isSaga(entity.id) || !canBePacked(entity)) return;
    // A checkpoint begins when all is chained: what it writes has moved on, if it comes here.
    if (entity.queuedFor !== this.#nextCheckpoint) invariant(false, "shard/packed-for-the-next", { entity: entity.id });
    this.#ended.add(entity);
    const last = this.#changed.pop()!;
    if (last !== entity) {
      this.#changed[entity.changedAt] = last;
      last.changedAt = entity.changedAt;
    }
    this.#forget(entity);
  }

  // To be added. From then on the entity counts as changed, if the checkpoint that runs does not write it.
  #unpack(id: string): Entity | undefined {
    const entity = this.#endedAs(id);
    if (entity === undefined) return undefined;
    if (this.#rowsWith(id) === this.#ended) {
      this.#ended.delete(id);
      this.#markChanged(entity);
    } else {
      entity.flushNew();
      this.#unpacked.push(entity);
    }
    return entity;
  }

  #endedAs(id: string): Entity | undefined {
    const head = this.#rowsWith(id)?.get(id);
    return head === undefined ? undefined : asEntity(id, head);
  }

  #rowsWith(id: string): EndedEntities | undefined {
    if (!isSaga(id)) return undefined;
    const hash = secretHash(id);
    if (this.#ended.has(id, hash)) return this.#ended;
    return this.#endedInCheckpoint.has(id, hash) ? this.#endedInCheckpoint : undefined;
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack(): void {
    for (const entity of this.#inCheckpoint) this.#takeBack(entity);
    this.#inCheckpoint = [];
    for (const entity of this.#unpacked.splice(0)) {
      this.#endedInCheckpoint.delete(entity.id);
      this.#takeBack(entity);
    }
    const rows = this.#endedInCheckpoint;
    for (const row of rows.rows()) this.#ended.add(asEntity(rows.idAt(row), rows.headAt(row)));
    // LMDB may still be at work on its rows.
    this.#endedInCheckpoint = new EndedEntities();
  }

  #takeBack(entity: Entity): void {
    entity.cut = undefined;
    if (entity.flushingExtents.length > 0) entity.newExtents = entity.flushingExtents.concat(entity.newExtents);
    entity.flushingExtents = noExtents;
    if (isSystemEntity(entity.id)) entity.storedAlarm = alarmUnknown;
    // One that changed since is in the list already.
    if (entity.queuedFor !== this.#nextCheckpoint) this.#markChanged(entity);
  }

  /** Notes what an entity's states take: as much as their snapshots' bytes say. */
  weigh(entity: Entity, states: readonly unknown[], encodedBytes: number): void {
    const weight = entityBytes + entity.id.length + memoryOf(entity.id, states, encodedBytes);
    this.#stateBytes += weight - entity.weight;
    entity.weight = weight;
  }

  /** Lets go of entities that memory need not hold, those not used for longest first. To be called every now and then. */
  passivate(): void {
    this.#makeRoom(0, stepsPerTick);
  }

  /** Lets go of an entity that is not likely to be wanted soon, if memory need not hold it (A1). */
  letGo(entity: Entity): void {
    if (!entity.dirty && entity.hold === undefined) this.#forget(entity);
  }

  // Until so many newcomers fit, or the steps are used up.
  #makeRoom(newcomers: number, steps: number): void {
    const { activeEntitiesMax, stateBytesMax } = this.#options;
    for (let left = steps; left > 0; left--) {
      if (this.activeCount + newcomers <= activeEntitiesMax && this.#stateBytes <= stateBytesMax) return;
      this.#hand ??= this.#all();
      const { value: entity, done } = this.#hand.next();
      if (done === true) this.#hand = undefined;
      else if (entity.touched) entity.touched = false;
      else if (!entity.dirty && entity.hold === undefined) this.#forget(entity);
    }
  }

  // The newcomer is not in the map yet when others make room: nobody holds on to one that is no longer there.
  #add(entity: Entity): Entity {
    this.#makeRoom(1, stepsPerAdd);
    this.#placeOf(entity.id).set(entity.id, entity);
    this.weigh(entity, none, 0);
    this.activations++;
    return entity;
  }

  *#all(): Generator<Entity> {
    yield* this.#active.values();
    yield* this.#own.values();
    // A list that does not change: some may have been let go since.
    for (const saga of this.#sagas.values()) if (this.#sagas.get(saga.id) === saga) yield saga;
  }

  #placeOf(id: string): Map<string, Entity> | TurnoverMap<string, Entity> {
    if (isSaga(id)) return this.#sagas;
    return isSystemEntity(id) ? this.#own : this.#active;
  }

  #forget(entity: Entity): void {
    this.#placeOf(entity.id).delete(entity.id);
    this.#stateBytes -= entity.weight;
  }

  #markChanged(entity: Entity): void {
    entity.changedAt = this.#changed.push(entity) - 1;
    entity.queuedFor = this.#nextCheckpoint;
  }

  #checkOwned(id: string): void {
    parseAnyEntityId(id);
    const { shard, shardCount } = this.#options;
    const owner = shardOfHash(hashEntity(id as EntityId), shardCount);
    if (owner !== shard) {
      throw new HeddleError("BAD_FRAME", { problem: `${id} belongs to shard ${owner}, it came to ${shard}` });
    }
  }

  #load(entity: Entity): unknown[] {
    const { states, covered } = this.begin(entity, entity.seq);
    let next = Math.min(...covered) + 1;
    if (next > entity.seq) return states;
    let folded = 0;
    for (const extent of this.extentsForward(entity, next)) {
      this.foldExtent(entity, extent, states, covered);
      next = extent.firstSeq + extent.count;
      folded += extent.count;
    }
    invariant(next === entity.seq + 1, "P5/replay-reaches-head", { entity: entity.id, next, seq: entity.seq });
    if (folded > foldedEventsMax) this.touch(entity);
    this.weigh(entity, states, encodedBytes(states));
    return states;
  }

  /**
   * States to begin a fold with, on the way to a sequence: initial ones, or those of snapshots that do not lie beyond it.
   * `covered` has by aggregate index the sequence that each has seen.
   */
  begin(entity: Entity, seq: number): { readonly states: unknown[]; readonly covered: number[] } {
    const { domain } = this.#options;
    const states = initialStates(domain, entity.id);
    const covered = new Array<number>(domain.aggregates.size).fill(Number.POSITIVE_INFINITY);
    for (const aggregate of domain.aggregates.values()) {
      // An aggregate that the entity has not got has nothing to see, and never a snapshot.
      if (hasAggregate(entity.id, aggregate)) covered[aggregate.index] = Math.max(0, entity.baseSeq - 1);
    }
    if (entity.seq > 0) this.#applySnapshots(entity, seq, states, covered);
    return { states, covered };
  }

  /** Folds the events of an extent that the states have not seen. */
  foldExtent(entity: Entity, extent: Extent, states: unknown[], covered: readonly number[], upTo?: number): void {
    const entry = this.readEntry(entity, extent, this.#decoder);
    this.#decoder.foldInto(states, entry, this.#options.domain, covered, upTo);
  }

  // A snapshot of another fold version is stale, one that does not decode is damaged: the log has everything.
  #applySnapshots(entity: Entity, upTo: number, states: unknown[], covered: number[]): void {
    let bytes = 0;
    const { domain, partition } = this.#options;
    for (const aggregate of domain.aggregates.values()) {
      if (!hasAggregate(entity.id, aggregate)) continue;
      const snapshot = partition.snapshot(entity.id, aggregate.name);
      if (snapshot === undefined || snapshot.foldVersion !== aggregate.version) continue;
      const { seq } = snapshot;
      if (seq > upTo || seq < entity.baseSeq) continue;
      try {
        const state = decodeValue(snapshot.state);
        freeze(state);
        states[aggregate.index] = state;
        covered[aggregate.index] = seq;
        bytes += snapshot.state.length;
      } catch {
        // Falls back to folding the whole log.
      }
    }
    if (upTo === entity.seq) this.weigh(entity, states, bytes);
  }
}

function isSaga(id: string): boolean {
  return isSystemEntity(id) && id.startsWith(sagaPrefix);
}

function asEntity(id: string, { inlineExtents, ...head }: EntityHead): Entity {
  const entity = new Entity(id as EntityId, head);
  entity.newExtents = Array.from(inlineExtents!);
  entity.isOver = true;
  return entity;
}

function encodedBytes(states: readonly unknown[]): number {
  return states.reduce<number>((sum, state) => sum + (encodeState(state)?.length ?? 0), 0);
}

const none: readonly unknown[] = [];
// As the partition's are, field by field. With fewer, the engine took it for something that came to look otherwise since, and
// compiled the constructor anew twenty times a second.
const unwritten: EntityHead = {
  seq: 0,
  position: 0,
  time: 0,
  chain: "",
  baseSeq: 0,
  alarm: undefined,
  inlineExtents: undefined,
};

function extentAt(quads: readonly number[], at: number): Extent {
  return { firstSeq: quads[at]!, count: quads[at + 1]!, position: quads[at + 2]!, check: quads[at + 3]! };
}
