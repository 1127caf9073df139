// SliceRefold: what an audit knows of the entities of one slice, and the rules that an entry is held against as it comes by.
//
// Each entry is checked by itself (whole, in its shard, erased as it should be), in its entity's row (sequence, time, ids,
// chain), by the domain module (refold.ts), and against the partition (audit-partition.ts).
import { describeThrown } from "@heddle/domain/internal";
import {
  type EntryView,
  entityOfEntry,
  entryChecksumHolds,
  entryFlags,
  idDigestOfErased,
  type LogReader,
  resetFlags,
} from "@heddle/event-log/internal";
import { type EntityId, isHeddleError, isSystemEntity, parseAnyEntityId, shardOf, systemKinds } from "@heddle/kernel";
import { erasedIdName, erasedIdNameOfDigest, type TypeCount } from "@heddle/partition/internal";
import { readU16, systemAggregate } from "@heddle/protocol/internal";
import type { SagaFacts } from "@heddle/saga/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import type { PartitionCheck } from "./audit-partition.ts";
import type { AuditProblem, AuditRule, ProblemList } from "./audit-problems.ts";
import { SagaSlice, type SliceSagas } from "./audit-sagas.ts";
import { chainAfter, noChain } from "./entity-chain.ts";
import { EntityIndex, ofAnotherSlice } from "./entity-index.ts";
import { openLogReader } from "./existing-folder.ts";
import { Refold, type RefoldFault, type RefoldListener, type RefusedPayload, unfoldable } from "./refold.ts";
import { type Place, RefoldedEntity } from "./refolded-entity.ts";
import { SessionCalls } from "./session-calls.ts";
import type { AuditSliceOptions, RefusedPayloads, SliceAudit } from "./slice-audit.ts";
import { TypeCounts } from "./type-counts.ts";

export class SliceRefold implements RefoldListener {
  readonly entities: EntityIndex<RefoldedEntity>;
  readonly calls = new SessionCalls();
  readonly #options: AuditSliceOptions;
  readonly #problems: ProblemList;
  readonly #partition: PartitionCheck | undefined;
  readonly #decoder: EntryDecoder;
  readonly #refold: Refold;
  readonly #refused = new Map<string, { count: number; readonly problems: AuditProblem[] }>();
  readonly #counts = new TypeCounts();
  readonly #sagas = new SagaSlice();
  readonly #pending: Set<string>;
  #countsHold = true;
  #entries = 0;
  #events = 0;
  // Of the entry at hand.
  #id = "";
  #position = 0;

