// Activation: entities come to life from the partition and the log, and go back to sleep when memory has too many.
//
// A1. An entity with anything that the partition does not have is never let go.
// A2. Beyond its bounds memory grows by such entities only, and the log's tail bounds those (see shard.ts, P8).
import type { CompiledContext } from "@heddle/domain/internal";
import type { EntryView } from "@heddle/event-log/internal";
import { type EntityId, HeddleError, hashEntity, parseEntityId } from "@heddle/kernel";
import { invariant, shardOfHash } from "@heddle/kernel/internal";
import type { Partition } from "@heddle/partition/internal";
import { decodeValue } from "@heddle/protocol/internal";
import { asDomainFailure } from "./decide.ts";
import { Entity, noExtents } from "./entity.ts";
import { freeze } from "./plain-data.ts";
import { EntryDecoder } from "./stored-events.ts";

export interface ActivationOptions {
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  readonly partition: Partition;
  readonly readEntry: (position: number) => EntryView;
  /** Entities beyond this many are let go, as far as A1 allows. */
  readonly activeEntitiesMax: number;
  /** The same for their states, counted in bytes as encoded. */
  readonly stateBytesMax: number;
}

/** An entity's log entry: events `firstSeq` to `firstSeq + count - 1` lie at this position. */
export interface Extent {
  readonly firstSeq: number;
  readonly count: number;
  readonly position: number;
}

/** Entities looked at for each one that wakes, while there are too many: enough to catch up. */
const stepsPerAdd = 8;
/** Entities looked at in one tick. */
const stepsPerTick = 10_000;

export class Activation {
  readonly #options: ActivationOptions;
  readonly #active = new Map<string, Entity>();
  readonly #decoder = new EntryDecoder();
  #changed: Entity[] = [];
  #nextCheckpoint = 1;
  #stateBytes = 0;
  /** Goes round and round: whoever was used since it last came by is spared once (second chance). */
  #hand: Iterator<Entity> | undefined;

  constructor(options: ActivationOptions) {
    this.#options = options;
  }

  get activeCount(): number {
    return this.#active.size;
  }

  /** Of active entities, as last encoded; states that were never in a checkpoint do not count yet. */
  get stateBytes(): number {
    return this.#stateBytes;
  }

  /** An entity that exists, woken if it sleeps; undefined for one that was never written. Errors as `activate`. */
  find(id: string): Entity | undefined {
    const active = this.#active.get(id);
    if (active !== undefined) {
      active.touched = true;
      return active;
    }
    this.#checkOwned(id);
    const head = this.#options.partition.head(id);
    return head === undefined ? undefined : this.#add(new Entity(id as EntityId, head));
  }

  /**
   * An entity, new if it was never written.
   * Errors: `INVALID_ENTITY_ID`; `BAD_FRAME` when the id belongs to another shard.
   */
  activate(id: string): Entity {
    return this.find(id) ?? this.#add(new Entity(id as EntityId, { seq: 0, position: 0, time: 0 }));
  }

  /** The states of an entity's aggregates, by index. Errors: `DOMAIN_FAILED`; `LOG_DAMAGED`. */
  statesOf(entity: Entity): unknown[] {
    entity.states ??= this.#load(entity);
    return entity.states;
  }

  /** Entries of an entity from a sequence on, as they lie in the log, each once. Not to be kept over a turn. */
  *extentsForward(entity: Entity, fromSeq: number): Generator<Extent> {
    let next = fromSeq;
    for (const extent of this.#options.partition.extents(entity.id, fromSeq, "forward")) {
      if (extent.firstSeq + extent.count <= next) continue;
      yield extent;
      next = extent.firstSeq + extent.count;
    }
    for (const triples of [entity.flushingExtents, entity.newExtents]) {
      for (let i = 0; i < triples.length; i += 3) {
        const firstSeq = triples[i]!;
        const count = triples[i + 1]!;
        if (firstSeq + count <= next) continue;
        yield { firstSeq, count, position: triples[i + 2]! };
        next = firstSeq + count;
      }
    }
  }

