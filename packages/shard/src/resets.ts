// Resets: what Heddle itself writes into an entity's history: the marker of a restoring with the copies that follow it, and
// the tombstone of an erasure. After each of them all of the entity's states are initial.
//
// All that one call writes is in one commit group: durable as a whole or not at all (P5).
import { type EntryHeader, type EntryView, type EventLog, entityOfEntry, entryFlags } from "@heddle/event-log/internal";
import { HeddleError, isSystemEntity, systemKinds } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import {
  type AppendView,
  encodeReply,
  newAppendView,
  readAppendBody,
  readDeleteBody,
  readRestoreBody,
  replyKind,
  systemEvents,
  writeAppendBody,
} from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { Alarms } from "./alarms.ts";
import type { AppendIds } from "./append-ids.ts";
import { initialStates } from "./decide.ts";
import type { Entity } from "./entity.ts";
import type { ErasureReceipt, Erasures } from "./erasures.ts";
import { bodyOf, type Frame, fingerprintOf } from "./frame.ts";
import type { Memory } from "./memory.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { Parts } from "./parts.ts";
import { sayErased, sayRejection, saySequenceConflict } from "./refusals.ts";
import type { Repeats } from "./repeats.ts";
import { Restoring } from "./restoring.ts";
import { noSession, type Sessions } from "./sessions.ts";
import { isInner } from "./shard-calls.ts";
import { type ErasedFacts, type RestoredFacts, writeSystemEvent } from "./system-events.ts";
import { readErasedFacts } from "./system-facts.ts";
import { outOfRange, resolveMoment } from "./time-travel.ts";
import type { TypeCounts } from "./type-counts.ts";

/** What an entry's header says beside where it stands. */
type EntryFacts = Pick<EntryHeader, "flags" | "time" | "session" | "call" | "fingerprint">;

export class Resets {
  readonly #parts: Parts;
  readonly #repeats: Repeats;
  readonly #view = newAppendView();
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;
  #alarms!: Alarms;
  #appendIds!: AppendIds;
  #sessions!: Sessions;
  #types!: TypeCounts;
  #erasures!: Erasures;