  constructor(options: AuditSliceOptions, problems: ProblemList, partition: PartitionCheck | undefined) {
    this.#options = options;
    this.#problems = problems;
    this.#partition = partition;
    this.entities = new EntityIndex(options, (id) => this.#begin(id));
    this.#decoder = new EntryDecoder(this.entities.texts);
    this.#pending = new Set(partition?.pendingErasures);
    this.#refold = new Refold({ domain: options.domain, listener: this, validate: true });
  }

  counts(): Pick<SliceAudit, "entities" | "aggregates" | "erased" | "pendingErasures" | "entries" | "events"> {
    let entities = 0;
    let aggregates = 0;
    let erased = 0;
    for (const { id, states, baseSeq, seq } of this.entities) {
      if (isSystemEntity(id)) continue;
      entities++;
      if (baseSeq === seq) erased++;
      for (const state of states) if (state !== undefined) aggregates++;
    }
    return {
      entities,
      aggregates,
      erased,
      pendingErasures: this.#pending.size,
      entries: this.#entries,
      events: this.#events,
    };
  }

  sagas(): SliceSagas {
    const index = this.#options.domain.aggregates.get(systemKinds.saga)?.index;
    for (const { id, states } of index === undefined ? [] : this.entities) {
      const state = id.startsWith(sagaPrefix) ? states[index!] : undefined;
      if (state !== undefined && state !== unfoldable) this.#sagas.onSaga(id, state as SagaFacts);
    }
    return this.#sagas.result();
  }

  types(): { refused: RefusedPayloads[]; taken: string[] } {
    return {
      refused: Array.from(this.#refused, ([name, { count, problems }]) => ({ name, count, problems })),
      taken: Array.from(this.#refold.types())
        .filter(({ taken }) => taken)
        .map(({ name }) => name),
    };
  }

  typeCounts(): readonly TypeCount[] | undefined {
    return this.#countsHold ? [...this.#counts.rows()] : undefined;
  }

  /** An entry that belongs to no history. Of these, a transaction's decision is a call of some session. */
  onBeside(entry: EntryView): void {
    const { slice, slices } = this.#options;
    const isCall = (entry.flags & entryFlags.journal) !== 0 && entry.session !== 0;
    if (isCall && entry.session % slices === slice) this.#checkCall(entry);
    this.#partition?.onBeside(entry);
  }

  onEntry(entry: EntryView): void {
    const { slice, slices, domain } = this.#options;
    // Session 0 is nobody's: calls that no client numbered.
    if (entry.session !== 0 && entry.session % slices === slice) this.#checkCall(entry);
    const known = this.entities.find(entry);
    if (known === ofAnotherSlice) return;
    this.#entries++;
    this.#position = entry.position;
    const isErased = (entry.flags & entryFlags.erased) !== 0;
    const id = isErased ? this.#openErased(entry) : this.#open(entry);
    if (id === undefined) return;
    this.#id = id;
    if (!entryChecksumHolds(entry)) {
      this.#say("log/entry-checksum", entry.firstSeq, "another checksum", "the checksum of its bytes");
    }
    const entity = known ?? this.entities.take(id);
    this.#checkPlace(entity, entry);
    const appendId = this.#addId(entity, entry, isErased);
    if (appendId !== "") this.#sagas.onId(id, appendId, isErased);
    this.#checkErasure(entity, entry, isErased);
    entity.chain = isErased || entity.chain === undefined ? undefined : chainAfter(entity.chain, entry);
    this.#refold.apply(entity, entry, this.#decoder);
    if (!isErased && (entry.flags & resetFlags) === 0 && entry.position < this.#options.countedTo) {
      this.#counts.addEntry(entry, this.#decoder.view);
    }
    this.#events += entry.eventCount;
    entity.seq = entry.firstSeq + entry.eventCount - 1;
    entity.time = Math.max(entity.time, entry.time);
    this.#partition?.onEntry(entity, entry, appendId, domain);
  }

  /** The end of the log: entries that were erased though nothing says that their entity was. */
  finish(logEnd: number): void {
    const suspects = new Map<string, Place>();
    for (const { id, firstErased } of this.entities) {
      if (firstErased !== undefined) suspects.set(id, firstErased);
    }
    if (suspects.size === 0) return;
    this.#countsHold = false;
    this.#dropErasedSince(suspects, logEnd);
    for (const [entity, { seq, position }] of suspects) {
      const found = "an erased entry with no tombstone behind it";
      this.#problems.add("entity/erased", { entity, seq, position, found, wanted: "an entry as it was written" });
    }
  }

  onFault({ rule, seq, found, wanted }: RefoldFault): void {
    this.#say(rule, seq, found, wanted);
  }

  onRefused({ type, fault }: RefusedPayload): void {
    let refused = this.#refused.get(type.name);
    if (refused === undefined) {
      refused = { count: 0, problems: [] };
      this.#refused.set(type.name, refused);
    }
    refused.count++;
    if (refused.problems.length >= this.#options.problemsMax) return;
    const { rule, seq, found, wanted } = fault;
    const { shard } = this.#options;
    refused.problems.push({ shard, rule, entity: this.#id, seq, position: this.#position, found, wanted });
  }

  #open(entry: EntryView): string | undefined {
    const { firstSeq } = entry;
    try {
      const view = this.#decoder.open(entry);
      this.#id = view.entity;
      const say = (found: string, wanted: string) => this.#say("log/entry-whole", firstSeq, found, wanted);
      if (view.eventCount !== entry.eventCount) {
        say(`${entry.eventCount} events in its header, ${view.eventCount} in its body`, "the same count");
      }
      const offset = view.payloadsFrom - entry.bodyFrom;
      if (offset !== entry.payloadsOffset) say(`payloads at offset ${entry.payloadsOffset}`, `offset ${offset}`);
      if ((view.aggregate === systemAggregate) !== ((entry.flags & resetFlags) !== 0)) {
        say(
          `the aggregate ${view.aggregate} in an entry with flags ${entry.flags}`,
          "system events in entries of theirs",
        );
      }
      return view.entity;
    } catch (error) {
      const facts = { seq: firstSeq, position: entry.position, found: describeThrown(error) };
      this.#problems.add("log/entry-whole", { ...facts, wanted: "the body of an append" });
      return undefined;
    }
  }

  #openErased(entry: EntryView): string {
    this.#id = entityOfEntry(entry);
    const { bytes, bodyFrom, bodyTo, firstSeq } = entry;
    const digest = idDigestOfErased(entry);
    const from = bodyFrom + 2 + readU16(bytes, bodyFrom) + (digest === undefined ? 0 : 1 + digest.length);
    for (let i = from; i < bodyTo; i++) {
      if (bytes[i] === 0) continue;
      this.#say("entity/erased", firstSeq, `a byte that is not zero, ${i - bodyFrom} bytes into its body`, "zeros");
      break;
    }
    if (entry.fingerprint !== 0 || entry.payloadsOffset !== 0) {
      this.#say("entity/erased", firstSeq, "a fingerprint or an offset in an erased entry", "zeros");
    }
    return this.#id;
  }

  #begin(id: string): RefoldedEntity {
    const { shard, shardCount } = this.#options;
    const idProblem = anyEntityIdProblem(id);
    if (idProblem !== undefined) {
      this.#say("log/entry-whole", 1, `the entity id ${JSON.stringify(id)}: ${idProblem}`, "kind/name");
    }
    const owner = shardOf(id as EntityId, shardCount);
    if (owner !== shard) {
      this.#say("entity/in-its-shard", 1, `shard ${shard}`, `shard ${owner} of ${shardCount}`);
    }
    return new RefoldedEntity(id);
  }

  #checkPlace(entity: RefoldedEntity, { firstSeq, time }: EntryView): void {
    if (firstSeq !== entity.seq + 1) {
      this.#say("entity/sequence", firstSeq, `sequence ${firstSeq}`, `sequence ${entity.seq + 1}`);
    }
    if (time < entity.time) this.#say("entity/time", firstSeq, `time ${time}`, `${entity.time} or later`);
  }

  /** Takes in the entry's append id and returns its name in the partition, "" if it has none. */
  #addId(entity: RefoldedEntity, entry: EntryView, isErased: boolean): string {
    if (isErased) {
      const digest = idDigestOfErased(entry);
      if (digest === undefined) return "";
      entity.erasedIds ??= new Set();
      return this.#addName(entity.erasedIds, erasedIdNameOfDigest(digest), entry);
    }
    const { id } = this.#decoder.view;
    if (id === "") return "";
    if (entity.erasedIds?.has(erasedIdName(this.#id, id)) === true) this.#sayTwice(id, entry);
    entity.ids ??= new Set();
    return this.#addName(entity.ids, id, entry);
  }

  #addName(names: Set<string>, name: string, entry: EntryView): string {
    const { size } = names;
    if (names.add(name).size === size) this.#sayTwice(name, entry);
    return name;
  }

  #sayTwice(id: string, { firstSeq }: EntryView): void {
    const found = `the id ${JSON.stringify(id)} again`;
    this.#say("entity/append-id-once", firstSeq, found, "an id that this entity has not seen");
  }

  // P6: a tombstone leaves nothing before it; until the node has overwritten it all, that is under way and no fault.
  #checkErasure(entity: RefoldedEntity, { flags, firstSeq: seq, position }: EntryView, isErased: boolean): void {
    if ((flags & entryFlags.tombstone) === 0) {
      if (isErased) entity.firstErased ??= { seq, position };
      else entity.firstWhole ??= { seq, position };
      return;
    }
    const { firstWhole } = entity;
    const isUnderWay = this.#partition?.isErasureUnderWay(this.#id, position) ?? true;
    if (position >= this.#options.countedTo || firstWhole !== undefined) this.#countsHold = false;
    if (firstWhole !== undefined) {
      if (isUnderWay) this.#pending.add(this.#id);
      else {
        const found = `the payloads of sequence ${firstWhole.seq}, at position ${firstWhole.position}`;
        this.#say("entity/erased", seq, found, "erased entries before a tombstone");
      }
    }
    entity.baseSeq = seq;
    entity.basePosition = position;
    entity.chain = noChain;
    entity.firstErased = undefined;
    entity.firstWhole = undefined;
    // From here on the digest of an id of the life before stands for it, too.
    if (entity.ids === undefined) return;
    entity.erasedIds ??= new Set();
    for (const id of entity.ids) entity.erasedIds.add(erasedIdName(this.#id, id));
  }

  // Beside a running node a tombstone may stand beyond the end that the log had, and what is before it go meanwhile.
  #dropErasedSince(suspects: Map<string, Place>, logEnd: number): void {
    let log: LogReader | undefined;
    try {
      log = openLogReader(this.#options.data, this.#options.shard);
      if (log.end <= logEnd) return;
      log.scan(logEnd, (entry) => {
        if ((entry.flags & entryFlags.tombstone) !== 0) suspects.delete(entityOfEntry(entry));
      });
    } catch (error) {
      if (!isHeddleError(error, "LOG_DAMAGED")) throw error;
    } finally {
      log?.close();
    }
  }

  #checkCall(entry: EntryView): void {
    if (this.calls.add(entry.session, entry.call, entry.time)) return;
    this.#problems.add("session/call-once", {
      entity: entityOfEntry(entry),
      seq: entry.firstSeq,
      position: entry.position,
      found: `call ${entry.call} of session ${entry.session} again`,
      wanted: "each call once",
    });
  }

  #say(rule: AuditRule, seq: number, found: string, wanted: string): void {
    this.#problems.add(rule, { entity: this.#id, seq, position: this.#position, found, wanted });
  }
}

const sagaPrefix = `${systemKinds.saga}/`;

function anyEntityIdProblem(id: string): string | undefined {
  try {
    parseAnyEntityId(id);
    return undefined;
  } catch (error) {
    if (isHeddleError(error, "INVALID_ENTITY_ID")) return error.facts.problem;
    throw error;
  }
}
