// Refold: folds stored entries anew with a domain module: decode, upcast, validate, fold, rules. Pure; knows no file.
//
// The one engine of `heddle audit` and `heddle rehearse`. Shares the decoders with the shard, and nothing of how it
// decides: what the shard promised is checked again here. It goes on after every fault, so that all of them are told.
//
// R1. An entry that resets (a tombstone, a restore) leaves every aggregate of the entity in its initial state.
// R2. After an erased entry no state is known, until an entry that resets: what it held is gone.
// R3. A payload is brought to its newest shape before it is validated and folded; the stored bytes stay as they are.
// R4. Every rule is asked after every event (P3). One that stays broken is told once.
import {
  type CompiledAggregate,
  type CompiledContext,
  type CompiledEvent,
  describeThrown,
} from "@heddle/domain/internal";
import { crc32, type EntryView, entryFlags, resetFlags } from "@heddle/event-log/internal";
import { type AppendView, readU16, writeU16 } from "@heddle/protocol/internal";
import { type EntryDecoder, freeze } from "@heddle/shard/internal";
import { eventsOfType } from "./type-counts.ts";

/** What a refold can find, as names of the audit's rules. */
export type RefoldRule =
  | "log/entry-whole"
  | "domain/known"
  | "domain/upcast"
  | "domain/payload"
  | "domain/fold"
  | "domain/invariant";

export interface RefoldFault {
  readonly rule: RefoldRule;
  /** `Account.Credited`, or what else it is about. */
  readonly name: string;
  readonly seq: number;
  /** Events that it concerns. */
  readonly events: number;
  readonly found: string;
  readonly wanted: string;
}

/** A payload that its schema does not take a second time. See `MetType`. */
export interface RefusedPayload {
  readonly type: MetType;
  readonly fault: RefoldFault;
  /** As it lies in the log, and its schema version there. */
  readonly stored: unknown;
  readonly version: number;
}

export interface RefoldListener {
  onFault(fault: RefoldFault): void;
  onRefused(refused: RefusedPayload): void;
}

/** One entity's states, by aggregate index; undefined for an aggregate without events. */
export interface RefoldedStates {
  readonly states: unknown[];
  /** The rule that each aggregate broke last. */
  readonly broken: (string | undefined)[];
}

/** Stands for a state that is not known, because an event could not be read or folded. */
export const unfoldable = Symbol("unfoldable");

/**
 * An event type as it was met in the log. A schema may make something of a payload that it would not take as input
 * itself (text to a number), so a stored payload that it refuses need not be wrong; what else was met tells.
 */
export interface MetType {
  /** `Account.Credited` */
  readonly name: string;
  readonly event: CompiledEvent;
  /** Some stored payload fits the schema. */
  taken: boolean;
  /** Some payload was stored other than it had come in: the schema had made something of it. */
  transformed: boolean;
}

export interface RefoldOptions {
  readonly domain: CompiledContext;
  readonly listener: RefoldListener;
  /** Whether payloads are held against their schemas. */
  readonly validate: boolean;
}

export class Refold {
  readonly #domain: CompiledContext;
  readonly #listener: RefoldListener;
  readonly #validate: boolean;
  readonly #known = new Map<CompiledAggregate, Map<string, MetType>>();
  // Of the entry at hand, by type index.
  readonly #types: (MetType | undefined)[] = [];
  readonly #versions: number[] = [];

  constructor({ domain, listener, validate }: RefoldOptions) {
    this.#domain = domain;
    this.#listener = listener;
    this.#validate = validate;
  }

