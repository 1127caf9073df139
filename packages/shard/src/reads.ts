// Reads: states, histories, lists and counts. Whoever reads hears of durable things only (P2): a reply that saw more waits
// until that is durable, too. What is long is read over several turns (P8).
import { type EventLog, entityOfEntry } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import {
  encodeErrorReply,
  encodeReply,
  readGetAtBody,
  readGetBody,
  readHistoryBody,
  readListBody,
  readProbeBody,
  replyKind,
} from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { AppendIds } from "./append-ids.ts";
import { asDomainFailure } from "./decide.ts";
import type { Entity } from "./entity.ts";
import { bodyOf, type Frame } from "./frame.ts";
import { HistoryPage } from "./history.ts";
import { ListPage } from "./listing.ts";
import type { Memory } from "./memory.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { Parts } from "./parts.ts";
import { aggregateToRead } from "./proposals.ts";
import { sayErased } from "./refusals.ts";
import { eventsOfCall } from "./system-facts.ts";
import { erased, StatesAt, statesBeforeFirst } from "./time-travel.ts";
import type { TypeCounts } from "./type-counts.ts";

/** What a probe's answer takes, about. */
const probeReplyBytes = 64;

export class Reads {
  readonly #parts: Parts;
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;
  #appendIds!: AppendIds;
  #types!: TypeCounts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  attach({ log, groups, activation, appendIds, types }: Memory): void {
    this.#log = log;
    this.#groups = groups;
    this.#activation = activation;
    this.#appendIds = appendIds;
    this.#types = types;
  }

  get(frame: Frame): void {
    const fields = readGetBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const aggregate = aggregateToRead(this.#parts.options.domain, fields.entity, fields.aggregate);
    const entity = this.#activation.find(fields.entity);
    if (entity?.hold !== undefined) {
      this.#parts.waitFor(entity, frame);
      return;
    }
    if (entity?.isErased) {
      sayErased(this.#parts, this.#groups, frame, entity);
      return;
    }
    const seq = entity?.seq ?? 0;
    let made: Uint8Array;
    try {
      const state = entity === undefined ? aggregate.initial() : this.#activation.statesOf(entity)[aggregate.index];
      made = encodeReply(replyKind.value, frame.call, { state, seq });
    } catch (thrown) {
      throw asDomainFailure(thrown, () => `the state of ${fields.entity}`);
    }
    this.#parts.counters.gets++;
    this.#groups.say(frame, entity !== undefined && this.#groups.isUndurable(entity), made);
  }

  /**
   * Whether an append with an id took effect: the numbers of its receipt, or null. Null is for good, as far as everything is
   * concerned that was sent on the same way before.
   */
  probe(frame: Frame): void {
    const fields = readProbeBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const entity = this.#activation.find(fields.entity);
    if (entity?.hold !== undefined) {
      this.#parts.waitFor(entity, frame);
      return;
    }
    const position = entity === undefined ? undefined : this.#appendIds.find(entity.id, fields.id, entity.baseSeq > 0);
    const { call } = frame;
    if (entity === undefined || position === undefined) {
      this.#groups.say(frame, false, encodeReply(replyKind.value, call, null));
      return;
    }
    const reply = () => this.#probed(call, position, entity);
    if (position >= this.#log.durableEnd) this.#groups.sayLater(frame, probeReplyBytes, reply);
    else this.#groups.say(frame, entity.isErased && this.#groups.isUndurable(entity), reply());
  }

  #probed(call: number, position: number, entity: Entity): Uint8Array {
    try {
      const entry = this.#activation.readAt(position);
      if (entry.firstSeq < entity.baseSeq && entityOfEntry(entry) === entity.id) throw erased(entity);
      const { firstSeq, time } = entry;
      const count = eventsOfCall(entry);
      const receipt = [firstSeq + count - 1, firstSeq, count, this.#parts.options.shard, position, time];
      return encodeReply(replyKind.value, call, receipt);
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      return encodeErrorReply(call, thrown);
    }
  }

  history(frame: Frame): void {
    const fields = readHistoryBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const { domain } = this.#parts.options;
    if (fields.aggregate !== "") aggregateToRead(domain, fields.entity, fields.aggregate);
    const page = new HistoryPage(fields, domain);
    const again = (own: Frame) => this.history(own);
    this.#overTurns(frame, fields.entity, again, (entity, call) => {
      if (entity !== undefined && !page.read(this.#activation, this.#log, entity)) return undefined;
      return encodeReply(replyKind.value, call, page.events);
    });
  }

  getAt(frame: Frame): void {
    const fields = readGetAtBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const { domain, clock } = this.#parts.options;
    const aggregate = aggregateToRead(domain, fields.entity, fields.aggregate);
    let states: StatesAt | undefined;
    const again = (own: Frame) => this.getAt(own);
    this.#overTurns(frame, fields.entity, again, (entity, call) => {
      if (entity === undefined || entity.seq === 0) {
        const before = statesBeforeFirst(domain, fields.entity, fields.at, clock.now());
        return encodeReply(replyKind.value, call, { state: before[aggregate.index], seq: 0 });
      }
      states ??= new StatesAt(this.#activation, this.#log, entity, fields.at, clock.now());
      if (!states.read(this.#activation, entity)) return undefined;
      try {
        return encodeReply(replyKind.value, call, { state: states.states[aggregate.index], seq: states.seq });
      } catch (thrown) {
        throw asDomainFailure(thrown, () => `the state of ${fields.entity}`);
      }
    });
  }

  list(frame: Frame): void {
    const fields = readListBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const page = new ListPage(fields);
    this.#parts.overTurns(frame, ({ call }) => {
      this.#groups.chainAll();
      if (!page.read(this.#parts.options.partition, this.#activation, this.#log)) return undefined;
      return encodeReply(replyKind.value, call, page.listed);
    });
  }

  types(frame: Frame): void {
    const made = encodeReply(replyKind.value, frame.call, this.#types.list());
    this.#groups.say(frame, this.#groups.hasUndurable, made);
  }

  // Reads what is durable of an entity, over turns, once it is durable as it is now. What a transaction holds when a reading begins
  // is waited for; one that takes it later comes after the reading. A transaction may have seen what is not durable yet, and what
  // it read beside may have been changed since by somebody who was answered: whoever begins to read later must find no less.
  #overTurns(
    frame: Frame,
    id: string,
    again: (frame: Frame) => void,
    read: (entity: Entity | undefined, call: number) => Uint8Array | undefined,
  ): void {
    const entity = this.#activation.find(id);
    if (entity?.hold !== undefined) {
      this.#parts.waitFor(entity, frame);
      return;
    }
    const log = this.#log;
    const lastPosition = entity !== undefined && this.#groups.isUndurable(entity) ? entity.position : -1;
    this.#parts.overTurns(frame, (own) => {
      if (this.#log !== log) {
        // Recovered meanwhile: a transaction whose events were lost here holds the entity again.
        again(own);
        return "replied";
      }
      const now = this.#activation.find(id);
      if (lastPosition >= log.durableEnd || (now !== undefined && this.#isBeingBuried(now))) return "undurable";
      return read(now, own.call);
    });
  }

  // A tombstone that is not durable yet: what it takes away can be seen no more, and it cannot be seen itself.
  #isBeingBuried(entity: Entity): boolean {
    return entity.isErased && this.#groups.isUndurable(entity);
  }
}
