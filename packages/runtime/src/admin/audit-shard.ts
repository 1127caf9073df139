// AuditShard: refolds one shard's log from its first byte with the domain module, and holds the partition against it.
//
// Shares the decoders with the shard, and nothing of how it decides: what the shard promised is checked again here.
// Works beside a running node. The log is read up to the end that it had when the audit began; the partition may be
// ahead of that, which is told from being wrong by positions.
//
// Memory: the states of all entities of the shard, and the append ids that callers gave. Not promised: less.
import fs from "node:fs";
import path from "node:path";
import {
  type CompiledAggregate,
  type CompiledContext,
  type CompiledEvent,
  describeThrown,
} from "@heddle/domain/internal";
import {
  crc32,
  type EntryView,
  entryChecksumHolds,
  LogReader,
  nodeDisk,
  type ScanResult,
} from "@heddle/event-log/internal";
import { type EntityId, entityIdProblem, HeddleError, isHeddleError, shardOf } from "@heddle/kernel";
import { openPartitionReadOnly } from "@heddle/partition/internal";
import { type AppendView, readU16, writeU16 } from "@heddle/protocol/internal";
import { EntryDecoder, freeze } from "@heddle/shard/internal";
import { logFolderOf, partitionFolderOf } from "../data-folder.ts";
import { PartitionCheck } from "./audit-partition.ts";
import { type AuditProblem, type AuditRule, ProblemList } from "./audit-problems.ts";
import { RefoldedEntity, unfoldable } from "./refolded-entity.ts";
import { scanInSlices } from "./scan-slices.ts";
import { SessionCalls } from "./session-calls.ts";

export interface AuditShardOptions {
  readonly data: string;
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  /** Problems that are told whole; all are counted. */
  readonly problemsMax: number;
}

/** Payloads of one event type that their schema does not take a second time. */
export interface RefusedPayloads {
  /** `Aggregate.Type`. */
  readonly name: string;
  readonly count: number;
  /** The first of them, as problems. */
  readonly problems: readonly AuditProblem[];
}

export interface ShardAudit {
  readonly shard: number;
  readonly entities: number;
  /** Pairs of entity and aggregate that have events. */
  readonly aggregates: number;
  readonly entries: number;
  readonly events: number;
  readonly logBytes: number;
  /** Bytes after the last whole record: a group under way beside a running node, else a torn tail that a start cuts. */
  readonly tailBytes: number;
  /** `absent`: there is none, and the next start makes it from the log. */
  readonly partition: "compared" | "absent" | "unreadable";
  readonly problems: readonly AuditProblem[];
  readonly problemTotal: number;
  readonly refused: readonly RefusedPayloads[];
  /** Event types of which some stored payload fits its schema, as `Aggregate.Type`. */
  readonly taken: readonly string[];
}

export async function auditShard(options: AuditShardOptions, moved: (bytes: number) => void): Promise<ShardAudit> {
  const problems = new ProblemList(options.shard, options.problemsMax);
  // The partition first: what it covers was in the log before, so a log opened after it must have all of that.
  const partition = openPartitionCheck(options, problems);
  try {
    return await refold(options, problems, partition, moved);
  } finally {
    if (partition instanceof PartitionCheck) await partition.close();
  }
}

function openPartitionCheck(
  options: AuditShardOptions,
  problems: ProblemList,
): PartitionCheck | "absent" | "unreadable" {
  const folder = partitionFolderOf(options.data, options.shard);
  if (!fs.existsSync(path.join(folder, "data.mdb"))) return "absent";
  try {
    return new PartitionCheck(openPartitionReadOnly({ folder, shard: options.shard }), problems);
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    problems.add("partition/readable", { found: error.message, wanted: "a partition that opens" });
    return "unreadable";
  }
}

