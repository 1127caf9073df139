// StoredEvents: from the bytes of a log entry back to events. Used by activation, history and audit alike.
import type { CompiledAggregate, CompiledContext } from "@heddle/domain/internal";
import type { EntryView } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import {
  type AppendView,
  decodeValue,
  newAppendView,
  readAppendBody,
  readU16,
  TextCache,
} from "@heddle/protocol/internal";
import { asDomainFailure, settle } from "./decide.ts";

export interface StoredEvent {
  readonly seq: number;
  readonly time: number;
  readonly aggregate: string;
  readonly type: string;
  readonly payload: unknown;
  readonly metadata: unknown;
  readonly id: string | undefined;
  readonly schemaVersion: number;
  readonly position: number;
}

/** Decodes entries one after another; its parts are reused, so one entry is done with before the next is read. */
export class EntryDecoder {
  readonly #texts: TextCache;
  readonly view: AppendView = newAppendView();

  constructor(texts = new TextCache()) {
    this.#texts = texts;
  }

  /** Takes the entry's body apart into `view`, without its payloads. */
  open(entry: EntryView): AppendView {
    readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, this.#texts, this.view);
    return this.view;
  }

  /** The payloads of the entry that was opened last. */
  payloads(entry: EntryView): unknown[] {
    const payloads = decodeValue(entry.bytes.subarray(this.view.payloadsFrom, this.view.end));
    if (!Array.isArray(payloads) || payloads.length !== this.view.eventCount) {
      throw new HeddleError("LOG_DAMAGED", {
        file: `position ${entry.position}`,
        offset: 0,
        problem: `an entry has ${this.view.eventCount} events but its payloads do not match`,
      });
    }
    return payloads;
  }

  /** The entry's events, in order. */
  events(entry: EntryView): StoredEvent[] {
    const view = this.open(entry);
    const payloads = this.payloads(entry);
    const metadata =
      view.metadataTo > view.metadataFrom
        ? decodeValue(entry.bytes.subarray(view.metadataFrom, view.metadataTo))
        : undefined;
    return payloads.map((payload, index) => {
      const type = view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + index]!;
      return {
        seq: entry.firstSeq + index,
        time: entry.time,
        aggregate: view.aggregate,
        type: view.types[type]!,
        payload,
        metadata,
        id: view.id === "" ? undefined : view.id,
        schemaVersion: readU16(entry.bytes, view.versionOffsets[type]!),
        position: entry.position,
      };
    });
  }

  /**
   * Folds the entry's events with a sequence above `afterSeq` into `states`, just as they were folded before.
   * Errors: `DOMAIN_FAILED` when the domain no longer knows the aggregate or type, or a fold throws.
   */
  foldInto(states: unknown[], entry: EntryView, domain: CompiledContext, afterSeq: readonly number[]): void {
    const view = this.open(entry);
    const aggregate = domain.aggregates.get(view.aggregate);
    if (aggregate === undefined) throw unknownStored(`aggregate ${view.aggregate}`);
    const skip = afterSeq[aggregate.index]! - entry.firstSeq + 1;
    if (skip >= view.eventCount) return;
    const payloads = this.payloads(entry);
    let state = states[aggregate.index];
    const last = payloads.length - 1;
    let at = Math.max(0, skip);
    try {
      for (; at <= last; at++) {
        state = eventOf(aggregate, this.#typeAt(entry, at)).fold(state, payloads[at]);
        if (at === last) settle(state);
      }
    } catch (thrown) {
      const where = () =>
        `${aggregate.name}.${this.#typeAt(entry, at)}, at the replay of sequence ${entry.firstSeq + at}`;
      throw asDomainFailure(thrown, where);
    }
    states[aggregate.index] = state;
  }

  #typeAt(entry: EntryView, index: number): string {
    const { types, typeIndexes } = this.view;
    return types[typeIndexes === 0 ? 0 : entry.bytes[typeIndexes + index]!]!;
  }
}

function eventOf(aggregate: CompiledAggregate, type: string) {
  const event = aggregate.events.get(type);
  if (event === undefined) throw unknownStored(`event ${aggregate.name}.${type}`);
  return event;
}

function unknownStored(what: string): HeddleError {
  return new HeddleError("DOMAIN_FAILED", {
    where: "replay",
    message: `the log holds ${what}, which the domain module does not have`,
  });
}