  /** The same from a sequence down to 1. */
  *extentsBackward(entity: Entity, fromSeq: number): Generator<Extent> {
    let next = fromSeq;
    for (const triples of [entity.newExtents, entity.flushingExtents]) {
      for (let i = triples.length - 3; i >= 0; i -= 3) {
        const firstSeq = triples[i]!;
        if (firstSeq > next) continue;
        yield { firstSeq, count: triples[i + 1]!, position: triples[i + 2]! };
        next = firstSeq - 1;
      }
    }
    if (next === 0) return;
    for (const extent of this.#options.partition.extents(entity.id, next, "backward")) {
      if (extent.firstSeq > next) continue;
      yield extent;
      next = extent.firstSeq - 1;
    }
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
  recover(id: string, firstSeq: number, count: number, position: number, time: number): void {
    const entity = this.activate(id);
    if (firstSeq <= entity.seq) return;
    invariant(firstSeq === entity.seq + 1, "P1/no-gap", { entity: id, firstSeq, seq: entity.seq, position });
    this.extend(entity, count, position, time);
  }

  /** To be called before an entity's states change: what the running checkpoint has still to write is kept (C1). */
  beforeChange(entity: Entity): void {
    if (entity.writtenBy < this.#nextCheckpoint && entity.newExtents.length > 0) entity.keepCut();
  }

  /** Moves an entity on by one log entry. */
  extend(entity: Entity, count: number, position: number, time: number): void {
    if (entity.newExtents.length === 0) this.#markChanged(entity);
    entity.newExtents.push(entity.seq + 1, count, position);
    entity.seq += count;
    entity.position = position;
    entity.time = time;
  }

  /** Entities that changed since this was last called, each once: they belong to the checkpoint that begins now. */
  takeChanged(): Entity[] {
    const changed = this.#changed;
    this.#changed = [];
    this.#nextCheckpoint++;
    return changed;
  }

  /** Takes back what a failed checkpoint had been handed. */
  giveBack(entities: readonly Entity[]): void {
    for (const entity of entities) {
      entity.cut = undefined;
      const isTakenBack = entity.flushingExtents.length > 0;
      // One that changed since is in the list already.
      if (!isTakenBack || entity.newExtents.length === 0) this.#markChanged(entity);
      if (!isTakenBack) continue;
      entity.newExtents = entity.flushingExtents.concat(entity.newExtents);
      entity.flushingExtents = noExtents;
    }
  }

  /** Notes what an entity's states take, encoded. */
  weigh(entity: Entity, bytes: number): void {
    this.#stateBytes += bytes - entity.stateBytes;
    entity.stateBytes = bytes;
  }

  /** Lets go of entities that memory need not hold, those not used for longest first. To be called every now and then. */
  passivate(): void {
    this.#makeRoom(0, stepsPerTick);
  }

  // Until so many newcomers fit, or the steps are used up.
  #makeRoom(newcomers: number, steps: number): void {
    const { activeEntitiesMax, stateBytesMax } = this.#options;
    for (let left = steps; left > 0; left--) {
      if (this.#active.size + newcomers <= activeEntitiesMax && this.#stateBytes <= stateBytesMax) return;
      this.#hand ??= this.#active.values();
      const { value: entity, done } = this.#hand.next();
      if (done === true) this.#hand = undefined;
      else if (entity.touched) entity.touched = false;
      else if (!entity.dirty) this.#forget(entity);
    }
  }

  // The newcomer is not in the map yet when others make room: nobody holds on to one that is no longer there.
  #add(entity: Entity): Entity {
    this.#makeRoom(1, stepsPerAdd);
    this.#active.set(entity.id, entity);
    return entity;
  }

  #forget(entity: Entity): void {
    this.#active.delete(entity.id);
    this.#stateBytes -= entity.stateBytes;
  }

  #markChanged(entity: Entity): void {
    this.#changed.push(entity);
    entity.writtenBy = this.#nextCheckpoint;
  }

  #checkOwned(id: string): void {
    parseEntityId(id);
    const { shard, shardCount } = this.#options;
    const owner = shardOfHash(hashEntity(id as EntityId), shardCount);
    if (owner !== shard) {
      throw new HeddleError("BAD_FRAME", { problem: `${id} belongs to shard ${owner}, it came to ${shard}` });
    }
  }

  #load(entity: Entity): unknown[] {
    const { domain } = this.#options;
    const states: unknown[] = [];
    const covered: number[] = [];
    for (const aggregate of domain.aggregates.values()) {
      states[aggregate.index] = initialState(aggregate);
      covered[aggregate.index] = 0;
    }
    if (entity.seq > 0) this.#applySnapshots(entity, states, covered);
    let next = Math.min(...covered) + 1;
    if (next > entity.seq) return states;
    for (const extent of this.extentsForward(entity, next)) {
      const entry = this.readEntry(entity, extent, this.#decoder);
      this.#decoder.foldInto(states, entry, domain, covered);
      next = extent.firstSeq + extent.count;
    }
    invariant(next === entity.seq + 1, "P5/replay-reaches-head", { entity: entity.id, next, seq: entity.seq });
    return states;
  }

  // A snapshot of another fold version is stale, one that does not decode is damaged: the log has everything.
  #applySnapshots(entity: Entity, states: unknown[], covered: number[]): void {
    let bytes = 0;
    for (const snapshot of this.#options.partition.snapshots(entity.id)) {
      const aggregate = this.#options.domain.aggregates.get(snapshot.aggregate);
      if (aggregate === undefined || snapshot.foldVersion !== aggregate.version || snapshot.seq > entity.seq) continue;
      try {
        const state = decodeValue(snapshot.state);
        freeze(state);
        states[aggregate.index] = state;
        covered[aggregate.index] = snapshot.seq;
        bytes += snapshot.state.length;
      } catch {
        // Falls back to folding the whole log.
      }
    }
    this.weigh(entity, bytes);
  }
}

function initialState({ name, initial }: { readonly name: string; readonly initial: () => unknown }): unknown {
  try {
    const state = initial();
    freeze(state);
    return state;
  } catch (thrown) {
    throw asDomainFailure(thrown, () => `initial of ${name}`);
  }
}