  /** Every event type that was met and that the domain has. */
  *types(): Generator<MetType> {
    for (const types of this.#known.values()) yield* types.values();
  }

  /** Folds one entry of an entity, which `decoder` has just opened; an erased one needs no decoder. */
  apply(into: RefoldedStates, entry: EntryView, decoder: EntryDecoder): void {
    if ((entry.flags & entryFlags.erased) !== 0) {
      for (const { index } of this.#domain.aggregates.values()) into.states[index] = unfoldable;
      return;
    }
    if ((entry.flags & resetFlags) !== 0) {
      into.states.length = 0;
      into.broken.length = 0;
      return;
    }
    const { view } = decoder;
    const aggregate = this.#domain.aggregates.get(view.aggregate);
    if (aggregate === undefined) {
      const found = `the aggregate ${JSON.stringify(view.aggregate)}`;
      this.#fault("domain/known", view.aggregate, entry.firstSeq, found, "one of the domain module", view.eventCount);
      return;
    }
    let payloads: unknown[];
    try {
      payloads = decoder.payloads(entry);
    } catch (error) {
      const found = `payloads that cannot be decoded: ${describeThrown(error)}`;
      this.#fault("log/entry-whole", aggregate.name, entry.firstSeq, found, "a list of payloads", view.eventCount);
      into.states[aggregate.index] = unfoldable;
      return;
    }
    this.#readTypes(aggregate, entry, view);
    this.#foldAll(into, aggregate, entry, view, payloads);
  }

  #readTypes(aggregate: CompiledAggregate, entry: EntryView, view: AppendView): void {
    let known = this.#known.get(aggregate);
    if (known === undefined) {
      known = new Map();
      this.#known.set(aggregate, known);
    }
    for (let i = 0; i < view.typeCount; i++) {
      const name = view.types[i]!;
      const version = readU16(entry.bytes, view.versionOffsets[i]!);
      let type = known.get(name);
      if (type === undefined) {
        const event = aggregate.events.get(name);
        if (event !== undefined) {
          type = { name: `${aggregate.name}.${name}`, event, taken: false, transformed: false };
          known.set(name, type);
        }
      }
      this.#types[i] = type;
      this.#versions[i] = version;
      const newest = type?.event.schemaVersion ?? 0;
      if (version >= 1 && version <= newest) continue;
      this.#types[i] = undefined;
      const path = `${aggregate.name}.${name}`;
      const [found, wanted] =
        type === undefined
          ? [`the event ${path}`, "one of the domain module"]
          : [`schema version ${version} of ${path}`, `1 to ${newest}`];
      this.#fault("domain/known", path, firstSeqOf(entry, view, i), found, wanted, eventsOfType(entry, view, i));
    }
  }

  #foldAll(
    { states, broken }: RefoldedStates,
    aggregate: CompiledAggregate,
    entry: EntryView,
    view: AppendView,
    payloads: readonly unknown[],
  ): void {
    const { index } = aggregate;
    let state = states[index];
    if (state === undefined) state = aggregate.initial();
    const { typeIndexes } = view;
    for (let i = 0; i < payloads.length; i++) {
      const typeIndex = typeIndexes === 0 ? 0 : entry.bytes[typeIndexes + i]!;
      const type = this.#types[typeIndex];
      if (type === undefined) {
        state = unfoldable;
        continue;
      }
      const version = this.#versions[typeIndex]!;
      let payload = payloads[i];
      if (version !== type.event.schemaVersion) {
        try {
          payload = type.event.upcast(payload, version);
        } catch (error) {
          const found = `${type.name} of schema version ${version}, whose upcaster threw: ${describeThrown(error)}`;
          this.#fault("domain/upcast", type.name, entry.firstSeq + i, found, `version ${type.event.schemaVersion}`);
          state = unfoldable;
          continue;
        }
      }
      if (this.#validate) this.#checkPayload(type, version, payload, payloads[i], entry, view, i);
      if (state === unfoldable) continue;
      state = this.#foldOne(broken, aggregate, type, state, payload, entry.firstSeq + i);
    }
    freeze(state);
    states[index] = state;
  }

  #foldOne(
    broken: (string | undefined)[],
    aggregate: CompiledAggregate,
    { event, name }: MetType,
    before: unknown,
    payload: unknown,
    seq: number,
  ): unknown {
    let state: unknown;
    try {
      state = event.fold(before, payload);
    } catch (error) {
      this.#fault("domain/fold", name, seq, `${name} threw: ${describeThrown(error)}`, "a state");
      return unfoldable;
    }
    if (state === undefined || state instanceof Promise) {
      if (state instanceof Promise) state.catch(() => {});
      const found = `the fold of ${name} returned ${state === undefined ? "nothing" : "a promise"}`;
      this.#fault("domain/fold", name, seq, found, "a state");
      return unfoldable;
    }
    let rule: string | undefined;
    try {
      rule = aggregate.brokenInvariant(state);
    } catch (error) {
      rule = `an invariant that threw: ${describeThrown(error)}`;
    }
    const { index } = aggregate;
    if (rule !== undefined && rule !== broken[index]) {
      const found = `${JSON.stringify(rule)} does not hold after ${name}`;
      this.#fault(
        "domain/invariant",
        `${aggregate.name}: ${rule}`,
        seq,
        found,
        `every rule of ${aggregate.name} holds`,
      );
    }
    broken[index] = rule;
    return state;
  }

  // A payload that was stored as it came in must fit, and the request's fingerprint tells those.
  #checkPayload(
    type: MetType,
    version: number,
    payload: unknown,
    stored: unknown,
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
    const fault: RefoldFault = {
      rule: "domain/payload",
      name: type.name,
      seq: entry.firstSeq + index,
      events: 1,
      found: `a payload of ${type.name} that does not fit: ${refusal}`,
      wanted: "what its schema takes",
    };
    if (version === type.event.schemaVersion) {
      if (isStoredAsItCame(entry, view)) {
        this.#listener.onFault(fault);
        return;
      }
      if ((entry.flags & entryFlags.command) === 0) type.transformed = true;
    }
    this.#listener.onRefused({ type, fault, stored, version });
  }

  #fault(rule: RefoldRule, name: string, seq: number, found: string, wanted: string, events = 1): void {
    this.#listener.onFault({ rule, name, seq, events, found, wanted });
  }
}

function firstSeqOf(entry: EntryView, view: AppendView, type: number): number {
  if (view.typeIndexes === 0) return entry.firstSeq;
  const indexes = entry.bytes.subarray(view.typeIndexes, view.typeIndexes + view.eventCount);
  return entry.firstSeq + Math.max(0, indexes.indexOf(type));
}

/** Whether the stored body is the request's, but for the schema versions that the shard filled in. */
function isStoredAsItCame(entry: EntryView, view: AppendView): boolean {
  const body = entry.bytes.slice(entry.bodyFrom, entry.bodyTo);
  for (let i = 0; i < view.typeCount; i++) writeU16(body, view.versionOffsets[i]! - entry.bodyFrom, 0);
  return crc32(body) === entry.fingerprint;
}
