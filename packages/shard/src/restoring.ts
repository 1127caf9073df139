// Restoring: brings an entity back to an earlier state, by adding to its history and never by changing it.
//
// What is written: one system event, after which the entity's states are initial, then copies of the events that made the
// earlier states, with new sequences and times. All of it is in one commit group, so there is nothing in between. Whoever
// reads the log forward needs to know nothing more than that the system event begins anew.
//
// R1. The copies are folded and the rules asked as for any append: a state that today's rules forbid does not come back.
// R2. One turn reads and folds no more than a bounded part of the log; writing is one turn.
import type { CompiledContext } from "@heddle/domain/internal";
import { type EntryView, entryFlags, resetFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { type AppendFields, type Rejection, readU16 } from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import { type Folded, foldAll, initialStates, type Proposed } from "./decide.ts";
import type { Entity } from "./entity.ts";
import { EntryDecoder, upcastAll } from "./stored-events.ts";
import { erased } from "./time-travel.ts";

/** Bytes of log read in one turn. */
const turnBytesMax = 512 << 10;
/** What one restoring may copy: it is one write to the disk, and held in memory until then. */
const copyBytesMax = 64 << 20;

/** An append that is to be written again. */
export interface Copy {
  readonly fields: AppendFields;
  readonly proposed: Proposed;
  /** In the newest shape, for folding. */
  readonly payloads: readonly unknown[];
}

const decoder = new EntryDecoder();

export class Restoring {
  readonly seq: number;
  readonly #domain: CompiledContext;
  #copies: Copy[] = [];
  #bytes = 0;
  #next: number;
  /** What the copies make. */
  #states: unknown[];
  readonly #entity: string;
  #rejected: Rejection | undefined;
  readonly #folded: Folded = { state: undefined };

  /** Errors: `DOMAIN_FAILED`. */
  constructor(domain: CompiledContext, entity: Entity, seq: number) {
    this.seq = seq;
    this.#domain = domain;
    this.#entity = entity.id;
    this.#states = initialStates(domain, entity.id);
    this.#next = Math.max(1, entity.baseSeq);
  }

  get copies(): readonly Copy[] {
    return this.#copies;
  }

  get events(): number {
    return this.#copies.reduce((sum, { payloads }) => sum + payloads.length, 0);
  }

  /** Errors: `ERASED` when the entity was erased since, and what was to come back with it. */
  checkLife(entity: Entity): void {
    if (this.seq < entity.baseSeq) throw erased(entity);
  }

  /** Reads on; true when all is read. Errors: `LOG_DAMAGED`, `DOMAIN_FAILED`, `INVALID_REQUEST` for too much at once. */
  read(activation: Activation, entity: Entity): boolean {
    let left = turnBytesMax;
    for (const extent of activation.extentsForward(entity, this.#next)) {
      if (extent.firstSeq > this.seq) return true;
      if (left <= 0) return false;
      const entry = activation.readEntry(entity, extent, decoder);
      left -= entry.bodyTo - entry.bodyFrom;
      this.#next = extent.firstSeq + extent.count;
      if ((entry.flags & resetFlags) !== 0) this.#beginAnew();
      else if ((entry.flags & entryFlags.erased) === 0) this.#take(entity, entry);
    }
    return true;
  }

  /** The states that the copies make, or the rule that says no. To be asked when all is read. */
  get result(): { readonly states: unknown[] } | { readonly rejected: Rejection } {
    return this.#rejected === undefined ? { states: this.#states } : { rejected: this.#rejected };
  }

  #beginAnew(): void {
    this.#copies = [];
    this.#bytes = 0;
    this.#states = initialStates(this.#domain, this.#entity);
    this.#rejected = undefined;
  }

  #take(entity: Entity, entry: EntryView): void {
    this.#bytes += entry.bodyTo - entry.bodyFrom;
    if (this.#bytes > copyBytesMax) throw tooMuch(entity, this.seq);
    const copy = copyOf(entry, this.#domain, this.seq);
    this.#copies.push(copy);
    if (this.#rejected !== undefined) return;
    const { index } = copy.proposed.aggregate;
    this.#rejected = foldAll(copy.proposed, this.#states[index], copy.payloads, this.#folded);
    if (this.#rejected === undefined) this.#states[index] = this.#folded.state;
  }
}

// The stored payloads and versions as they are, without the append's id, which stays with the first.
function copyOf(entry: EntryView, domain: CompiledContext, upTo: number): Copy {
  const { view } = decoder;
  const aggregate = domain.aggregates.get(view.aggregate);
  if (aggregate === undefined) {
    throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: view.aggregate, known: domain.aggregateNames });
  }
  const count = Math.min(entry.eventCount, upTo - entry.firstSeq + 1);
  const stored = decoder.payloads(entry).slice(0, count);
  const typeOf = (index: number) => (view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + index]!);
  const versions = view.versionOffsets.slice(0, view.typeCount).map((at) => readU16(entry.bytes, at));
  const names = view.types.slice(0, view.typeCount);
  const types = names.map((name) => aggregate.events.get(name)!);
  const indexBytes = Uint8Array.from([0, ...stored.map((_, index) => typeOf(index))]);
  return {
    fields: {
      entity: view.entity,
      aggregate: view.aggregate,
      events: stored.map((payload, index) => ({
        type: names[typeOf(index)]!,
        payload,
        schemaVersion: versions[typeOf(index)]!,
      })),
      metadata: decoder.metadata(entry),
    },
    proposed: { aggregate, types, indexFrom: names.length > 1 ? 1 : 0, indexBytes },
    payloads: upcastAll(aggregate, stored, (index) => ({
      event: types[typeOf(index)]!,
      version: versions[typeOf(index)]!,
    })),
  };
}

function tooMuch(entity: Entity, seq: number): HeddleError {
  const problem = `${entity.id} up to sequence ${seq} is more than ${copyBytesMax} bytes; fork it instead`;
  return new HeddleError("INVALID_REQUEST", { path: "at", problem });
}
