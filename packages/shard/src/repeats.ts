// Repeats: a call that took effect before is given its first receipt again (P4), for as long as its session's window or
// the id that its caller gave it tells. What has taken effect in a life that was erased since answers `ERASED` (P6).
import { type EventLog, entityOfEntry } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { aTransaction } from "@heddle/kernel/internal";
import {
  encodeErrorReply,
  encodeReply,
  receiptFrameBytes,
  replyKind,
  writeReceiptFrame,
} from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { AppendIds } from "./append-ids.ts";
import { sized } from "./decoding.ts";
import type { Entity } from "./entity.ts";
import { type Frame, fingerprintOf } from "./frame.ts";
import type { Memory } from "./memory.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { Parts } from "./parts.ts";
import type { Sessions, SessionWindow } from "./sessions.ts";
import { eventsOfCall } from "./system-facts.ts";
import { erased } from "./time-travel.ts";
import { isJournal, journalEntity, readJournal } from "./transactions/journal.ts";

export class Repeats {
  readonly #parts: Parts;
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;
  #appendIds!: AppendIds;
  #sessions!: Sessions;
  /** Window of the call that was looked at last, if its session has one. */
  window: SessionWindow | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  attach({ log, groups, activation, appendIds, sessions }: Memory): void {
    this.#log = log;
    this.#groups = groups;
    this.#activation = activation;
    this.#appendIds = appendIds;
    this.#sessions = sessions;
  }

  /** Answers a call that took effect before, and says whether it did so. `id` is empty where the caller gave none. */
  answers(frame: Frame, entity: Entity, id: string): boolean {
    const position = this.find(frame, entity, id);
    if (position === undefined) return false;
    this.#answer(frame, position, entity, id);
    return true;
  }

  /**
   * Log position of the entry of a call that took effect before. Errors: `ID_EXPIRED` for a call of which nobody knows any
   * more whether it did.
   */
  find(frame: Frame, entity: Entity, id: string): number | undefined {
    return this.#find(frame, entity.id, entity.baseSeq > 0, id);
  }

  /** Answers a transaction that took effect before with the first results, and says whether it did so. */
  answersTransaction(frame: Frame, id: string, fingerprint: number): boolean {
    const position = this.#find(frame, journalEntity, false, id);
    if (position === undefined) return false;
    const { call } = frame;
    const reply = () => sized(this.#results(call, position, fingerprint, id), call);
    this.#parts.counters.duplicates++;
    if (position >= this.#log.durableEnd) this.#groups.sayLater(frame, receiptFrameBytes, reply);
    else this.#groups.say(frame, false, reply());
    return true;
  }

  // `scope`: whose append ids are looked through.
  #find({ session, call }: Frame, scope: string, wasErased: boolean, id: string): number | undefined {
    const window = this.#sessions.find(session);
    this.window = window;
    let position = window?.find(call);
    if (position === undefined && id !== "") position = this.#appendIds.find(scope, id, wasErased);
    // An id that is not known says for good that the append did not take effect; a number says so within the window only.
    else if (position === undefined && window?.expired(call)) {
      throw new HeddleError("ID_EXPIRED", {
        problem: `call ${call} is too old: its session is at ${window.lastCall} and its outcome is no longer known`,
      });
    }
    return position;
  }

  #answer(frame: Frame, position: number, entity: Entity, id: string): void {
    const { call } = frame;
    const fingerprint = fingerprintOf(frame);
    const reply = () => this.#receipt(call, position, fingerprint, entity, id);
    this.#parts.counters.duplicates++;
    if (position >= this.#log.durableEnd) this.#groups.sayLater(frame, receiptFrameBytes, reply);
    // What a tombstone takes away is there until the tombstone is durable.
    else this.#groups.say(frame, entity.isErased && this.#groups.isUndurable(entity), reply());
  }

  #results(call: number, position: number, fingerprint: number, id: string): Uint8Array {
    const entry = this.#activation.readAt(position);
    const facts = isJournal(entry) && entry.fingerprint === fingerprint ? readJournal(entry).facts : undefined;
    if (facts?.kind === "decided") {
      return encodeReply(replyKind.value, call, { results: facts.results, duplicate: true });
    }
    this.#parts.counters.countError("ID_REUSED");
    const error = new HeddleError("ID_REUSED", { entity: aTransaction, id: id === "" ? `call ${call}` : id });
    return encodeErrorReply(call, error);
  }

  #receipt(call: number, position: number, fingerprint: number, entity: Entity, id: string): Uint8Array {
    try {
      const entry = this.#activation.readAt(position);
      if (entry.firstSeq < entity.baseSeq && entityOfEntry(entry) === entity.id) throw erased(entity);
      if (entry.fingerprint !== fingerprint || isJournal(entry)) {
        throw new HeddleError("ID_REUSED", { entity: entity.id, id: id === "" ? `call ${call}` : id });
      }
      const frame = new Uint8Array(receiptFrameBytes);
      const { firstSeq, time } = entry;
      const { shard } = this.#parts.options;
      writeReceiptFrame(frame, 0, call, shard, firstSeq, eventsOfCall(entry), position, time, true);
      return frame;
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      this.#parts.counters.countError(thrown.code);
      return encodeErrorReply(call, thrown);
    }
  }
}
