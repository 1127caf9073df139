// Writes: decides appends, commands and imports, and takes what they make into the commit group that fills.
//
// P1. Each is decided at once and whole, in the order in which they come; sequences have no gaps.
// P3. A state changes only after every rule held for every event of the append.
// P7. Whatever is refused leaves no trace: nothing happens before `log.add`.
// Not owned: what Heddle itself writes into a history (resets.ts).
import type { CompiledContext, CompiledEvent } from "@heddle/domain/internal";
import { type EntryHeader, type EventLog, entryFlags } from "@heddle/event-log/internal";
import { HeddleError, isSystemEntity, systemKinds } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import {
  copyBytes,
  importHeadBytes,
  newAppendView,
  newExecuteView,
  type PackedValue,
  readAppendBody,
  readExecuteBody,
  readImportBody,
  readU16,
  requestKind,
  systemAggregate,
  type TextCache,
  writeText,
  writeU16,
} from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { Alarms } from "./alarms.ts";
import type { AppendIds } from "./append-ids.ts";
import { type Folded, foldAll, initialStates, type Proposed, validateAll } from "./decide.ts";
import { type Decided, decideCommand } from "./decide-command.ts";
import { checkBodyBytes, checkDepth, decodeInput, decodePayloads, metadataOf } from "./decoding.ts";
import { type Entity, shortHistoryMax } from "./entity.ts";
import type { Erasures } from "./erasures.ts";
import { bodyOf, type Frame, fingerprintOf } from "./frame.ts";
import type { Memory } from "./memory.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { OwnEvent } from "./own-shard.ts";
import type { Parts } from "./parts.ts";
import { aggregateOfAppend, aggregateOfCommand, proposalOfAppend } from "./proposals.ts";
import { sayErased, sayRejection, saySequenceConflict } from "./refusals.ts";
import type { Repeats } from "./repeats.ts";
import type { Resets } from "./resets.ts";
import type { Sessions } from "./sessions.ts";
import { isInner } from "./shard-calls.ts";
import { encodeBody, storedPayloads } from "./store-body.ts";
import { upcast } from "./stored-events.ts";
import type { TurnClock } from "./turn-clock.ts";
import type { TypeCounts } from "./type-counts.ts";

// Before the first.
const nobody = undefined as unknown as Entity;
const nothing = undefined as unknown as Proposed;

/** What an import says of its events beside them. */
interface Origin {
  readonly time: number;
  readonly trusted: boolean;
}

/** What is about to be taken in. */
interface Candidate {
  entity: Entity;
  id: string;
  proposed: Proposed;
  payloads: unknown[];
  flags: number;
  /** Holds the body to be stored as it came, or undefined when it must be encoded anew. */
  source: Uint8Array | undefined;
  bodyFrom: number;
  bodyTo: number;
  /** As it came; undefined where there is none. */
  metadata: PackedValue | undefined;
  time: number;
}

