// PartitionCheck: holds a shard's partition against what its log says, while the log is being refolded.
//
// The partition may belong to a running node. It then moves on under the reader, but only forward, and an entity's head,
// extents and snapshots move together; so what was read of an entity first is checked as the refold comes by, and what
// lies beyond the end of the log that is being read is left alone. An entity that is erased meanwhile is read again
// before anything is said about it.
import { isDeepStrictEqual } from "node:util";
import type { CompiledContext } from "@heddle/domain/internal";
import { type EntryView, entryFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { type DetachedReader, erasedIdName, type SnapshotRecord } from "@heddle/partition/internal";
import { decodeValue, encodeValue } from "@heddle/protocol/internal";
import { isJournal, journalEntity, readJournal } from "@heddle/shard/internal";
import type { AuditRule, ProblemList } from "./audit-problems.ts";
import { chainAsHex, chainCheck } from "./entity-chain.ts";
import type { EntityIndex } from "./entity-index.ts";
import { type Slice, sliceOfEntity } from "./entity-slices.ts";
import { unfoldable } from "./refold.ts";
import type { ExpectedEntity, RefoldedEntity } from "./refolded-entity.ts";

export class PartitionCheck {
  readonly #reader: DetachedReader;
  readonly #problems: ProblemList;
  readonly #slice: Slice;
  readonly #covered: number;
  /** Entities of which log or partition may still hold what was erased, as of when the check began. */
  readonly #underWay: ReadonlySet<string>;
  /** Entities of this slice whose erasure had not ended then; some only wait for the partition's file to be scrubbed. */
  readonly pendingErasures: readonly string[];
  #coveredMet: boolean;
  /** Entities of which something could not be read, which is told once. */
  readonly #unreadable = new Set<string>();
  /** Append ids of erased entries that are not known by their digests, until the tombstone is reached. */
  readonly #idsOfErased = new Map<string, Difference[]>();
  readonly #transactionIds = new Set<string>();
  /** Of the entry at hand. */
  #found: Difference[] = [];

  /** Errors: `PARTITION_DAMAGED`. */
  constructor(reader: DetachedReader, problems: ProblemList, slice: Slice) {
    this.#reader = reader;
    this.#problems = problems;
    this.#slice = slice;
    this.#covered = reader.coveredPosition;
    this.#coveredMet = this.#covered === 0;
    const erasures = reader.erasures();
    this.#underWay = new Set(erasures.filter(({ stage }) => stage !== "scrub").map(({ entity }) => entity));
    this.pendingErasures = erasures
      .map(({ entity }) => entity)
      .filter((entity) => sliceOfEntity(entity, slice.slices) === slice.slice);
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  onRecordEnd(position: number): void {
    if (position === this.#covered) this.#coveredMet = true;
  }

  /** Whether the node may still be at taking what stands before a tombstone out of the log and the partition. */
  isErasureUnderWay(entity: string, tombstone: number): boolean {
    return tombstone >= this.#covered || this.#underWay.has(entity);
  }

  /** An entry that belongs to no history. Of these, a transaction's decision may carry an id. */
  onBeside(entry: EntryView): void {
    if (!isJournal(entry) || sliceOfEntity(journalEntity, this.#slice.slices) !== this.#slice.slice) return;
    const { id } = readJournal(entry);
    if (id === "") return;
    this.#transactionIds.add(id);
    const { position } = entry;
    if (position >= this.#covered || this.#reader.appendIdPosition(journalEntity, id) === position) return;
    const found = `no position of the transaction ${JSON.stringify(id)}, or another one`;
    this.#problems.add("partition/append-id", { position, found, wanted: `position ${position}` });
  }

  /** An entry that was just folded: `entity` stands behind it. `appendId` is its name in the partition, or "". */
  onEntry(entity: RefoldedEntity, entry: EntryView, appendId: string, domain: CompiledContext): void {
    const { id } = entity;
    if (this.#unreadable.has(id)) return;
    const covered = entry.position < this.#covered;
    try {
      entity.expected ??= this.#read(id, domain, 1);
      if (covered) entity.expected.coveredSeq = entity.seq;
      let failure = this.#compare(entity, entry, appendId, covered, domain);
      if ((failure !== undefined || this.#found.length > 0) && this.#isErasedSince(id, entity.expected)) {
        // What is said of it now begins at a later tombstone.
        entity.expected = { ...this.#read(id, domain, entry.firstSeq), coveredSeq: entity.expected.coveredSeq };
        failure = this.#compare(entity, entry, appendId, covered, domain);
      }
      for (const { rule, ...facts } of this.#found) this.#problems.add(rule, { entity: id, ...facts });
      if (failure !== undefined) throw failure;
      if ((entry.flags & entryFlags.tombstone) !== 0) this.#onTombstone(id, entry.position);
    } catch (error) {
      this.#onReadError(id, error);
    }
  }

  /** The end of the log: what the partition has and the refold never came to. */
  finish(entities: EntityIndex<RefoldedEntity>, logEnd: number): void {
    if (!this.#coveredMet && this.#slice.slice === 0) {
      if (this.#covered > logEnd) {
        const found = `a log that ends at position ${logEnd}`;
        this.#problems.add("log/reaches-checkpoint", { found, wanted: `position ${this.#covered} or beyond` });
      } else {
        const found = `position ${this.#covered}, where no record ends`;
        this.#problems.add("partition/covered", { position: this.#covered, found, wanted: "the end of a record" });
      }
    }
    for (const entity of entities) {
      if (entity.expected === undefined || this.#unreadable.has(entity.id)) continue;
      try {
        this.#finishEntity(entity, entity.expected, logEnd);
      } catch (error) {
        this.#onReadError(entity.id, error);
      }
    }
    try {
      this.#findStrangers(entities, logEnd);
    } catch (error) {
      this.#onReadError(undefined, error);
    }
  }

  // Snapshots before the head: a checkpoint in between then makes the head newer than them, never the other way round.
  #read(id: string, domain: CompiledContext, fromSeq: number): ExpectedEntity {
    const all = this.#reader.snapshots(id);
    const head = this.#reader.head(id);
    const baseSeq = head?.baseSeq ?? 0;
    const kept = all.find(({ seq }) => seq <= baseSeq);
    if (kept !== undefined) this.#sayKept(id, kept, baseSeq);
    const snapshots = all.filter(
      ({ aggregate, foldVersion, seq }) => seq > baseSeq && domain.aggregates.get(aggregate)?.version === foldVersion,
    );
    const extents = head === undefined ? undefined : this.#reader.extents(id, fromSeq, "forward");
    return { head, extents, snapshots, headMet: false, coveredSeq: 0, chainBroken: false };
  }

  // A snapshot that was read before the entity was erased says nothing, so it is read once more.
  #sayKept(entity: string, { aggregate }: SnapshotRecord, baseSeq: number): void {
    const still = this.#reader.snapshots(entity).find(({ seq }) => seq <= baseSeq);
    if (still === undefined) return;
    const found = `a snapshot of ${aggregate} at sequence ${still.seq}`;
    this.#problems.add("partition/erased", {
      entity,
      seq: still.seq,
      found,
      wanted: `nothing up to the tombstone at sequence ${baseSeq}`,
    });
  }

  #isErasedSince(id: string, { head }: ExpectedEntity): boolean {
    return (this.#reader.head(id)?.baseSeq ?? 0) > (head?.baseSeq ?? 0);
  }

  // Leaves what differs in `#found`; returns an error that the partition's reader threw.
  #compare(
    entity: RefoldedEntity,
    entry: EntryView,
    appendId: string,
    covered: boolean,
    domain: CompiledContext,
  ): HeddleError | undefined {
    const expected = entity.expected!;
    if (this.#found.length > 0) this.#found = [];
    try {
      // What lies before the last tombstone the partition has forgotten.
      if (entity.seq >= (expected.head?.baseSeq ?? 0)) {
        this.#compareExtent(expected, entity, entry, covered);
        this.#compareHead(expected, entity, entry);
      }
      this.#compareSnapshots(expected, entity, domain);
      if (covered && appendId !== "") this.#compareAppendId(entity.id, appendId, entry);
    } catch (error) {
      if (error instanceof HeddleError) return error;
      throw error;
    }
    return undefined;
  }

  #compareExtent(expected: ExpectedEntity, entity: RefoldedEntity, entry: EntryView, covered: boolean): void {
    if (expected.extents === undefined) return;
    const { firstSeq: seq, position } = entry;
    const wanted = `sequence ${seq}, ${entry.eventCount} events, position ${position}`;
    const { done, value } = expected.extents.next();
    if (done === true) {
      expected.extents = undefined;
      if (!covered && seq > (expected.head?.seq ?? 0)) return;
      this.#found.push({ rule: "partition/extents", seq, position, found: "no extent", wanted });
    } else if (value.firstSeq !== seq || value.count !== entry.eventCount || value.position !== position) {
      expected.extents = undefined;
      const found = `sequence ${value.firstSeq}, ${value.count} events, position ${value.position}`;
      this.#found.push({ rule: "partition/extents", seq, position, found, wanted });
    } else if (entity.chain !== undefined && !expected.chainBroken && chainCheck(entity.chain) !== value.check) {
      expected.chainBroken = true;
      const found = `another entry than the one that was chained: ${hex(chainCheck(entity.chain))}`;
      this.#found.push({
        rule: "entity/chain",
        seq,
        position,
        found,
        wanted: `a chain that begins ${hex(value.check)}`,
      });
    }
  }

  // The partition takes an entity's tombstone as its base only once the log is clean.
  #compareHead(expected: ExpectedEntity, entity: RefoldedEntity, { position, time }: EntryView): void {
    const { head } = expected;
    const { id, seq, baseSeq, basePosition, chain } = entity;
    if (head === undefined || head.seq !== seq) return;
    expected.headMet = true;
    const isBase = head.baseSeq === baseSeq || (baseSeq > 0 && this.isErasureUnderWay(id, basePosition));
    if (head.position !== position || head.time !== time || !isBase) {
      const found = `sequence ${head.seq} at position ${head.position}, time ${head.time}, base ${head.baseSeq}`;
      const wanted = `position ${position}, time ${time}, base ${baseSeq}`;
      this.#found.push({ rule: "partition/head", seq, position, found, wanted });
    }
    if (chain === undefined || expected.chainBroken || head.chain === chain) return;
    expected.chainBroken = true;
    const found = head.chain === "" ? "no chain" : `the chain ${chainAsHex(head.chain)}`;
    this.#found.push({ rule: "entity/chain", seq, position, found, wanted: `the chain ${chainAsHex(chain)}` });
  }

  #compareSnapshots(expected: ExpectedEntity, refolded: RefoldedEntity, domain: CompiledContext): void {
    const { seq } = refolded;
    if (!expected.snapshots.some((snapshot) => snapshot.seq === seq)) return;
    for (const { aggregate: name, seq: at, state } of expected.snapshots) {
      if (at !== seq) continue;
      const aggregate = domain.aggregates.get(name)!;
      const folded = refolded.states[aggregate.index];
      // An aggregate without events has its initial state in the snapshot.
      const wanted = folded === undefined ? aggregate.initial() : folded;
      if (folded === unfoldable || isSnapshotOf(wanted, state)) continue;
      const found = `a snapshot of ${name} that differs`;
      this.#found.push({ rule: "partition/snapshot", seq, found, wanted: "the state that the log folds to" });
    }
    expected.snapshots = expected.snapshots.filter((snapshot) => snapshot.seq !== seq);
  }

  #compareAppendId(entity: string, id: string, entry: EntryView): void {
    const at = this.#reader.appendIdPosition(entity, id);
    const { firstSeq: seq, position } = entry;
    if (at === position || (at === undefined && this.#isForgotten(entity, id, entry))) return;
    const found = `the id ${JSON.stringify(id)} ${at === undefined ? "missing" : `at position ${at}`}`;
    const difference: Difference = {
      rule: "partition/append-id",
      seq,
      position,
      found,
      wanted: `position ${position}`,
    };
    // What became of an erased entry's id is judged at the tombstone, which tells whether that is still under way.
    if ((entry.flags & entryFlags.erased) === 0) this.#found.push(difference);
    else this.#idsOfErased.set(entity, [...(this.#idsOfErased.get(entity) ?? []), difference]);
  }

  #onTombstone(entity: string, position: number): void {
    const differences = this.#idsOfErased.get(entity);
    if (differences === undefined) return;
    this.#idsOfErased.delete(entity);
    if (this.isErasureUnderWay(entity, position)) return;
    for (const { rule, ...facts } of differences) this.#problems.add(rule, { entity, ...facts });
  }

  // The partition forgets an erased entity's ids before or after the log's entries are overwritten, as a crash has it.
  #isForgotten(entity: string, id: string, entry: EntryView): boolean {
    if ((this.#reader.head(entity)?.baseSeq ?? 0) <= entry.firstSeq) return false;
    return this.#reader.appendIdPosition(entity, erasedIdName(entity, id)) === entry.position;
  }

  #finishEntity(entity: RefoldedEntity, expected: ExpectedEntity, logEnd: number): void {
    const { id } = entity;
    const { head, coveredSeq } = expected;
    const say = (found: string, wanted: string) =>
      this.#problems.add("partition/head", { entity: id, seq: head?.seq ?? coveredSeq, found, wanted });
    // A checkpoint that came while the log was being read.
    const isAhead = head !== undefined && head.position >= logEnd;
    if (head === undefined) {
      if (coveredSeq > 0) say("no head", `sequence ${coveredSeq} or later`);
    } else if (head.seq < coveredSeq) say(`sequence ${head.seq}`, `sequence ${coveredSeq} or later`);
    else if (!expected.headMet && !isAhead) say(`sequence ${head.seq}, where no entry ends`, `sequence ${entity.seq}`);
    for (const { aggregate, seq } of isAhead ? [] : expected.snapshots) {
      const found = `a snapshot of ${aggregate} at sequence ${seq}, where no entry ends`;
      this.#problems.add("partition/snapshot", { entity: id, seq, found, wanted: `at most sequence ${entity.seq}` });
    }
    const next = expected.extents?.next();
    if (next === undefined || next.done === true || next.value.position >= logEnd) return;
    const found = `sequence ${next.value.firstSeq} at position ${next.value.position}`;
    this.#problems.add("partition/extents", {
      entity: id,
      seq: next.value.firstSeq,
      found,
      wanted: "no further entry",
    });
  }

  // What the partition knows and the log does not.
  #findStrangers(entities: EntityIndex<RefoldedEntity>, logEnd: number): void {
    const { slice, slices } = this.#slice;
    for (const { entity, head } of this.#reader.entities()) {
      if (entities.get(entity) !== undefined || head.position >= logEnd || sliceOfEntity(entity, slices) !== slice)
        continue;
      this.#problems.add("partition/head", { entity, seq: head.seq, found: "a head", wanted: "an entity with events" });
    }
    for (const { entity, id, position } of this.#reader.appendIds()) {
      if (position >= logEnd || sliceOfEntity(entity, slices) !== slice) continue;
      if (entity === journalEntity && this.#transactionIds.has(id)) continue;
      const refolded = entities.get(entity);
      if (refolded?.ids?.has(id) === true || refolded?.erasedIds?.has(id) === true) continue;
      const found = `the id ${JSON.stringify(id)}`;
      // By its own name where the log has its digest only: it says what was erased.
      if (refolded?.erasedIds?.has(erasedIdName(entity, id)) === true) {
        if (this.isErasureUnderWay(entity, refolded.basePosition)) continue;
        this.#problems.add("partition/erased", { entity, position, found, wanted: "its digest" });
      } else if ((this.#reader.head(entity)?.baseSeq ?? 0) <= (refolded?.baseSeq ?? 0)) {
        this.#problems.add("partition/append-id", { entity, position, found, wanted: "an id that an append carried" });
      }
    }
  }

  #onReadError(entity: string | undefined, error: unknown): void {
    if (!(error instanceof HeddleError)) throw error;
    if (entity !== undefined) this.#unreadable.add(entity);
    this.#problems.add("partition/readable", {
      ...(entity === undefined ? {} : { entity }),
      found: error.message,
      wanted: "values that fit their checksums",
    });
  }
}

interface Difference {
  readonly rule: AuditRule;
  readonly seq: number;
  readonly position?: number;
  readonly found: string;
  readonly wanted: string;
}

function hex(check: number): string {
  return check.toString(16).padStart(8, "0");
}

/** Whether a state is what a snapshot holds: as bytes, or as the values that they stand for. */
function isSnapshotOf(state: unknown, snapshot: Uint8Array): boolean {
  try {
    const encoded = encodeValue(state);
    if (Buffer.compare(encoded, snapshot) === 0) return true;
    return isDeepStrictEqual(decodeValue(encoded.slice()), decodeValue(snapshot));
  } catch {
    return false;
  }
}
