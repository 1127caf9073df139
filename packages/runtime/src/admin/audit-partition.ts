// PartitionCheck: holds a shard's partition against what its log says, while the log is being refolded.
//
// The partition may belong to a running node. It then moves on under the reader, but only forward, and an entity's head,
// extents and snapshots move together; so what was read of an entity first is checked as the refold comes by, and what
// lies beyond the end of the log that is being read is left alone.
import { isDeepStrictEqual } from "node:util";
import type { CompiledContext } from "@heddle/domain/internal";
import type { EntryView } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import type { DetachedReader } from "@heddle/partition/internal";
import { decodeValue, encodeValue } from "@heddle/protocol/internal";
import type { ProblemList } from "./audit-problems.ts";
import { type ExpectedEntity, type RefoldedEntity, unfoldable } from "./refolded-entity.ts";

export class PartitionCheck {
  readonly #reader: DetachedReader;
  readonly #problems: ProblemList;
  readonly #covered: number;
  #coveredMet: boolean;
  /** Entities of which something could not be read, which is told once. */
  readonly #unreadable = new Set<string>();

  constructor(reader: DetachedReader, problems: ProblemList) {
    this.#reader = reader;
    this.#problems = problems;
    this.#covered = reader.coveredPosition;
    this.#coveredMet = this.#covered === 0;
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  onRecordEnd(position: number): void {
    if (position === this.#covered) this.#coveredMet = true;
  }

  /** An entry that was just folded: `entity` stands behind it. */
  onEntry(id: string, entity: RefoldedEntity, entry: EntryView, appendId: string, domain: CompiledContext): void {
    if (this.#unreadable.has(id)) return;
    const covered = entry.position < this.#covered;
    try {
      entity.expected ??= this.#read(id, domain);
      const { expected } = entity;
      if (covered) expected.coveredSeq = entity.seq;
      this.#compareExtent(id, expected, entry, covered);
      this.#compareHead(id, expected, entity, entry);
      this.#compareSnapshots(id, expected, entity, domain);
      if (covered && appendId !== "") this.#compareAppendId(id, appendId, entry);
    } catch (error) {
      this.#onReadError(id, error);
    }
  }

  /** The end of the log: what the partition has and the refold never came to. */
  finish(entities: ReadonlyMap<string, RefoldedEntity>, logEnd: number): void {
    if (!this.#coveredMet) {
      if (this.#covered > logEnd) {
        const found = `a log that ends at position ${logEnd}`;
        this.#problems.add("log/reaches-checkpoint", { found, wanted: `position ${this.#covered} or beyond` });
      } else {
        const found = `position ${this.#covered}, where no record ends`;
        this.#problems.add("partition/covered", { position: this.#covered, found, wanted: "the end of a record" });
      }
    }
    for (const [id, entity] of entities) {
      if (entity.expected === undefined || this.#unreadable.has(id)) continue;
      try {
        this.#finishEntity(id, entity, entity.expected, logEnd);
      } catch (error) {
        this.#onReadError(id, error);
      }
    }
    try {
      this.#findStrangers(entities, logEnd);
    } catch (error) {
      this.#onReadError(undefined, error);
    }
  }

  // Snapshots before the head: a checkpoint in between then makes the head newer than them, never the other way round.
  #read(id: string, domain: CompiledContext): ExpectedEntity {
    const snapshots = this.#reader
      .snapshots(id)
      .filter((snapshot) => domain.aggregates.get(snapshot.aggregate)?.version === snapshot.foldVersion);
    const head = this.#reader.head(id);
    const extents = head === undefined ? undefined : this.#reader.extents(id, 1, "forward");
    return { head, extents, snapshots, headMet: false, coveredSeq: 0 };
  }

  #compareExtent(entity: string, expected: ExpectedEntity, entry: EntryView, covered: boolean): void {
    if (expected.extents === undefined) return;
    const { firstSeq: seq, position } = entry;
    const wanted = `sequence ${seq}, ${entry.eventCount} events, position ${position}`;
    const { done, value } = expected.extents.next();
    if (done === true) {
      expected.extents = undefined;
      if (!covered && seq > (expected.head?.seq ?? 0)) return;
      this.#problems.add("partition/extents", { entity, seq, position, found: "no extent", wanted });
    } else if (value.firstSeq !== seq || value.count !== entry.eventCount || value.position !== position) {
      expected.extents = undefined;
      const found = `sequence ${value.firstSeq}, ${value.count} events, position ${value.position}`;
      this.#problems.add("partition/extents", { entity, seq, position, found, wanted });
    }
  }

  #compareHead(entity: string, expected: ExpectedEntity, { seq }: RefoldedEntity, entry: EntryView): void {
    const { head } = expected;
    if (head === undefined || head.seq !== seq) return;
    expected.headMet = true;
    if (head.position === entry.position && head.time === entry.time) return;
    const found = `sequence ${head.seq} at position ${head.position}, time ${head.time}`;
    const wanted = `position ${entry.position}, time ${entry.time}`;
    this.#problems.add("partition/head", { entity, seq, position: entry.position, found, wanted });
  }

  #compareSnapshots(entity: string, expected: ExpectedEntity, refolded: RefoldedEntity, domain: CompiledContext): void {
    const { seq } = refolded;
    if (!expected.snapshots.some((snapshot) => snapshot.seq === seq)) return;
    for (const { aggregate: name, seq: at, state } of expected.snapshots) {
      if (at !== seq) continue;
      const aggregate = domain.aggregates.get(name)!;
      // An aggregate without events has its initial state in the snapshot.
      const folded = aggregate.index in refolded.states ? refolded.states[aggregate.index] : aggregate.initial();
      if (folded === unfoldable || isSnapshotOf(folded, state)) continue;
      const found = `a snapshot of ${name} that differs`;
      this.#problems.add("partition/snapshot", { entity, seq, found, wanted: "the state that the log folds to" });
    }
    expected.snapshots = expected.snapshots.filter((snapshot) => snapshot.seq !== seq);
  }

  #compareAppendId(entity: string, id: string, entry: EntryView): void {
    const found = this.#reader.appendIdPosition(entity, id);
    if (found === entry.position) return;
    this.#problems.add("partition/append-id", {
      entity,
      seq: entry.firstSeq,
      position: entry.position,
      found: `the id ${JSON.stringify(id)} ${found === undefined ? "missing" : `at position ${found}`}`,
      wanted: `position ${entry.position}`,
    });
  }

  #finishEntity(id: string, entity: RefoldedEntity, expected: ExpectedEntity, logEnd: number): void {
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
  #findStrangers(entities: ReadonlyMap<string, RefoldedEntity>, logEnd: number): void {
    for (const { entity, head } of this.#reader.entities()) {
      if (entities.has(entity) || head.position >= logEnd) continue;
      this.#problems.add("partition/head", { entity, seq: head.seq, found: "a head", wanted: "an entity with events" });
    }
    for (const { entity, id, position } of this.#reader.appendIds()) {
      if (position >= logEnd || entities.get(entity)?.ids?.has(id) === true) continue;
      const found = `the id ${JSON.stringify(id)}`;
      this.#problems.add("partition/append-id", { entity, position, found, wanted: "an id that an append carried" });
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
