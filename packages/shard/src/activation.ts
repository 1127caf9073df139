// Activation: entities come to life from the partition and the log, and go back to sleep when memory has too many.
import type { CompiledContext } from "@heddle/domain/internal";
import type { EntryView } from "@heddle/event-log/internal";
import { type EntityId, HeddleError, hashEntity, parseEntityId } from "@heddle/kernel";
import { invariant, shardOfHash } from "@heddle/kernel/internal";
import type { Partition } from "@heddle/partition/internal";
import { decodeValue } from "@heddle/protocol/internal";
import { asDomainFailure } from "./decide.ts";
import { Entity } from "./entity.ts";
import { freeze } from "./plain-data.ts";
import { EntryDecoder } from "./stored-events.ts";

export interface ActivationOptions {
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  readonly partition: Partition;
  readonly readEntry: (position: number) => EntryView;
  /** Active entities beyond this many are passivated after the next checkpoint. */
  readonly activeEntitiesMax: number;
}

export class Activation {
  readonly #options: ActivationOptions;
  readonly #active = new Map<string, Entity>();
  readonly #decoder = new EntryDecoder();
  #changed: Entity[] = [];

  constructor(options: ActivationOptions) {
    this.#options = options;
  }

  get activeCount(): number {
    return this.#active.size;
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

  /** Entries of an entity from a sequence on, as they lie in the log, each once. */
  *extentsForward(entity: Entity, fromSeq: number): Generator<{ firstSeq: number; count: number; position: number }> {
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
  *extentsBackward(entity: Entity, fromSeq: number): Generator<{ firstSeq: number; count: number; position: number }> {
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
   * Recovery: takes in an entry of the log's tail. What the partition already has is passed over: a checkpoint that was
   * cut short leaves heads newer than the position it covers.
   */
  recover(id: string, firstSeq: number, count: number, position: number, time: number): void {
    const entity = this.activate(id);
    if (firstSeq <= entity.seq) return;
    invariant(firstSeq === entity.seq + 1, "P1/no-gap", { entity: id, firstSeq, seq: entity.seq, position });
    this.extend(entity, count, position, time);
  }

  /** Moves an entity on by one log entry. */
  extend(entity: Entity, count: number, position: number, time: number): void {
    if (entity.newExtents.length === 0) this.#changed.push(entity);
    entity.newExtents.push(entity.seq + 1, count, position);
    entity.seq += count;
    entity.position = position;
    entity.time = time;
  }

  get changedCount(): number {
    return this.#changed.length;
  }

  /** Entities that changed since this was last called, each once. */
  takeChanged(): Entity[] {
    const changed = this.#changed;
    this.#changed = [];
    return changed;
  }

  /** Lets go of entities that memory need not hold, those not used for longest first (second chance). */
  passivate(): void {
    let excess = this.#active.size - this.#options.activeEntitiesMax;
    for (const [id, entity] of excess > 0 ? this.#active : []) {
      if (excess <= 0) break;
      if (entity.dirty || entity.awaitsCheckpoint) continue;
      this.#active.delete(id);
      if (entity.touched) {
        entity.touched = false;
        this.#active.set(id, entity);
      } else excess--;
    }
  }

  #add(entity: Entity): Entity {
    this.#active.set(entity.id, entity);
    return entity;
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
    const { domain, readEntry } = this.#options;
    const states: unknown[] = [];
    const covered: number[] = [];
    try {
      for (const aggregate of domain.aggregates.values()) {
        states[aggregate.index] = aggregate.initial();
        covered[aggregate.index] = 0;
      }
      if (entity.seq > 0) this.#applySnapshots(entity, states, covered);
      const from = Math.min(...covered) + 1;
      if (from <= entity.seq) {
        for (const extent of this.extentsForward(entity, from)) {
          this.#decoder.foldInto(states, readEntry(extent.position), domain, covered);
        }
      }
    } catch (thrown) {
      throw asDomainFailure(thrown, () => `the replay of ${entity.id}`);
    }
    for (const state of states) freeze(state);
    return states;
  }

  // A snapshot of another fold version is stale, one that does not decode is damaged: the log has everything.
  #applySnapshots(entity: Entity, states: unknown[], covered: number[]): void {
    for (const snapshot of this.#options.partition.snapshots(entity.id)) {
      const aggregate = this.#options.domain.aggregates.get(snapshot.aggregate);
      if (aggregate === undefined || snapshot.foldVersion !== aggregate.version || snapshot.seq > entity.seq) continue;
      try {
        states[aggregate.index] = decodeValue(snapshot.state);
        covered[aggregate.index] = snapshot.seq;
      } catch {
        // Falls back to folding the whole log.
      }
    }
  }
}