  constructor(parts: Parts, repeats: Repeats) {
    this.#parts = parts;
    this.#repeats = repeats;
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

  /** Brings an entity back to an earlier state. Reading may take several turns; deciding and writing are one. */
  restore(frame: Frame): void {
    const view = readRestoreBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    if (isSystemEntity(view.entity)) throw ofHeddle(view.entity);
    let restoring: Restoring | undefined;
    this.#parts.overTurns(frame, (own) => {
      const entity = this.#activation.find(view.entity);
      if (entity?.hold !== undefined) {
        this.#parts.waitFor(entity, own);
        return "replied";
      }
      if (entity === undefined || entity.seq === 0) throw outOfRange(view.entity, "history to restore", 0);
      // Asked in every turn: what was read in the one before may have been overtaken by others.
      if (this.#repeats.answers(own, entity, view.id)) return "replied";
      this.#parts.checkWritable();
      this.#sessions.checkRoom(this.#repeats.window, own.call);
      if (entity.isErased) {
        sayErased(this.#parts, this.#groups, own, entity);
        return "replied";
      }
      const { domain, clock } = this.#parts.options;
      restoring ??= new Restoring(
        domain,
        entity,
        resolveMoment(this.#activation, this.#log, entity, view.at, clock.now()),
      );
      restoring.checkLife(entity);
      if (!restoring.read(this.#activation, entity) || this.#parts.isHeldBack()) return undefined;
      if (view.expectedSeq >= 0 && view.expectedSeq !== entity.seq) {
        saySequenceConflict(this.#parts, this.#groups, own, entity, view.expectedSeq);
        return "replied";
      }
      const { result } = restoring;
      if ("rejected" in result) {
        sayRejection(this.#parts, this.#groups, own, entity, result.rejected);
        return "replied";
      }
      this.#commitRestored(own, entity, view.id, restoring, result.states);
      this.#parts.endTurn();
      return "replied";
    });
  }

  /**
   * Takes in the marker of a restoring that was written elsewhere before; the copies are imported after it, as they were
   * exported. `view` was read from the frame. Errors: `INVALID_REQUEST` for any other system event.
   */
  importMarker(frame: Frame, entity: Entity, view: AppendView, payloads: readonly unknown[], time: number): void {
    const facts = payloads[0];
    if (view.eventCount !== 1 || view.types[0] !== systemEvents.restored || !isRestoredFacts(facts)) {
      const problem = `of ${view.aggregate} only one event ${systemEvents.restored} with { seq, copied } can be imported`;
      throw new HeddleError("INVALID_REQUEST", { path: "aggregate", problem });
    }
    const { id } = view;
    const states = initialStates(this.#parts.options.domain, entity.id);
    const { session, call } = frame;
    this.#activation.beforeChange(entity);
    const event = {
      type: systemEvents.restored,
      payload: { seq: facts.seq, copied: facts.copied },
      id: id === "" ? undefined : id,
    };
    const header = { flags: entryFlags.restored, time, session, call, fingerprint: fingerprintOf(frame) };
    const position = this.#addSystemEvent(entity, event, header);
    entity.states = states;
    this.#noteCall(frame, entity, id, position, time, 1);
  }

  /** Erases an entity, or waits with others for an erasure that is under way. */
  delete(frame: Frame): void {
    const fields = readDeleteBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const { connection, session, call } = frame;
    if (isSystemEntity(fields.entity) && !isInner(connection)) throw ofHeddle(fields.entity);
    const entity = this.#activation.find(fields.entity);
    if (entity?.hold !== undefined) {
      this.#parts.waitFor(entity, frame);
      return;
    }
    if (entity === undefined || entity.seq === 0) throw outOfRange(fields.entity, "history to erase", 0);
    const earlier = this.#repeats.find(frame, entity, "");
    if (earlier !== undefined && earlier >= this.#log.durableEnd && !entity.isErased) throw callReused(entity, call);
    if (earlier !== undefined && earlier < this.#log.durableEnd) {
      const tombstone = this.#tombstoneAt(earlier, entity, call);
      // Somebody began a new life since: it is not this call's to erase.
      if (tombstone.firstSeq !== entity.baseSeq || !entity.isErased) {
        this.#sayReceipt(frame, tombstone, entity);
        return;
      }
    }
    if (!entity.isErased || this.#erasures.isUnderWay(entity.id)) this.#parts.checkWritable();
    if (!entity.isErased) {
      if (this.#erasures.isUnderWay(entity.id)) {
        throw new HeddleError("OVERLOADED", { queue: `the erasure of ${entity.id}`, depth: 1, depthMax: 1 });
      }
      this.#sessions.checkRoom(this.#repeats.window, call);
      this.#commitTombstone(entity, session, call);
      // After it: an entity with a tombstone is not let go for one that is woken.
      this.#eraseReminders(entity);
    }
    if (fields.buried) {
      this.#groups.say(frame, this.#groups.isUndurable(entity), encodeReply(replyKind.value, call, null));
      return;
    }
    if (this.#erasures.isUnderWay(entity.id)) {
      const requestBytes = frame.to - frame.from;
      this.#erasures.wait(entity.id, { connection, requestBytes, call, provisional: fields.provisional });
      return;
    }
    const [extent] = this.#activation.extentsForward(entity, entity.baseSeq);
    this.#sayReceipt(frame, this.#tombstoneAt(extent!.position, entity, call), entity);
  }

  #commitRestored(frame: Frame, entity: Entity, id: string, restoring: Restoring, states: unknown[]): void {
    const { seq, copies, events: copied } = restoring;
    const { session, call } = frame;
    const time = this.#parts.turn.timeOf(entity);
    this.#activation.beforeChange(entity);
    const event = { type: systemEvents.restored, payload: { seq, copied }, id: id === "" ? undefined : id };
    const flags = entryFlags.restored | entryFlags.command;
    const position = this.#addSystemEvent(entity, event, {
      flags,
      time,
      session,
      call,
      fingerprint: fingerprintOf(frame),
    });
    // No session: nobody's retry is to be answered with a copy.
    const header = { flags: 0, time, session: 0, call: 0, fingerprint: 0 };
    for (const { fields } of copies) {
      const bodyBytes = this.#writeCopy(fields);
      this.#addEntry(entity, bodyBytes, header);
    }
    entity.states = states;
    this.#noteCall(frame, entity, id, position, time, 1 + copied);
  }

  // It was read from the log, so it can be written again. If not, a part of the copies is in the group already, and no
  // refusal of this one call can undo that: the shard stops, and nothing of the group is kept.
  #writeCopy(fields: Parameters<typeof writeAppendBody>[0]): number {
    try {
      return writeAppendBody(fields, (wanted) => this.#log.reserve(wanted));
    } catch (cause) {
      throw new Error(`events of ${fields.entity} that were read cannot be written: ${String(cause)}`, { cause });
    }
  }

  // An entity's reminders hold what they are to bring it. Their tombstone is in the same group as the entity's own, so the two
  // go through the steps of an erasure together, and whoever waits for one waits for both (P6).
  #eraseReminders(owner: Entity): void {
    if (isSystemEntity(owner.id)) return;
    const reminders = this.#activation.find(`${systemKinds.reminders}/${owner.id}`);
    if (reminders === undefined || reminders.seq === 0 || reminders.isErased) return;
    // A checkpoint that runs may still have to write its alarm as it was.
    this.#activation.statesOf(reminders);
    this.#commitTombstone(reminders, noSession, 0);
  }

  #commitTombstone(entity: Entity, session: number, call: number): void {
    const time = this.#parts.turn.timeOf(entity);
    const life = entity.baseSeq;
    const facts: ErasedFacts = { from: life + 1, to: entity.seq };
    this.#activation.beforeChange(entity);
    const event = { type: systemEvents.erased, payload: facts };
    const header = { flags: entryFlags.tombstone, time, session, call, fingerprint: 0 };
    const position = this.#addSystemEvent(entity, event, header);
    this.#activation.bury(entity);
    if (isSystemEntity(entity.id)) this.#alarms.erased(entity);
    if (session !== noSession) this.#sessions.add(this.#repeats.window, session, call, position, time);
    const { shard } = this.#parts.options;
    this.#erasures.add({ entity: entity.id, shard, seq: entity.baseSeq, position, time, ...facts }, life, "count");
    this.#parts.counters.appends++;
  }

  // Errors: `ID_REUSED` when the call's number was given to something else before.
  #tombstoneAt(position: number, entity: Entity, call: number): EntryView {
    const entry = this.#activation.readAt(position);
    const isTombstone = (entry.flags & entryFlags.tombstone) !== 0 && entityOfEntry(entry) === entity.id;
    if (!isTombstone) throw callReused(entity, call);
    return entry;
  }

  #sayReceipt(frame: Frame, tombstone: EntryView, entity: Entity): void {
    const { from, to } = readErasedFacts(tombstone);
    const { firstSeq: seq, position, time } = tombstone;
    const { shard } = this.#parts.options;
    const receipt: ErasureReceipt = { entity: entity.id, shard, seq, position, time, from, to, complete: true };
    this.#groups.say(frame, false, encodeReply(replyKind.value, frame.call, receipt));
  }

  #addSystemEvent(entity: Entity, event: Parameters<typeof writeSystemEvent>[1], facts: EntryFacts): number {
    const bodyBytes = writeSystemEvent(entity.id, event, (wanted) => this.#log.reserve(wanted));
    return this.#addEntry(entity, bodyBytes, facts);
  }

  // Takes in an entry whose body was just written where the log said.
  #addEntry(entity: Entity, bodyBytes: number, facts: EntryFacts): number {
    const { bytes, at } = this.#log.reserve(bodyBytes);
    const view = this.#view;
    readAppendBody(bytes, at, at + bodyBytes, this.#parts.texts, view);
    const { eventCount } = view;
    const payloadsOffset = view.payloadsFrom - at;
    this.#types.addEntry({ bytes }, view);
    const position = this.#log.add({ ...facts, firstSeq: entity.seq + 1, eventCount, payloadsOffset }, bodyBytes);
    this.#activation.extend(entity, eventCount, position, facts.time);
    this.#groups.entities.push(entity);
    return position;
  }

  // The call's entries end where the entity now does.
  #noteCall(frame: Frame, entity: Entity, id: string, position: number, time: number, events: number): void {
    const { connection, session, call, from, to } = frame;
    invariant(events <= entity.seq, "P1/no-gap", { entity: entity.id, events, seq: entity.seq });
    this.#sessions.add(this.#repeats.window, session, call, position, time);
    if (id !== "") this.#appendIds.add(entity.id, id, position);
    this.#parts.counters.appends++;
    const firstSeq = entity.seq - events + 1;
    this.#groups.filling.addReceipt(connection, to - from, call, firstSeq, events, position, time);
  }
}

function ofHeddle(entity: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path: "entity", problem: `only Heddle writes to ${entity}` });
}

function callReused(entity: Entity, call: number): HeddleError {
  return new HeddleError("ID_REUSED", { entity: entity.id, id: `call ${call}` });
}

function isRestoredFacts(payload: unknown): payload is RestoredFacts {
  if (typeof payload !== "object" || payload === null) return false;
  const { seq, copied } = payload as Partial<RestoredFacts>;
  return [seq, copied].every((number) => Number.isSafeInteger(number) && (number as number) >= 0);
}
