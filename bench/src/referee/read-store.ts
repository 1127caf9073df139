// Refolds a stopped store from its segments, with nothing of the node's between the disk and the figures.
//
// Owns what can be judged without knowing what clients were told: checksums of records and entries, sequences without
// gaps from 1, every event known to the domain and within its schema, every rule after every event (P1, P3, P5), and the
// folded balance against the sum of amounts. Of a saga: that its sequences have no gap, and how it ended. What shards note
// about transactions under way belongs to no history and is passed over. One pass, oldest first; memory grows with
// entities, not with events.
// Not promised: anything about the partition. What a node answers after a restart is compared by the restart scenario.
import fs from "node:fs";
import path from "node:path";
import type { CompiledAggregate, CompiledContext } from "@heddle/domain/internal";
import { besideFlags, type EntryView, entryChecksumHolds, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { systemKinds } from "@heddle/kernel";
import { EntryDecoder } from "@heddle/shard/internal";
import { placeOf } from "../load/book.ts";
import type { StoreContents, StoredEntity, StoredSagas } from "./judge.ts";

export interface StoreReading extends StoreContents {
  readonly logFolders: number;
  readonly logBytes: number;
  readonly records: number;
  /** Bytes after the last good record: only a store whose node was killed may have some. */
  readonly tornBytes: number;
}

const objectionsMax = 1_000;

/** Errors: none for a damaged store, which is an objection; whatever the disk throws otherwise. */
export function readStore(data: string, domain: CompiledContext): StoreReading {
  const folders = findLogFolders(data);
  const entities = new Map<string, EntityFold>();
  const sagas = new Map<string, SagaFold>();
  const objections: string[] = [];
  const object = (problem: string) => {
    if (objections.length < objectionsMax) objections.push(problem);
  };
  let logBytes = 0;
  let records = 0;
  let tornBytes = 0;
  for (const folder of folders) {
    const name = path.relative(data, folder);
    const fold = new LogFold(domain, entities, sagas, (problem) => object(`${name}: ${problem}`));
    try {
      const reader = new LogReader(nodeDisk, folder);
      try {
        const scan = reader.scan(0, (entry) => fold.entry(entry));
        logBytes += reader.end;
        records += scan.records;
        tornBytes += reader.end - scan.end;
      } finally {
        reader.close();
      }
    } catch (error) {
      object(`${name}: ${(error as Error).message}`);
    }
  }
  if (folders.length === 0) object(`there is no event log below ${data}`);
  const contents = { entities, objections, sagas: endsOf(sagas) };
  return { ...contents, logFolders: folders.length, logBytes, records, tornBytes };
}

/** The last event of a saga, and the end that it tells of. A stuck one has not ended: it waits for an operator. */
const sagaEnds: Readonly<Record<string, string>> = { Committed: "COMMITTED", Compensated: "COMPENSATED" };
const examplesMax = 5;

function endsOf(sagas: ReadonlyMap<string, SagaFold>): StoredSagas {
  const ends: Record<string, number> = {};
  const unfinished: string[] = [];
  for (const [saga, { lastType }] of sagas) {
    const end = sagaEnds[lastType];
    if (end === undefined) unfinished.push(saga);
    else ends[end] = (ends[end] ?? 0) + 1;
  }
  return { ends, unfinished: unfinished.length, unfinishedExamples: unfinished.slice(0, examplesMax) };
}

/** Folders that hold segments, in order of their names: one for each shard. */
export function findLogFolders(data: string): string[] {
  const names = fs.readdirSync(data, { recursive: true, encoding: "utf8" });
  const segments = names.filter((name) => /(^|\/)\d{16}\.log$/.test(name));
  return [...new Set(segments.map((name) => path.join(data, path.dirname(name))))].sort();
}

const sagaPrefix = `${systemKinds.saga}/`;

class EntityFold implements StoredEntity {
  readonly entity: string;
  readonly log: LogFold;
  calls = 0;
  events = 0;
  credited = 0;
  debited = 0;
  lastSeq = 0;
  places = 0;
  readonly states: unknown[];

  constructor(entity: string, log: LogFold, domain: CompiledContext) {
    this.entity = entity;
    this.log = log;
    this.states = domain.aggregateNames.map((name) => domain.aggregates.get(name)!.initial());
  }
}

interface SagaFold {
  lastSeq: number;
  lastType: string;
}

class LogFold {
  readonly #domain: CompiledContext;
  readonly #entities: Map<string, EntityFold>;
  readonly #sagas: Map<string, SagaFold>;
  readonly #object: (problem: string) => void;
  readonly #decoder = new EntryDecoder();

  constructor(
    domain: CompiledContext,
    entities: Map<string, EntityFold>,
    sagas: Map<string, SagaFold>,
    object: (problem: string) => void,
  ) {
    this.#domain = domain;
    this.#entities = entities;
    this.#sagas = sagas;
    this.#object = object;
  }

  entry(entry: EntryView): void {
    if (!entryChecksumHolds(entry)) {
      this.#object(`position ${entry.position}: the entry's checksum does not match`);
      return;
    }
    if ((entry.flags & besideFlags) !== 0) return;
    const view = this.#decoder.open(entry);
    if (view.entity.startsWith(sagaPrefix)) {
      this.#foldSaga(view.entity, entry);
      return;
    }
    let entity = this.#entities.get(view.entity);
    if (entity === undefined) {
      entity = new EntityFold(view.entity, this, this.#domain);
      this.#entities.set(view.entity, entity);
    }
    if (entity.log !== this) this.#object(`${view.entity} is in the log of another shard too`);
    if (entry.firstSeq !== entity.lastSeq + 1) {
      this.#object(`${view.entity}: sequence ${entry.firstSeq} follows ${entity.lastSeq}`);
    }
    entity.lastSeq = entry.firstSeq + entry.eventCount - 1;
    const aggregate = this.#domain.aggregates.get(view.aggregate);
    if (aggregate === undefined) {
      this.#object(`${view.entity}: the domain has no aggregate ${JSON.stringify(view.aggregate)}`);
      return;
    }
    this.#fold(entity, aggregate, entry);
  }

  #foldSaga(entity: string, entry: EntryView): void {
    const { types, typeIndexes } = this.#decoder.view;
    const last = typeIndexes === 0 ? 0 : entry.bytes[typeIndexes + entry.eventCount - 1]!;
    const saga = this.#sagas.get(entity) ?? { lastSeq: 0, lastType: "" };
    if (saga.lastSeq === 0) this.#sagas.set(entity, saga);
    if (entry.firstSeq !== saga.lastSeq + 1) {
      this.#object(`${entity}: sequence ${entry.firstSeq} follows ${saga.lastSeq}`);
    }
    saga.lastSeq = entry.firstSeq + entry.eventCount - 1;
    saga.lastType = types[last]!;
  }

  // Entries of an unknown type or with too few payloads end their entity's fold; the totals then tell the judge as well.
  #fold(entity: EntityFold, aggregate: CompiledAggregate, entry: EntryView): void {
    const { view } = this.#decoder;
    const at = `${entity.entity}, sequence ${entry.firstSeq}`;
    const totals = { events: 0, credited: 0, debited: 0 };
    let state = entity.states[aggregate.index];
    try {
      const payloads = this.#decoder.payloads(entry);
      for (let i = 0; i < payloads.length; i++) {
        const type = view.types[view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + i]!]!;
        const event = aggregate.events.get(type);
        if (event === undefined) throw new Error(`${aggregate.name} has no event ${JSON.stringify(type)}`);
        const payload = payloads[i] as { readonly amount: number };
        state = event.fold(state, payload);
        const broken = aggregate.brokenInvariant(state);
        if (broken !== undefined) this.#object(`${at}: the rule ${JSON.stringify(broken)} does not hold`);
        if (type === "Credited") totals.credited += payload.amount;
        else if (type === "Debited") totals.debited += payload.amount;
        totals.events++;
      }
    } catch (error) {
      this.#object(`${at}: ${(error as Error).message}`);
    }
    entity.states[aggregate.index] = state;
    entity.calls++;
    entity.events += totals.events;
    entity.credited += totals.credited;
    entity.debited += totals.debited;
    entity.places = (entity.places + placeOf(entry.firstSeq, totals)) >>> 0;
    const { balance } = state as { readonly balance: number };
    if (balance !== entity.credited - entity.debited) {
      this.#object(`${at}: the folded balance ${balance} is not the sum ${entity.credited - entity.debited}`);
    }
  }
}
