// Alarms: which entities want to be woken, and when.
//
// A kind of Heddle's own entities may have an alarm: a time, made from the entity's state (`AlarmSource`). Checkpoints write it
// into the partition's index; of what changed since then memory knows better. So a shard knows after every start who wanted
// something, without looking at anybody else.
//
// L1. An alarm is a function of the entity's state: there is nothing to be kept in step, and a rebuilt index has the same.
// L2. Memory holds alarms of entities that no checkpoint has written yet, and those that are due: whatever their number.
// L3. When the shard opens, and after it has recovered in place, every entity with an alarm is named again.
// Not promised: that an entity is named only once. Whoever is told knows what it works on already.
import type { CompiledContext } from "@heddle/domain/internal";
import { isSystemEntity } from "@heddle/kernel";
import type { AlarmRecord } from "@heddle/partition/internal";
import type { Activation } from "./activation.ts";
import type { AlarmSource } from "./alarm-source.ts";
import { messageOf } from "./decoding.ts";
import type { Entity } from "./entity.ts";
import type { ShardOptions } from "./shard-options.ts";
import { compareAlarms, TimedAlarms } from "./timed-alarms.ts";

export interface AlarmListQuery {
  /** Inclusive. Default 0. */
  readonly from?: number;
  /** Exclusive. Default: no end. */
  readonly to?: number;
  /** Only what comes behind this one. */
  readonly after?: AlarmRecord | undefined;
  readonly limit: number;
}

/** What others on the thread may ask about a shard's alarms. */
export interface ShardAlarms {
  /** By time, then by entity. Alarms of what is decided and not yet durable are among them. */
  list(kind: string, query: AlarmListQuery): AlarmRecord[];
  /** There is room again for alarms of a timed kind. */
  ring(kind: string): void;
  /** One of a timed kind that rang and could not be taken, for the clock was set back: it rings again when its time has come. */
  putBack(kind: string, entity: string, due: number): void;
  /** The state that an entity's alarm is made from; undefined for one that was never written, or is erased. */
  stateOf(kind: string, entity: string): unknown;
  /** Entities of a timed kind that have an alarm. */
  count(kind: string): number;
  /** Those whose alarm has come, and has not rung. */
  countDue(kind: string): number;
  /** No alarm that has not rung comes before this time. */
  nextDue(kind: string): number;
}

interface Kind {
  readonly name: string;
  readonly prefix: string;
  readonly source: AlarmSource;
  /** Of its aggregate. */
  readonly index: number;
  readonly timed: TimedAlarms | undefined;
}

/** Entities looked at in one turn: a millisecond or two. */
const sliceEntities = 200;
/** Rows of the index that are read at a time. */
const pageAlarms = 500;

export class Alarms implements ShardAlarms {
  readonly #shard: ShardOptions;
  readonly #activation: Activation;
  readonly #kinds: readonly Kind[];
  /** By aggregate index. */
  readonly #byAggregate: (Kind | undefined)[] = [];
  #running = false;
  /** The first look at the entities that no checkpoint has written; undefined before it begins. */
  #opening: "under way" | "done" | undefined;

