// Reads: states, histories, lists and counts. Whoever reads hears of durable things only (P2): a reply that saw more waits
// until that is durable, too. What is long is read over several turns (P8).
import type { EventLog } from "@heddle/event-log/internal";
import {
  encodeReply,
  readGetAtBody,
  readGetBody,
  readHistoryBody,
  readListBody,
  replyKind,
} from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
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
import { StatesAt, statesBeforeFirst } from "./time-travel.ts";
import type { TypeCounts } from "./type-counts.ts";

export class Reads {
  readonly #parts: Parts;
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;
  #types!: TypeCounts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  attach({ log, groups, activation, types }: Memory): void {
    this.#log = log;
    this.#groups = groups;
    this.#activation = activation;
    this.#types = types;
  }

  get(frame: Frame): void {
    const fields = readGetBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const aggregate = aggregateToRead(this.#parts.options.domain, fields.entity, fields.aggregate);
    const entity = this.#activation.find(fields.entity);
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

  history(frame: Frame): void {
    const fields = readHistoryBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const { domain } = this.#parts.options;
    if (fields.aggregate !== "") aggregateToRead(domain, fields.entity, fields.aggregate);
    const page = new HistoryPage(fields, domain);
    this.#parts.overTurns(frame, ({ call }) => {
      const entity = this.#activation.find(fields.entity);
      if (entity !== undefined && this.#isBeingBuried(entity)) return undefined;
      if (entity !== undefined && !page.read(this.#activation, this.#log, entity)) return undefined;
      return encodeReply(replyKind.value, call, page.events);
    });
  }

  getAt(frame: Frame): void {
    const fields = readGetAtBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const { domain, clock } = this.#parts.options;
    const aggregate = aggregateToRead(domain, fields.entity, fields.aggregate);
    let states: StatesAt | undefined;
    this.#parts.overTurns(frame, ({ call }) => {
      const entity = this.#activation.find(fields.entity);
      if (entity !== undefined && this.#isBeingBuried(entity)) return undefined;
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
      if (!page.read(this.#parts.options.partition, this.#activation, this.#log)) return undefined;
      return encodeReply(replyKind.value, call, page.listed);
    });
  }

  types(frame: Frame): void {
    const made = encodeReply(replyKind.value, frame.call, this.#types.list());
    this.#groups.say(frame, this.#groups.hasUndurable, made);
  }

  // A tombstone that is not durable yet: what it takes away can be seen no more, and it cannot be seen itself.
  #isBeingBuried(entity: Entity): boolean {
    return entity.isErased && this.#groups.isUndurable(entity);
  }
}