async function refold(
  options: AuditShardOptions,
  problems: ProblemList,
  partition: PartitionCheck | "absent" | "unreadable",
  moved: (bytes: number) => void,
): Promise<ShardAudit> {
  const check = partition instanceof PartitionCheck ? partition : undefined;
  const refolder = new Refolder(options, problems, check);
  let logBytes = 0;
  let movedBytes = 0;
  let scan: ScanResult | undefined;
  let log: LogReader | undefined;
  const folder = logFolderOf(options.data, options.shard);
  try {
    // A node that died while it made the data folder may have left shards without one.
    log = new LogReader(fs.existsSync(folder) ? nodeDisk : { ...nodeDisk, list: () => [] }, folder);
    logBytes = log.end;
    scan = await scanInSlices(log, {
      onEntry: (entry) => refolder.onEntry(entry),
      onRecord: (position, length) => {
        check?.onRecordEnd(position + length);
        movedBytes += length;
        moved(length);
      },
      afterSlice: () => refolder.calls.forgetSilent(),
    });
  } catch (error) {
    // What stands before the damage was refolded; the partition cannot be held against half a log.
    if (!isHeddleError(error, "LOG_DAMAGED")) throw error;
    const { file, offset, problem } = error.facts;
    problems.add("log/readable", {
      found: `${problem}, at ${file}, offset ${offset}`,
      wanted: "whole records to the end",
    });
  } finally {
    log?.close();
    // Headers of segments, and whatever could not be read: the progress ends at the whole.
    moved(logBytes - movedBytes);
  }
  if (scan !== undefined) check?.finish(refolder.entities, scan.end);
  return {
    shard: options.shard,
    ...refolder.counts(),
    logBytes,
    tailBytes: scan === undefined ? 0 : logBytes - scan.end,
    partition: check === undefined ? (partition as "absent" | "unreadable") : "compared",
    problems: problems.kept,
    problemTotal: problems.total,
    ...refolder.types(),
  };
}

/** An event type as it was met in the log. */
interface TypeFacts {
  readonly event: CompiledEvent;
  taken: boolean;
  refused: number;
  readonly problems: AuditProblem[];
}

class Refolder {
  readonly entities = new Map<string, RefoldedEntity>();
  readonly calls = new SessionCalls();
  readonly #options: AuditShardOptions;
  readonly #problems: ProblemList;
  readonly #partition: PartitionCheck | undefined;
  readonly #decoder = new EntryDecoder();
  readonly #types = new Map<CompiledAggregate, Map<string, TypeFacts>>();
  #entries = 0;
  #events = 0;
  #aggregates = 0;

  constructor(options: AuditShardOptions, problems: ProblemList, partition: PartitionCheck | undefined) {
    this.#options = options;
    this.#problems = problems;
    this.#partition = partition;
  }

