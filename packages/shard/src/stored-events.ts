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
   * Folds the entry's events with a sequence above `afterSeq` into `states`.
   * Errors: `DOMAIN_FAILED` when the domain no longer knows the aggregate or type; whatever a fold throws.
   */
  foldInto(states: unknown[], entry: EntryView, domain: CompiledContext, afterSeq: readonly number[]): void {
    const view = this.open(entry);
    const aggregate = domain.aggregates.get(view.aggregate);
    if (aggregate === undefined) throw unknownStored(`aggregate ${view.aggregate}`);
    const skip = afterSeq[aggregate.index]! - entry.firstSeq + 1;
    if (skip >= view.eventCount) return;
    const payloads = this.payloads(entry);
    let state = states[aggregate.index];
    for (let i = Math.max(0, skip); i < payloads.length; i++) {
      const type = view.types[view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + i]!]!;
      state = eventOf(aggregate, type).fold(state, payloads[i]);
    }
    states[aggregate.index] = state;
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
