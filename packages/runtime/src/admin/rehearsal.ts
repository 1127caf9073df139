// Rehearsal: the entities of one slice under the new code, and how their states compare with the present ones.
import { type CompiledAggregate, describeThrown } from "@heddle/domain/internal";
import { type EntryView, entityOfEntry, entryFlags } from "@heddle/event-log/internal";
import type { SnapshotRecord } from "@heddle/partition/internal";
import { decodeValue, encodeValue } from "@heddle/protocol/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import { EntityIndex, ofAnotherSlice } from "./entity-index.ts";
import type { PresentSnapshots } from "./present-snapshots.ts";
import {
  Refold,
  type RefoldedStates,
  type RefoldFault,
  type RefoldListener,
  type RefoldRule,
  type RefusedPayload,
  unfoldable,
} from "./refold.ts";
import type {
  EntityDifference,
  RefusedType,
  RehearsalFault,
  RehearseSliceOptions,
  SliceRehearsal,
} from "./slice-rehearsal.ts";
import { differencesOf } from "./state-differences.ts";

/** Fields of one entity that are told; all are counted. */
const fieldsToldMax = 20;

class RehearsedEntity implements RefoldedStates {
  readonly id: string;
  seq = 0;
  baseSeq = 0;
  readonly states: unknown[] = [];
  readonly broken: (string | undefined)[] = [];
  /** With the present code. */
  present: RefoldedStates | undefined = undefined;
  /** Those that the refold has not come to yet; undefined before they were looked for. */
  snapshots: readonly SnapshotRecord[] | undefined = undefined;
  /** The greatest sequence at which a state was compared. */
  comparedAt = 0;
  differs = false;
  unfoldable = false;

  constructor(id: string) {
    this.id = id;
  }
}

const silent: RefoldListener = { onFault() {}, onRefused() {} };

export class Rehearsal implements RefoldListener {
  readonly #options: RehearseSliceOptions;
  readonly #snapshots: PresentSnapshots | undefined;
  readonly #decoder: EntryDecoder;
  readonly #refold: Refold;
  readonly #presentRefold: Refold | undefined;
  readonly #entities: EntityIndex<RehearsedEntity>;
  readonly #differences: EntityDifference[] = [];
  readonly #faults: RehearsalFault[] = [];
  readonly #faultCounts = new Map<string, { rule: RefoldRule; name: string; events: number }>();
  readonly #refused = new Map<string, { events: number; unchecked: number; faults: RehearsalFault[] }>();
  #entries = 0;
  #events = 0;
  // Of the entry at hand.
  #id = "";
  #position = 0;

  constructor(options: RehearseSliceOptions, snapshots: PresentSnapshots | undefined) {
    const { domain, against } = options;
    this.#options = options;
    this.#snapshots = snapshots;
    this.#entities = new EntityIndex(options, (id) => this.#begin(id));
    this.#decoder = new EntryDecoder(this.#entities.texts);
    this.#refold = new Refold({ domain, listener: this, validate: true });
    if (against !== undefined) {
      this.#presentRefold = new Refold({ domain: against, listener: silent, validate: false });
    }
  }

  onEntry(entry: EntryView): void {
    const known = this.#entities.find(entry);
    if (known === ofAnotherSlice) return;
    this.#entries++;
    this.#events += entry.eventCount;
    this.#position = entry.position;
    const id = this.#open(entry);
    if (id === undefined) return;
    this.#id = id;
    const entity = known ?? this.#entities.take(id);
    this.#refold.apply(entity, entry, this.#decoder);
    if (entity.present !== undefined) this.#presentRefold?.apply(entity.present, entry, this.#decoder);
    entity.seq = entry.firstSeq + entry.eventCount - 1;
    if ((entry.flags & entryFlags.tombstone) !== 0) entity.baseSeq = entity.seq;
    if (entity.snapshots !== undefined && entity.snapshots.length > 0) this.#compareSnapshots(entity);
  }

  #begin(id: string): RehearsedEntity {
    const entity = new RehearsedEntity(id);
    if (this.#presentRefold !== undefined) entity.present = { states: [], broken: [] };
    else entity.snapshots = this.#snapshots?.take(id) ?? [];
    return entity;
  }

  /** The end of the log: with the present code, this is where states are compared. */
  finish(): void {
    const { domain, against } = this.#options;
    if (against === undefined) return;
    for (const entity of this.#entities) {
      if (entity.seq === entity.baseSeq) continue;
      for (const aggregate of domain.aggregates.values()) {
        const before = against.aggregates.get(aggregate.name);
        if (before === undefined) continue;
        this.#compare(entity, aggregate, asStored(stateOf(entity.present!, before)));
      }
    }
  }