  counts(): { entities: number; aggregates: number; entries: number; events: number } {
    const { size } = this.entities;
    return { entities: size, aggregates: this.#aggregates, entries: this.#entries, events: this.#events };
  }

  types(): { refused: RefusedPayloads[]; taken: string[] } {
    const refused: RefusedPayloads[] = [];
    const taken: string[] = [];
    for (const [aggregate, types] of this.#types) {
      for (const [type, facts] of types) {
        const name = `${aggregate.name}.${type}`;
        if (facts.taken) taken.push(name);
        if (facts.refused > 0) refused.push({ name, count: facts.refused, problems: facts.problems });
      }
    }
    return { refused, taken };
  }

  onEntry(entry: EntryView): void {
    this.#entries++;
    const { position, firstSeq } = entry;
    const view = this.#open(entry);
    if (view === undefined) return;
    const id = view.entity;
    const say = (rule: AuditRule, found: string, wanted: string) =>
      this.#problems.add(rule, { entity: id, seq: firstSeq, position, found, wanted });
    if (!entryChecksumHolds(entry)) say("log/entry-checksum", "another checksum", "the checksum of its bytes");
    const entity = this.#entity(id, say);
    checkPlace(entity, entry, say);
    if (view.id !== "" && !addId(entity, view.id)) {
      say("entity/append-id-once", `the id ${JSON.stringify(view.id)} again`, "an id that this entity has not seen");
    }
    // Session 0 is nobody's: calls that no client numbered.
    if (entry.session !== 0 && !this.calls.add(entry.session, entry.call, entry.time)) {
      say("session/call-once", `call ${entry.call} of session ${entry.session} again`, "each call once");
    }
    this.#foldEntry(entity, entry, view);
    this.#events += entry.eventCount;
    entity.seq = firstSeq + entry.eventCount - 1;
    entity.time = Math.max(entity.time, entry.time);
    this.#partition?.onEntry(id, entity, entry, view.id, this.#options.domain);
  }

  #open(entry: EntryView): AppendView | undefined {
    const { position, firstSeq } = entry;
    const say = (entity: string | undefined, found: string, wanted: string) =>
      this.#problems.add("log/entry-whole", {
        ...(entity === undefined ? {} : { entity }),
        seq: firstSeq,
        position,
        found,
        wanted,
      });
    try {
      const view = this.#decoder.open(entry);
      if (view.eventCount !== entry.eventCount) {
        say(view.entity, `${entry.eventCount} events in its header, ${view.eventCount} in its body`, "the same count");
      }
      if (view.payloadsFrom - entry.bodyFrom !== entry.payloadsOffset) {
        say(view.entity, `payloads at offset ${entry.payloadsOffset}`, `offset ${view.payloadsFrom - entry.bodyFrom}`);
      }
      return view;
    } catch (error) {
      say(undefined, describeThrown(error), "the body of an append");
      return undefined;
    }
  }

  #entity(id: string, say: (rule: AuditRule, found: string, wanted: string) => void): RefoldedEntity {
    const known = this.entities.get(id);
    if (known !== undefined) return known;
    const { shard, shardCount } = this.#options;
    const idProblem = entityIdProblem(id);
    if (idProblem !== undefined)
      say("log/entry-whole", `the entity id ${JSON.stringify(id)}: ${idProblem}`, "kind/name");
    const owner = shardOf(id as EntityId, shardCount);
    if (owner !== shard) say("entity/in-its-shard", `shard ${shard}`, `shard ${owner} of ${shardCount}`);
    const entity = new RefoldedEntity();
    this.entities.set(id, entity);
    return entity;
  }

  #foldEntry(entity: RefoldedEntity, entry: EntryView, view: AppendView): void {
    const aggregate = this.#options.domain.aggregates.get(view.aggregate);
    if (aggregate === undefined) {
      this.#say(
        view,
        entry,
        0,
        "domain/known",
        `the aggregate ${JSON.stringify(view.aggregate)}`,
        "one of the domain module",
      );
      return;
    }
    let payloads: unknown[];
    try {
      payloads = this.#decoder.payloads(entry);
    } catch (error) {
      this.#say(
        view,
        entry,
        0,
        "log/entry-whole",
        `payloads that cannot be decoded: ${describeThrown(error)}`,
        "a list of payloads",
      );
      return;
    }
    const types = this.#typesOf(aggregate, entry, view);
    const { index } = aggregate;
    if (!(index in entity.states)) {
      entity.states[index] = aggregate.initial();
      this.#aggregates++;
    }
    for (let i = 0; i < payloads.length; i++) {
      const type = types[view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + i]!];
      if (type === undefined) entity.states[index] = unfoldable;
      else {
        this.#checkPayload(type, payloads[i], aggregate, entry, view, i);
        this.#foldEvent(entity, type.event, payloads[i], aggregate, entry, view, i);
      }
    }
    if (entity.states[index] === undefined) {
      this.#say(view, entry, payloads.length - 1, "domain/fold", "a fold that returned nothing", "a state");
      entity.states[index] = unfoldable;
    }
    freeze(entity.states[index]);
  }

  /** By type index; undefined where the domain does not have it. */
  #typesOf(aggregate: CompiledAggregate, entry: EntryView, view: AppendView): (TypeFacts | undefined)[] {
    let known = this.#types.get(aggregate);
    if (known === undefined) {
      known = new Map();
      this.#types.set(aggregate, known);
    }
    const types: (TypeFacts | undefined)[] = [];
    for (let i = 0; i < view.typeCount; i++) {
      const name = view.types[i]!;
      const event = aggregate.events.get(name);
      if (event === undefined) {
        this.#say(view, entry, 0, "domain/known", `the event ${aggregate.name}.${name}`, "one of the domain module");
      } else {
        const version = readU16(entry.bytes, view.versionOffsets[i]!);
        if (version < 1 || version > event.schemaVersion) {
          const found = `schema version ${version} of ${aggregate.name}.${name}`;
          this.#say(view, entry, 0, "domain/known", found, `1 to ${event.schemaVersion}`);
        }
        let facts = known.get(name);
        if (facts === undefined) {
          facts = { event, taken: false, refused: 0, problems: [] };
          known.set(name, facts);
        }
        types[i] = facts;
      }
    }
    return types;
  }

  // A schema may make something of a payload that it would not take as input itself (text to a number). Such a payload
  // proves nothing. One that was stored as it came in must fit, and the request's fingerprint tells those.
  #checkPayload(
    type: TypeFacts,
    payload: unknown,
    aggregate: CompiledAggregate,
    entry: EntryView,
    view: AppendView,
    index: number,
  ): void {
    let refusal: string;
    try {
      const { issues } = type.event.validate(payload);
      if (issues === undefined) {
        type.taken = true;
        return;
      }
      refusal = issues
        .map((issue) => (issue.path === "" ? issue.message : `${issue.path}: ${issue.message}`))
        .join("; ");
    } catch (error) {
      refusal = `the schema threw: ${describeThrown(error)}`;
    }
    const found = `a payload of ${aggregate.name}.${type.event.type} that does not fit: ${refusal}`;
    const wanted = "what its schema takes";
    if (isStoredAsItCame(entry, view)) {
      this.#say(view, entry, index, "domain/payload", found, wanted);
      return;
    }
    type.refused++;
    if (type.problems.length >= this.#options.problemsMax) return;
    const { shard } = this.#options;
    const seq = entry.firstSeq + index;
    type.problems.push({
      shard,
      rule: "domain/payload",
      entity: view.entity,
      seq,
      position: entry.position,
      found,
      wanted,
    });
  }

  #foldEvent(
    entity: RefoldedEntity,
    event: CompiledEvent,
    payload: unknown,
    aggregate: CompiledAggregate,
    entry: EntryView,
    view: AppendView,
    index: number,
  ): void {
    if (entity.states[aggregate.index] === unfoldable) return;
    const name = `${aggregate.name}.${event.type}`;
    let state: unknown;
    try {
      state = event.fold(entity.states[aggregate.index], payload);
    } catch (error) {
      this.#say(view, entry, index, "domain/fold", `${name} threw: ${describeThrown(error)}`, "a state");
      entity.states[aggregate.index] = unfoldable;
      return;
    }
    entity.states[aggregate.index] = state;
    let rule: string | undefined;
    try {
      rule = aggregate.brokenInvariant(state);
    } catch (error) {
      rule = `an invariant that threw: ${describeThrown(error)}`;
    }
    if (rule !== undefined && rule !== entity.broken[aggregate.index]) {
      const found = `${JSON.stringify(rule)} does not hold after ${name}`;
      this.#say(view, entry, index, "domain/invariant", found, `every rule of ${aggregate.name} holds`);
    }
    entity.broken[aggregate.index] = rule;
  }

  #say(view: AppendView, entry: EntryView, index: number, rule: AuditRule, found: string, wanted: string): void {
    const { entity } = view;
    this.#problems.add(rule, { entity, seq: entry.firstSeq + index, position: entry.position, found, wanted });
  }
}

function checkPlace(
  entity: RefoldedEntity,
  entry: EntryView,
  say: (rule: AuditRule, found: string, wanted: string) => void,
): void {
  if (entry.firstSeq !== entity.seq + 1) {
    say("entity/sequence", `sequence ${entry.firstSeq}`, `sequence ${entity.seq + 1}`);
  }
  if (entry.time < entity.time) say("entity/time", `time ${entry.time}`, `${entity.time} or later`);
}

function addId(entity: RefoldedEntity, id: string): boolean {
  entity.ids ??= new Set();
  const { size } = entity.ids;
  return entity.ids.add(id).size > size;
}

/** Whether the stored body is the request's, but for the schema versions that the shard filled in. */
function isStoredAsItCame(entry: EntryView, view: AppendView): boolean {
  const body = entry.bytes.slice(entry.bodyFrom, entry.bodyTo);
  for (let i = 0; i < view.typeCount; i++) writeU16(body, view.versionOffsets[i]! - entry.bodyFrom, 0);
  return crc32(body) === entry.fingerprint;
}