export class Writes {
  readonly #parts: Parts;
  readonly #repeats: Repeats;
  readonly #resets: Resets;
  readonly #domain: CompiledContext;
  readonly #texts: TextCache;
  readonly #turn: TurnClock;
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;
  #alarms!: Alarms;
  #appendIds!: AppendIds;
  #sessions!: Sessions;
  #types!: TypeCounts;
  #erasures!: Erasures;
  /** Of the entity at hand, if that holds reminders: the entity that they are for. */
  #owner: Entity | undefined;
  /** The entity of the frame that is to be answered early is held. */
  #isHeld = false;
  // Reused from call to call, so that an append allocates nothing of its own.
  readonly #append = newAppendView();
  readonly #execute = newExecuteView();
  readonly #eventTypes: CompiledEvent[] = [];
  readonly #folded: Folded = { state: undefined };
  readonly #decided: Decided = { proposed: undefined, payloads: [] };
  /** Of an entity of Heddle's own that has no events; states are frozen, so all can share them. */
  readonly #ownInitialStates: readonly unknown[];
  readonly #candidate: Candidate = {
    entity: nobody,
    id: "",
    proposed: nothing,
    payloads: [],
    flags: 0,
    source: undefined,
    bodyFrom: 0,
    bodyTo: 0,
    metadata: undefined,
    time: 0,
  };
  readonly #header: EntryHeader = {
    flags: 0,
    firstSeq: 0,
    time: 0,
    fingerprint: 0,
    session: 0,
    call: 0,
    eventCount: 0,
    payloadsOffset: 0,
  };

  constructor(parts: Parts, repeats: Repeats, resets: Resets) {
    this.#parts = parts;
    this.#repeats = repeats;
    this.#resets = resets;
    this.#domain = parts.options.domain;
    this.#texts = parts.texts;
    this.#turn = parts.turn;
    this.#ownInitialStates = initialStates(this.#domain, `${systemKinds.saga}/`);
  }

  attach({ log, groups, activation, alarms, appendIds, sessions, types, erasures }: Memory): void {
    this.#log = log;
    this.#groups = groups;
    this.#activation = activation;
    this.#alarms = alarms;
    this.#appendIds = appendIds;
    this.#sessions = sessions;
    this.#types = types;
    this.#erasures = erasures;
  }

  append(frame: Frame): void {
    const body = bodyOf(frame);
    readAppendBody(frame.bytes, body, frame.to, this.#texts, this.#append);
    this.#takeAppend(frame, body, undefined);
  }

  /** An append whose events have a time already, because they were written elsewhere before. */
  import(frame: Frame): void {
    const body = bodyOf(frame);
    const origin = readImportBody(frame.bytes, body, frame.to, this.#texts, this.#append);
    this.#takeAppend(frame, body + importHeadBytes, origin);
  }

  // `#append` has been read from `bytes[body, to)` of the frame.
  #takeAppend(frame: Frame, body: number, origin: Origin | undefined): void {
    const view = this.#append;
    const { bytes, to } = frame;
    const entity = this.#activate(view.entity);
    if (entity.hold !== undefined) {
      this.#waitFor(entity, frame);
      return;
    }
    if (!this.#mayWrite(frame, entity, view, origin !== undefined)) return;
    checkBodyBytes(to - body);
    if (origin !== undefined) {
      this.#checkTime(entity, origin.time);
      if (view.aggregate === systemAggregate) {
        const payloads = decodePayloads(bytes, view.payloadsFrom, to, view.eventCount);
        this.#resets.importMarker(frame, entity, view, payloads, origin.time);
        return;
      }
    }
    const aggregate = aggregateOfAppend(this.#domain, view.entity, view.aggregate, view.types[0]!);
    const proposed = proposalOfAppend(aggregate, view, bytes, this.#eventTypes);
    const payloads = decodePayloads(bytes, view.payloadsFrom, to, view.eventCount);
    const isNewest = origin === undefined || !upcastImported(proposed, payloads, bytes, view.versionOffsets);
    const metadata = metadataOf(bytes, view.metadataFrom, view.metadataTo);
    const isValid = origin?.trusted === true || validateAll(proposed, payloads);
    const verbatim = isValid && isNewest && view.aggregate !== "";
    if (origin?.trusted === true) checkDepth(payloads);
    const candidate = this.#candidate;
    candidate.entity = entity;
    candidate.id = view.id;
    candidate.proposed = proposed;
    candidate.payloads = payloads;
    candidate.flags = 0;
    candidate.source = verbatim ? bytes : undefined;
    candidate.bodyFrom = body;
    candidate.bodyTo = to;
    candidate.metadata = metadata;
    candidate.time = origin?.time ?? this.#turn.timeOf(entity);
    this.#commit(frame, candidate);
  }

  execute(frame: Frame): void {
    const view = this.#execute;
    const { bytes, to } = frame;
    readExecuteBody(bytes, bodyOf(frame), to, this.#texts, view);
    const entity = this.#activate(view.entity);
    if (entity.hold !== undefined) {
      this.#waitFor(entity, frame);
      return;
    }
    if (!this.#mayWrite(frame, entity, view, false)) return;
    const aggregate = aggregateOfCommand(this.#domain, view.entity, view.aggregate, view.command);
    const input = decodeInput(bytes, view.inputFrom, to);
    const metadata = metadataOf(bytes, view.metadataFrom, view.metadataTo);
    const state = this.#activation.statesOf(entity)[aggregate.index];
    const time = this.#turn.timeOf(entity);
    const decided = this.#decided;
    const rejected = decideCommand(aggregate, view.command, input, state, entity.id, time, decided);
    if (rejected !== undefined) {
      sayRejection(this.#parts, this.#groups, frame, entity, rejected);
      return;
    }
    const candidate = this.#candidate;
    candidate.entity = entity;
    candidate.id = view.id;
    candidate.proposed = decided.proposed!;
    candidate.payloads = decided.payloads;
    candidate.flags = entryFlags.command;
    candidate.source = undefined;
    candidate.bodyFrom = 0;
    candidate.bodyTo = 0;
    candidate.metadata = metadata;
    candidate.time = time;
    this.#commit(frame, candidate);
  }

  /** As `OwnShard.decideOwn`. The shard is open and free. Errors: as `append` and `execute`. */
  decideEarly(frame: Frame, kind: number): boolean {
    this.#isHeld = false;
    if (kind === requestKind.execute) this.execute(frame);
    else this.append(frame);
    return !this.#isHeld;
  }

  // One that is answered early is not kept: whoever asks sends it as a frame then.
  #waitFor(entity: Entity, frame: Frame): void {
    if (frame.early) this.#isHeld = true;
    else this.#parts.waitFor(entity, frame);
  }

  // Whether a call may go on to be decided; if not, it has been answered. Errors: why nothing can be written; `ID_EXPIRED`;
  // `OVERLOADED` while the life before is still being erased, which the SDK waits for; `UNKNOWN_KIND` for an entity that would
  // begin here. One that is imported has begun elsewhere.
  #mayWrite(
    frame: Frame,
    entity: Entity,
    { id, newLife, expectedSeq }: { readonly id: string; readonly newLife: boolean; readonly expectedSeq: number },
    isImport: boolean,
  ): boolean {
    if (isSystemEntity(entity.id) && !isInner(frame.connection)) {
      throw new HeddleError("INVALID_REQUEST", { path: "entity", problem: `only Heddle writes to ${entity.id}` });
    }
    if (this.#repeats.answers(frame, entity, id)) return false;
    this.#parts.checkWritable();
    this.#sessions.checkRoom(this.#repeats.window, frame.call);
    if (isSystemEntity(entity.id) && !this.#ownerLives(frame, entity)) return false;
    if (entity.isErased) {
      if (!newLife) {
        sayErased(this.#parts, this.#groups, frame, entity);
        return false;
      }
      if (this.#erasures.isUnderWay(entity.id)) {
        throw new HeddleError("OVERLOADED", { queue: `the erasure of ${entity.id}`, depth: 1, depthMax: 1 });
      }
    }
    if (entity.seq === entity.baseSeq && !isImport) this.#domain.checkKind(entity.id);
    if (expectedSeq < 0 || expectedSeq === entity.seq) return true;
    saySequenceConflict(this.#parts, this.#groups, frame, entity, expectedSeq);
    return false;
  }

  // The entity that reminders are for is woken before they are: for whoever wakes others may be let go.
  #activate(id: string): Entity {
    if (isSystemEntity(id)) {
      this.#owner = id.startsWith(remindersPrefix)
        ? this.#activation.find(id.slice(remindersPrefix.length))
        : undefined;
    }
    return this.#activation.activate(id);
  }

  // Reminders are erased with the entity that they are for: without it there can be none. If there is none, it has been said.
  // Errors: `UNKNOWN_KIND`, `INVALID_REQUEST` for an entity without events.
  #ownerLives(frame: Frame, { id }: Entity): boolean {
    if (!id.startsWith(remindersPrefix)) return true;
    const owner = this.#owner;
    if (owner === undefined || owner.seq === 0) {
      const named = id.slice(remindersPrefix.length);
      this.#domain.checkKind(named);
      const problem = `${named} has no events yet: reminders are set for entities that exist`;
      throw new HeddleError("INVALID_REQUEST", { path: "entity", problem });
    }
    if (owner.isErased) sayErased(this.#parts, this.#groups, frame, owner);
    return !owner.isErased;
  }

  #checkTime(entity: Entity, time: number): void {
    const now = this.#turn.timeOf(entity);
    if (time >= entity.time && time <= now) return;
    const problem =
      time > now
        ? `${new Date(time).toISOString()} is yet to come`
        : `${new Date(time).toISOString()} lies before the entity's last event, ${new Date(entity.time).toISOString()}`;
    throw new HeddleError("INVALID_REQUEST", { path: "time", problem });
  }

  // Folds, and if every rule holds takes the append into the open group. Nothing before `log.add` leaves a trace.
  #commit(frame: Frame, append: Candidate): void {
    const { entity, proposed, time } = append;
    const states = this.#activation.statesOf(entity);
    const { aggregate } = proposed;
    let payloads = append.payloads;
    let bodyBytes = 0;
    if (append.source === undefined) {
      const { id, metadata } = append;
      const fields = { entity: entity.id, id, proposed, payloads, packedMetadata: metadata };
      bodyBytes = encodeBody(fields, (wanted) => this.#log.reserve(wanted));
      // What is folded now must be what a replay will fold: the values as they come back from the log.
      const { bytes, at } = this.#log.reserve(bodyBytes);
      payloads = storedPayloads(bytes, at, bodyBytes, proposed, this.#texts, this.#append);
      this.#append.payloadsFrom -= at; // Taken from the body's start below, which is 0 for an encoded body.
    }
    const rejected = foldAll(proposed, states[aggregate.index], payloads, this.#folded);
    if (rejected !== undefined) {
      sayRejection(this.#parts, this.#groups, frame, entity, rejected);
      return;
    }
    if (append.source !== undefined)
      bodyBytes = this.#copyBody(append.source, append.bodyFrom, append.bodyTo, proposed);
    const header = this.#header;
    header.flags = append.flags;
    header.fingerprint = fingerprintOf(frame);
    header.session = frame.session;
    header.call = frame.call;
    header.payloadsOffset = this.#append.payloadsFrom - (append.source === undefined ? 0 : append.bodyFrom);
    const firstSeq = entity.seq + 1;
    const count = payloads.length;
    const position = this.#take(entity, proposed, this.#folded.state, count, time, bodyBytes);
    this.#sessions.add(this.#repeats.window, frame.session, frame.call, position, time);
    if (append.id !== "") this.#appendIds.add(entity.id, append.id, position);
    const { connection, call, early } = frame;
    if (early) {
      const { replies, shard } = this.#parts.options;
      replies.receipt(connection, 0, call, shard, firstSeq, count, position, time, false);
    } else this.#groups.filling.addReceipt(connection, frame.to - frame.from, call, firstSeq, count, position, time);
  }

  // Takes the entry whose body stands in the open group into it, and the entity on to its new state. `#header` says the rest.
  #take(entity: Entity, proposed: Proposed, state: unknown, count: number, time: number, bodyBytes: number): number {
    const header = this.#header;
    header.firstSeq = entity.seq + 1;
    header.time = time;
    header.eventCount = count;
    this.#activation.beforeChange(entity);
    const position = this.#log.add(header, bodyBytes);
    const { aggregate } = proposed;
    entity.states![aggregate.index] = state;
    this.#activation.extend(entity, count, position, time);
    this.#groups.entities.push(entity);
    if (aggregate.system) {
      const alarm = this.#alarms.changed(entity, aggregate.index, state);
      entity.isOver = alarm === undefined && entity.seq <= shortHistoryMax;
    }
    this.#types.add(proposed, count);
    this.#parts.counters.appends++;
    return position;
  }

  /** As `OwnShard.appendOwn`. The shard is open and free. */
  appendOwn<P>(
    id: string,
    event: OwnEvent<P>,
    payload: P,
    expectedSeq: number,
    connection: number,
    call: number,
  ): boolean {
    const entity = this.#activate(id);
    if (entity.isErased || entity.hold !== undefined || (expectedSeq >= 0 && expectedSeq !== entity.seq)) return false;
    if (
      id.startsWith(remindersPrefix) &&
      (this.#owner === undefined || this.#owner.seq === 0 || this.#owner.isErased)
    ) {
      return false;
    }
    this.#parts.checkWritable();
    const { head, packer, proposed } = event;
    if (entity.seq === 0) entity.states ??= this.#ownInitialStates.slice();
    const states = this.#activation.statesOf(entity);
    const stored = packer.stored(payload);
    const state = proposed.types[0]!.fold(states[proposed.aggregate.index], stored);
    const room = 2 + 3 * id.length + head.length + packer.room(stored);
    const { bytes, at } = this.#log.reserve(room);
    const idBytes = writeText(bytes, at + 2, id);
    writeU16(bytes, at, idBytes);
    const payloadAt = copyBytes(head, 0, head.length, bytes, at + 2 + idBytes);
    const bodyBytes = packer.pack(stored, bytes, payloadAt) - at;
    // Bytes past the end of the room would be missing, and a checksum would vouch for the rest.
    invariant(bodyBytes <= room, "shard/own-event-fits-its-room", { bodyBytes, room });
    const header = this.#header;
    header.flags = 0;
    // Of what came in a frame only: this cannot come again.
    header.fingerprint = 0;
    header.session = 0;
    header.call = 0;
    // The list that the payload stands in begins with a byte of its own.
    header.payloadsOffset = payloadAt - 1 - at;
    const time = this.#turn.timeOf(entity);
    const position = this.#take(entity, proposed, state, 1, time, bodyBytes);
    this.#groups.filling.addReceipt(connection, 0, call, entity.seq, 1, position, time);
    return true;
  }

  // Copies a checked body into the open group and fills in the schema versions.
  #copyBody(source: Uint8Array, from: number, to: number, proposed: Proposed): number {
    const { bytes, at } = this.#log.reserve(to - from);
    copyBytes(source, from, to, bytes, at);
    for (let i = 0; i < this.#append.typeCount; i++) {
      writeU16(bytes, at + this.#append.versionOffsets[i]! - from, proposed.types[i]!.schemaVersion);
    }
    return to - from;
  }
}

const remindersPrefix = `${systemKinds.reminders}/`;

// An import says which version its payloads have; 0 stands for the newest. Says whether any was older.
// Errors: `INVALID_REQUEST` for a version that the domain module does not have; `DOMAIN_FAILED` when an upcaster throws.
function upcastImported(
  proposed: Proposed,
  payloads: unknown[],
  bytes: Uint8Array,
  versionOffsets: readonly number[],
): boolean {
  const versions = proposed.types.map((_, type) => readU16(bytes, versionOffsets[type]!));
  for (const [type, { type: name, schemaVersion }] of proposed.types.entries()) {
    if (versions[type]! <= schemaVersion) continue;
    const problem = `${proposed.aggregate.name}.${name} has version ${versions[type]}, the domain module knows ${schemaVersion}`;
    throw new HeddleError("INVALID_REQUEST", { path: "schemaVersion", problem });
  }
  const isOlder = (type: number) => versions[type] !== 0 && versions[type] !== proposed.types[type]!.schemaVersion;
  if (!versions.some((_, type) => isOlder(type))) return false;
  for (let i = 0; i < payloads.length; i++) {
    const type = proposed.indexFrom === 0 ? 0 : proposed.indexBytes[proposed.indexFrom + i]!;
    if (isOlder(type))
      payloads[i] = upcast(proposed.types[type]!, payloads[i], versions[type]!, proposed.aggregate.name);
  }
  return true;
}