  result(): Omit<SliceRehearsal, "tailBytes"> {
    const notCompared = { noSnapshot: 0, misplaced: 0, erased: 0, unfoldable: 0 };
    let compared = 0;
    let comparedEarlier = 0;
    let differing = 0;
    for (const entity of this.#entities) {
      if (entity.differs) differing++;
      if (entity.comparedAt > 0) {
        compared++;
        if (entity.comparedAt < entity.seq) comparedEarlier++;
      } else if (entity.seq === entity.baseSeq) notCompared.erased++;
      else if (entity.unfoldable) notCompared.unfoldable++;
      else if ((entity.snapshots?.length ?? 0) > 0) notCompared.misplaced++;
      else notCompared.noSnapshot++;
    }
    return {
      entities: this.#entities.size,
      entries: this.#entries,
      events: this.#events,
      compared,
      comparedEarlier,
      notCompared,
      differing,
      differences: this.#differences,
      faults: this.#faults,
      faultCounts: [...this.#faultCounts.values()],
      refused: this.#refusedTypes(),
    };
  }

  onFault(fault: RefoldFault): void {
    const key = `${fault.rule} ${fault.name}`;
    const known = this.#faultCounts.get(key);
    if (known === undefined) this.#faultCounts.set(key, { rule: fault.rule, name: fault.name, events: fault.events });
    else known.events += fault.events;
    if (this.#faults.length < this.#options.toldMax) this.#faults.push(this.#told(fault));
  }

  onRefused({ type, fault, stored, version }: RefusedPayload): void {
    let refused = this.#refused.get(type.name);
    if (refused === undefined) {
      refused = { events: 0, unchecked: 0, faults: [] };
      this.#refused.set(type.name, refused);
    }
    const atPresent = this.#takenAtPresent(type.name, stored, version);
    if (atPresent === true) this.onFault(fault);
    else if (atPresent === false) refused.unchecked++;
    else {
      refused.events++;
      if (refused.faults.length < this.#options.toldMax) refused.faults.push(this.#told(fault));
    }
  }

  // A schema that makes something else of what it takes refuses what is stored, at present as with the new code. Undefined
  // where the present code is not known.
  #takenAtPresent(name: string, stored: unknown, version: number): boolean | undefined {
    const dot = name.indexOf(".");
    const aggregate = this.#options.against?.aggregates.get(name.slice(0, dot));
    const event = aggregate?.events.get(name.slice(dot + 1));
    if (event === undefined) return undefined;
    try {
      return event.validate(event.upcast(stored, version)).issues === undefined;
    } catch {
      return false;
    }
  }

  #refusedTypes(): RefusedType[] {
    return Array.from(this.#refold.types(), ({ name, taken, transformed }) => {
      const refused = this.#refused.get(name) ?? { events: 0, unchecked: 0, faults: [] };
      return { name, taken, transformed, ...refused };
    });
  }

  #told({ rule, seq, found, wanted }: RefoldFault): RehearsalFault {
    const { shard } = this.#options;
    return { shard, rule, entity: this.#id, seq, position: this.#position, found, wanted };
  }

  #open(entry: EntryView): string | undefined {
    if ((entry.flags & entryFlags.erased) !== 0) return entityOfEntry(entry);
    try {
      return this.#decoder.open(entry).entity;
    } catch (error) {
      this.#id = "";
      this.onFault({
        rule: "log/entry-whole",
        name: "entry",
        seq: entry.firstSeq,
        events: entry.eventCount,
        found: describeThrown(error),
        wanted: "the body of an append",
      });
      return undefined;
    }
  }

  #compareSnapshots(entity: RehearsedEntity): void {
    const { seq, snapshots } = entity;
    if (!snapshots!.some((snapshot) => snapshot.seq <= seq)) return;
    for (const snapshot of snapshots!) {
      const aggregate = this.#options.domain.aggregates.get(snapshot.aggregate);
      if (snapshot.seq === seq && aggregate !== undefined) this.#compare(entity, aggregate, snapshot.state);
    }
    entity.snapshots = snapshots!.filter((snapshot) => snapshot.seq > seq);
  }

  // `present` is a state as it is stored, or undefined for one that the present code does not have.
  #compare(entity: RehearsedEntity, aggregate: CompiledAggregate, present: Uint8Array | undefined): void {
    const next = asStored(stateOf(entity, aggregate));
    if (present === undefined || next === undefined) {
      entity.unfoldable = true;
      return;
    }
    entity.comparedAt = entity.seq;
    if (Buffer.compare(present, next) === 0) return;
    const difference = differencesOf(decodeValue(present), decodeValue(next), fieldsToldMax);
    if (difference === undefined) return;
    entity.differs = true;
    if (this.#differences.length >= this.#options.toldMax) return;
    const { shard } = this.#options;
    this.#differences.push({ shard, entity: entity.id, aggregate: aggregate.name, seq: entity.seq, ...difference });
  }
}

/** An aggregate without events is in its initial state. */
function stateOf({ states }: RefoldedStates, aggregate: CompiledAggregate): unknown {
  const state = states[aggregate.index];
  return state === undefined ? aggregate.initial() : state;
}

/** The bytes of a state, so that both sides have gone the same way; undefined where there is none. */
function asStored(state: unknown): Uint8Array | undefined {
  if (state === unfoldable) return undefined;
  try {
    return encodeValue(state).slice();
  } catch {
    return undefined;
  }
}