  constructor(shard: ShardOptions, activation: Activation) {
    this.#shard = shard;
    this.#activation = activation;
    this.#kinds = [...(shard.alarms ?? [])].map(([name, source]) => this.#kindOf(name, source, shard.domain));
    for (const kind of this.#kinds) this.#byAggregate[kind.index] = kind;
  }

  /** The shard is open: alarms may be rung. */
  start(): void {
    this.#running = true;
    if (this.#kinds.length === 0) return;
    if (this.#opening === "done") this.#startTimed();
    else if (this.#opening === undefined) {
      this.#opening = "under way";
      for (const { timed } of this.#kinds) timed?.countStored();
      const tail: string[] = [];
      for (const { id } of this.#activation.changed()) if (this.#kindOfEntity(id) !== undefined) tail.push(id);
      this.#shard.schedule(() => this.#lookAtTail(tail, 0), 0);
    }
  }

  /** Nothing is rung until the next start. */
  stop(): void {
    this.#running = false;
    for (const { timed } of this.#kinds) timed?.stop();
  }

  tick(): void {
    for (const { timed } of this.#kinds) timed?.tick();
  }

  /** An entity of Heddle's own has another state now; undefined for one that was erased. Returns its alarm. */
  changed(entity: Entity, aggregate: number, state: unknown): number | undefined {
    const kind = this.#byAggregate[aggregate];
    const due = state === undefined ? undefined : kind?.source.alarmOf(state);
    kind?.timed?.changed(entity.id, due, entity.storedAlarm);
    return due;
  }

  /** An entity was erased. */
  erased(entity: Entity): void {
    const kind = this.#kindOfEntity(entity.id);
    if (kind !== undefined) this.changed(entity, kind.index, undefined);
  }

  /**
   * To be called before an entity is kept for a checkpoint as it stands: its state is what its alarm is made from, and nobody
   * may have asked for it since it was recovered. Errors: as `Activation.statesOf`.
   */
  beforeCut(entity: Entity): void {
    if (entity.states !== undefined || entity.isErased || entity.isOver) return;
    if (this.#kindOfEntity(entity.id) === undefined) return;
    this.#activation.statesOf(entity);
  }

  /** The alarm that a checkpoint writes. `states` are undefined for an erased entity. */
  of(entity: Entity, states: readonly unknown[] | undefined): number | undefined {
    if (states === undefined || !isSystemEntity(entity.id)) return undefined;
    const kind = this.#kindOfEntity(entity.id);
    return kind?.source.alarmOf(states[kind.index]);
  }

  /** The partition has an entity as it stands. */
  saved(entity: Entity): void {
    this.#kindOfEntity(entity.id)?.timed?.saved(entity.id);
  }

  list(name: string, query: AlarmListQuery): AlarmRecord[] {
    const { from = 0, to = 2 ** 48, limit } = query;
    const changed = this.#changedOf(name);
    const found: AlarmRecord[] = [];
    for (const [entity, due] of changed) {
      if (due === undefined || due < from || due >= to) continue;
      const alarm = { entity, due };
      if (query.after === undefined || compareAlarms(alarm, query.after) > 0) found.push(alarm);
    }
    let stored = 0;
    for (let after = query.after; stored < limit; ) {
      const page = this.#shard.partition.alarms({ kind: name, from, to, after, limit: pageAlarms });
      for (const alarm of page) {
        if (changed.has(alarm.entity)) continue;
        found.push(alarm);
        stored++;
      }
      if (page.length < pageAlarms) break;
      after = page[page.length - 1];
    }
    return found.sort(compareAlarms).slice(0, limit);
  }

  ring(name: string): void {
    this.#timedOf(name)?.ring();
  }

  putBack(name: string, entity: string, due: number): void {
    this.#timedOf(name)?.putBack(entity, due);
  }

  stateOf(name: string, id: string): unknown {
    const kind = this.#kinds.find((one) => one.name === name);
    return kind === undefined ? undefined : this.#stateOf(kind.index, id);
  }

  count(name: string): number {
    return this.#timedOf(name)?.count ?? 0;
  }

  countDue(name: string): number {
    return this.#timedOf(name)?.countDue() ?? 0;
  }

  nextDue(name: string): number {
    return this.#timedOf(name)?.nextDue ?? Number.POSITIVE_INFINITY;
  }

  #stateOf(aggregate: number, id: string): unknown {
    const entity = this.#activation.find(id);
    if (entity === undefined || entity.seq === 0 || entity.isErased) return undefined;
    return this.#activation.statesOf(entity)[aggregate];
  }

  #timedOf(name: string): TimedAlarms | undefined {
    return this.#kinds.find((kind) => kind.name === name)?.timed;
  }

  #kindOf(name: string, source: AlarmSource, domain: CompiledContext): Kind {
    const { index } = domain.aggregates.get(source.aggregate)!;
    const { partition, clock, schedule } = this.#shard;
    const timed = source.timed
      ? new TimedAlarms({
          now: () => clock.now(),
          count: (query) => partition.countAlarms({ kind: name, ...query }),
          page: (query) => partition.alarms({ kind: name, ...query }),
          room: () => source.room?.() ?? Number.POSITIVE_INFINITY,
          ring: (entity, due) => this.#ring(source, index, entity, due),
          schedule,
        })
      : undefined;
    return { name, prefix: `${name}/`, source, index, timed };
  }

  #kindOfEntity(id: string): Kind | undefined {
    if (!isSystemEntity(id)) return undefined;
    for (const kind of this.#kinds) if (id.startsWith(kind.prefix)) return kind;
    return undefined;
  }

  // Alarms of entities that the partition does not have as they are.
  #changedOf(name: string): Map<string, number | undefined> {
    const changed = new Map<string, number | undefined>();
    const kind = this.#kinds.find((one) => one.name === name);
    if (kind === undefined) return changed;
    for (const entity of this.#activation.changed()) {
      if (!entity.id.startsWith(kind.prefix) || changed.has(entity.id)) continue;
      changed.set(entity.id, this.#alarmNow(entity, kind));
    }
    return changed;
  }

  #alarmNow(entity: Entity, { source, index }: Kind): number | undefined {
    if (entity.seq === 0 || entity.isErased || entity.isOver) return undefined;
    return source.alarmOf(this.#activation.statesOf(entity)[index]);
  }

  // What the log's tail brought comes first: the index is wrong about those.
  #lookAtTail(tail: readonly string[], from: number): void {
    if (!this.#running) {
      this.#opening = undefined;
      return;
    }
    const end = Math.min(tail.length, from + sliceEntities);
    for (let i = from; i < end; i++) {
      this.#attempt(tail[i]!, (id, kind) => {
        const entity = this.#activation.find(id);
        if (entity === undefined) return;
        const due = this.#alarmNow(entity, kind);
        if (kind.timed !== undefined) kind.timed.changed(id, due, entity.storedAlarm);
        else if (due !== undefined) kind.source.onOpen?.(id, due);
      });
    }
    if (end < tail.length) {
      this.#shard.schedule(() => this.#lookAtTail(tail, end), 0);
      return;
    }
    this.#startTimed();
    const untimed = this.#kinds.filter(({ source }) => source.onOpen !== undefined && !source.timed);
    this.#lookAtIndex(untimed, undefined);
  }

  #lookAtIndex([kind, ...others]: readonly Kind[], after: AlarmRecord | undefined): void {
    if (!this.#running) {
      this.#opening = undefined;
      return;
    }
    if (kind === undefined) {
      this.#opening = "done";
      return;
    }
    const page = this.#shard.partition.alarms({ kind: kind.name, after, limit: sliceEntities });
    for (const { entity, due } of page) {
      // It was among the tail's, or has begun or gone on since.
      if (this.#activation.isChanged(entity)) continue;
      this.#attempt(entity, (id, { source }) => source.onOpen?.(id, due));
    }
    const isLast = page.length < sliceEntities;
    const next = isLast ? others : [kind, ...others];
    this.#shard.schedule(() => this.#lookAtIndex(next, isLast ? undefined : page[page.length - 1]), 0);
  }

  #startTimed(): void {
    for (const { timed } of this.#kinds) timed?.start();
  }

  #ring(source: AlarmSource, aggregate: number, entity: string, due: number): void {
    try {
      const state = this.#stateOf(aggregate, entity);
      if (state !== undefined) source.onAlarm?.(entity, due, state);
    } catch (thrown) {
      this.#passOver(entity, thrown);
    }
  }

  // One entity that cannot be read concerns nobody else's alarms.
  #attempt(id: string, look: (id: string, kind: Kind) => void): void {
    try {
      look(id, this.#kindOfEntity(id)!);
    } catch (thrown) {
      this.#passOver(id, thrown);
    }
  }

  #passOver(entity: string, thrown: unknown): void {
    const { shard, report } = this.#shard;
    report("error", "an entity's alarm is passed over", { shard, entity, error: messageOf(thrown) });
  }
}
