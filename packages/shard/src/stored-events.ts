// StoredEvents: from the bytes of a log entry back to events. Used by activation, history and audit alike.
//
// E1. Every reader gets payloads in the newest shape of the domain module, whatever version they were written with.
// E2. An entry that was erased has an entity, a sequence and a count, and no events.
import type { CompiledAggregate, CompiledContext, CompiledEvent } from "@heddle/domain/internal";
import { type EntryView, entityOfEntry, entryFlags, resetFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import {
  type AppendView,
  decodeValue,
  newAppendView,
  readAppendBody,
  readU16,
  systemAggregate,
  TextCache,
} from "@heddle/protocol/internal";
import { asDomainFailure, initialStates, settle } from "./decide.ts";

export interface StoredEvent {
  readonly seq: number;
  readonly time: number;
  readonly aggregate: string;
  readonly type: string;
  readonly payload: unknown;
  readonly metadata: unknown;
  readonly id: string | undefined;
  /** Of the payload as it is given: the newest that the domain module has. */
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

  /** Takes the entry's body apart into `view`, without its payloads. An erased one has no types. */
  open(entry: EntryView): AppendView {
    if ((entry.flags & entryFlags.erased) !== 0) {
      Object.assign(this.view, newAppendView(), { entity: entityOfEntry(entry), eventCount: entry.eventCount });
      return this.view;
    }
    readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, this.#texts, this.view);
    return this.view;
  }

  /** The payloads of the entry that was opened last. */
  payloads(entry: EntryView): unknown[] {
    const payloads = decodeValue(entry.bytes, this.view.payloadsFrom, this.view.end);
    if (!Array.isArray(payloads) || payloads.length !== this.view.eventCount) {
      throw new HeddleError("LOG_DAMAGED", {
        file: `position ${entry.position}`,
        offset: 0,
        problem: `an entry has ${this.view.eventCount} events but its payloads do not match`,
      });
    }
    return payloads;
  }

  /** The metadata of the entry that was opened last. */
  metadata(entry: EntryView): unknown {
    const { metadataFrom, metadataTo } = this.view;
    return metadataTo > metadataFrom ? decodeValue(entry.bytes, metadataFrom, metadataTo) : undefined;
  }

  /** The entry's events, in order. Errors: `DOMAIN_FAILED` when an upcaster throws. */
  events(entry: EntryView, domain: CompiledContext): StoredEvent[] {
    const view = this.open(entry);
    if ((entry.flags & entryFlags.erased) !== 0) return [];
    const aggregate = domain.aggregates.get(view.aggregate);
    const payloads = this.payloads(entry);
    const metadata = this.metadata(entry);
    return payloads.map((payload, index) => {
      const typeIndex = view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + index]!;
      const type = view.types[typeIndex]!;
      const stored = readU16(entry.bytes, view.versionOffsets[typeIndex]!);
      const event = aggregate?.events.get(type);
      return {
        seq: entry.firstSeq + index,
        time: entry.time,
        aggregate: view.aggregate,
        type,
        payload: event === undefined ? payload : upcast(event, payload, stored, view.aggregate),
        metadata,
        id: view.id === "" ? undefined : view.id,
        schemaVersion: event?.schemaVersion ?? stored,
        position: entry.position,
      };
    });
  }

  /**
   * Folds the entry's events with a sequence above `afterSeq`, and not above `upTo`, into `states`, just as they were
   * folded before. Errors: `DOMAIN_FAILED` when the domain does not know the aggregate or type, or a fold or upcaster
   * throws.
   */
  foldInto(
    states: unknown[],
    entry: EntryView,
    domain: CompiledContext,
    afterSeq: readonly number[],
    upTo = Number.POSITIVE_INFINITY,
  ): void {
    const view = this.open(entry);
    if ((entry.flags & resetFlags) !== 0) resetStates(states, entry, domain, afterSeq);
    if ((entry.flags & entryFlags.erased) !== 0 || view.aggregate === systemAggregate) return;
    const aggregate = domain.aggregates.get(view.aggregate);
    if (aggregate === undefined) throw unknownStored(`aggregate ${view.aggregate}`);
    const skip = afterSeq[aggregate.index]! - entry.firstSeq + 1;
    if (skip >= view.eventCount) return;
    const payloads = this.payloads(entry);
    let state = states[aggregate.index];
    const last = Math.min(payloads.length - 1, upTo - entry.firstSeq);
    let at = Math.max(0, skip);
    try {
      for (; at <= last; at++) {
        const event = eventOf(aggregate, this.#typeAt(entry, at));
        state = event.fold(state, event.upcast(payloads[at], this.#versionAt(entry, at)));
        if (at === last) settle(state);
      }
    } catch (thrown) {
      const where = () =>
        `${aggregate.name}.${this.#typeAt(entry, at)}, at the replay of sequence ${entry.firstSeq + at}`;
      throw asDomainFailure(thrown, where);
    }
    states[aggregate.index] = state;
  }

  #versionAt(entry: EntryView, index: number): number {
    const { versionOffsets, typeIndexes } = this.view;
    return readU16(entry.bytes, versionOffsets[typeIndexes === 0 ? 0 : entry.bytes[typeIndexes + index]!]!);
  }

  #typeAt(entry: EntryView, index: number): string {
    const { types, typeIndexes } = this.view;
    return types[typeIndexes === 0 ? 0 : entry.bytes[typeIndexes + index]!]!;
  }
}

// What an aggregate's snapshot has seen is not undone by an entry that lies before it.
function resetStates(states: unknown[], entry: EntryView, domain: CompiledContext, afterSeq: readonly number[]): void {
  const initial = initialStates(domain, entityOfEntry(entry));
  for (let i = 0; i < initial.length; i++) if (afterSeq[i]! < entry.firstSeq) states[i] = initial[i];
}

/** Stored payloads in their newest shape. Errors: `DOMAIN_FAILED` when an upcaster throws. */
export function upcastAll(
  aggregate: CompiledAggregate,
  stored: readonly unknown[],
  storedAs: (index: number) => { readonly event: CompiledEvent; readonly version: number },
): unknown[] {
  return stored.map((payload, index) => {
    const { event, version } = storedAs(index);
    return upcast(event, payload, version, aggregate.name);
  });
}

/** A payload in its newest shape. Errors: `DOMAIN_FAILED` when an upcaster throws. */
export function upcast(event: CompiledEvent, payload: unknown, version: number, aggregate: string): unknown {
  try {
    return event.upcast(payload, version);
  } catch (thrown) {
    throw asDomainFailure(thrown, () => `an upcaster of ${aggregate}.${event.type}, from version ${version}`);
  }
}

function eventOf(aggregate: CompiledAggregate, type: string): CompiledEvent {
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
