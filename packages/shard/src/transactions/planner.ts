// Planner: decides what a transaction does to the entities of one shard.
//
// Operations are decided in their order against shadows of their entities, each upon what those before it did. Nothing of
// the shard changes by it (P7): a refusal forgets the shadows. Every rule held for every event when a plan is made (P3).
import type { CompiledAggregate, CompiledContext, CompiledEvent } from "@heddle/domain/internal";
import { entryFlags } from "@heddle/event-log/internal";
import { HeddleError, isSystemEntity } from "@heddle/kernel";
import { ofOperation } from "@heddle/kernel/internal";
import {
  type AppendView,
  copyBytes,
  newAppendView,
  newExecuteView,
  type OperationRange,
  type PackedValue,
  type Rejection,
  readAppendBody,
  readExecuteBody,
  readTransactRead,
  readU16,
  rejection,
  requestKind,
  type WireOperationResult,
  writeU16,
} from "@heddle/protocol/internal";
import type { Activation } from "../activation.ts";
import { type Folded, foldAll, type Proposed, validateAll } from "../decide.ts";
import { type Decided, decideCommand } from "../decide-command.ts";
import { checkBodyBytes, decodeInput, decodePayloads, metadataOf } from "../decoding.ts";
import type { Entity } from "../entity.ts";
import type { Erasures } from "../erasures.ts";
import type { Memory } from "../memory.ts";
import type { Parts } from "../parts.ts";
import { aggregateOfAppend, aggregateOfCommand, aggregateToRead, proposalOfAppend } from "../proposals.ts";
import { encodeBody, storedPayloads } from "../store-body.ts";
import { erased } from "../time-travel.ts";
import type { Plan, PlannedWrite, Refused, Shadow } from "./plan.ts";

/** What the operations of one transaction may write on one shard: commands can make much of little. */
const planBytesMax = 64 << 20;

/** Plans that are kept lie in pieces of so many bytes; one that waits for long keeps the whole of its piece. */
const pieceBytes = 64 * 1024;
/** Below so much room, the next plan begins in a new piece. */
const roomBytesMin = 1024;
/** What a plan that is not kept may leave behind. */
const bytesKept = 1 << 20;
/** So many entities are looked through one by one. */
const fewShadows = 8;

/** The entity that an operation names, whatever its kind: it stands first in each body. Errors: `BAD_FRAME`. */
export function entityOfOperation(parts: Parts, bytes: Uint8Array, from: number, to: number): string {
  const end = from + 2 + (to - from < 2 ? Infinity : readU16(bytes, from));
  if (end > to) throw new HeddleError("BAD_FRAME", { problem: "an operation ends in the middle of its entity" });
  try {
    return parts.texts.read(bytes, from + 2, end);
  } catch (cause) {
    throw new HeddleError("BAD_FRAME", { problem: "an entity's name is not UTF-8" }, { cause });
  }
}

export class Planner {
  readonly #parts: Parts;
  readonly #domain: CompiledContext;
  readonly #append = newAppendView();
  readonly #execute = newExecuteView();
  readonly #folded: Folded = { state: undefined };
  readonly #decided: Decided = { proposed: undefined, payloads: [] };
  readonly #reserve = (wanted: number) => this.#room(wanted);
  #activation!: Activation;
  #erasures!: Erasures;
  /** Bodies of plans that are kept, and from `#from` to `#used` those of the plan that is being made. */
  #bytes = new Uint8Array(pieceBytes);
  #from = 0;
  #used = 0;
  #held: readonly Entity[] = [];
  #shadows: Shadow[] = [];
  /** Of the shadows, those that are found faster by a look-up. */
  readonly #byEntity = new Map<Entity, Shadow>();
  #writes: PlannedWrite[] = [];
  #writeCount = 0;
  #results: WireOperationResult[] = [];
  /** The operation that is being decided. */
  #at = 0;
  /** Proposals of one event type, which are the same for all appends. */
  readonly #ofOneType = new Map<CompiledEvent, Proposed>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#domain = parts.options.domain;
  }

  attach({ activation, erasures }: Memory): void {
    this.#activation = activation;
    this.#erasures = erasures;
  }

  /**
   * Decides operations whose bodies lie in `bytes`; their entities are `held`. The plan's bytes are lent until the next one is
   * made, unless it is kept.
   * Errors: as those of an append, a command or a read, whichever comes first, with its place among these.
   */
  make(bytes: Uint8Array, operations: readonly OperationRange[], held: readonly Entity[]): Plan | Refused {
    this.#held = held;
    if (this.#bytes.length > bytesKept) this.#bytes = new Uint8Array(pieceBytes);
    this.#used = this.#from;
    this.#shadows = [];
    if (this.#byEntity.size > 0) this.#byEntity.clear();
    this.#writes = new Array(writesAmong(operations));
    this.#writeCount = 0;
    this.#results = new Array(operations.length);
    for (let i = 0; i < operations.length; i++) {
      const { kind, from, to } = operations[i]!;
      this.#at = i;
      let rejected: Rejection | undefined;
      try {
        rejected = this.#take(kind, bytes, from, to);
      } catch (thrown) {
        throw this.#placed(thrown, bytes, from, to);
      }
      if (rejected !== undefined) {
        return { operation: i, entity: entityOfOperation(this.#parts, bytes, from, to), rejection: rejected };
      }
    }
    return {
      bytes: this.#bytes,
      from: this.#from,
      writes: this.#writes,
      shadows: this.#shadows,
      results: this.#results,
    };
  }

  /** Makes the plan that was made last one that stays: with bytes of its own, and without anything of the request's. */
  keep(plan: Plan): void {
    const { writes } = plan;
    for (let i = 0; i < writes.length; i++) {
      const write = writes[i]!;
      if (write.proposed !== undefined && write.proposed.indexFrom > 0) write.proposed = undefined;
    }
    if (this.#bytes.length > pieceBytes) {
      plan.bytes = plan.bytes.slice(plan.from, this.#used);
      plan.from = 0;
      return;
    }
    this.#from = this.#used;
    if (this.#bytes.length - this.#from >= roomBytesMin) return;
    this.#bytes = new Uint8Array(pieceBytes);
    this.#from = 0;
  }

  // Apart, as what a `catch` captures costs the way without an error, too.
  #placed(thrown: unknown, bytes: Uint8Array, from: number, to: number): unknown {
    if (!(thrown instanceof HeddleError)) return thrown;
    return ofOperation(thrown, this.#at, entityOfOperation(this.#parts, bytes, from, to));
  }

  #take(kind: number, bytes: Uint8Array, from: number, to: number): Rejection | undefined {
    switch (kind) {
      case requestKind.append:
        return this.#takeAppend(bytes, from, to);
      case requestKind.execute:
        return this.#takeExecute(bytes, from, to);
      case requestKind.get:
        return this.#takeRead(bytes, from, to);
      default:
        throw new HeddleError("BAD_FRAME", { problem: `an operation of the unknown kind ${kind}` });
    }
  }

  #takeAppend(bytes: Uint8Array, from: number, to: number): Rejection | undefined {
    const view = this.#append;
    readAppendBody(bytes, from, to, this.#parts.texts, view);
    const shadow = this.#shadowOf(view.entity);
    const conflict = this.#checkWrite(shadow, view);
    if (conflict !== undefined) return conflict;
    checkBodyBytes(to - from);
    const aggregate = aggregateOfAppend(this.#domain, view.entity, view.aggregate, view.types[0]!);
    const proposed = this.#proposalOf(aggregate, view, bytes);
    const payloads = decodePayloads(bytes, view.payloadsFrom, to, view.eventCount);
    const metadata = metadataOf(bytes, view.metadataFrom, view.metadataTo);
    const verbatim = validateAll(proposed, payloads) && view.aggregate !== "";
    if (!verbatim) return this.#encode(shadow, 0, proposed, payloads, metadata);
    const states = this.#statesOf(shadow);
    const rejected = foldAll(proposed, states[aggregate.index], payloads, this.#folded);
    if (rejected !== undefined) return rejected;
    const room = this.#room(to - from);
    copyBytes(bytes, from, to, room.bytes, room.at);
    for (let i = 0; i < view.typeCount; i++) {
      writeU16(room.bytes, room.at + view.versionOffsets[i]! - from, proposed.types[i]!.schemaVersion);
    }
    this.#add(shadow, 0, proposed, payloads.length, to - from, view.payloadsFrom - from);
    return undefined;
  }

  #proposalOf(aggregate: CompiledAggregate, view: AppendView, bytes: Uint8Array): Proposed {
    if (view.typeCount > 1) return proposalOfAppend(aggregate, view, bytes, []);
    const event = aggregate.events.get(view.types[0]!);
    let proposed = event === undefined ? undefined : this.#ofOneType.get(event);
    if (proposed?.aggregate === aggregate) return proposed;
    proposed = { ...proposalOfAppend(aggregate, view, bytes, []), indexBytes: noBytes };
    this.#ofOneType.set(proposed.types[0]!, proposed);
    return proposed;
  }

  #takeExecute(bytes: Uint8Array, from: number, to: number): Rejection | undefined {
    const view = this.#execute;
    readExecuteBody(bytes, from, to, this.#parts.texts, view);
    const shadow = this.#shadowOf(view.entity);
    const conflict = this.#checkWrite(shadow, view);
    if (conflict !== undefined) return conflict;
    const aggregate = aggregateOfCommand(this.#domain, view.entity, view.aggregate, view.command);
    const input = decodeInput(bytes, view.inputFrom, to);
    const metadata = metadataOf(bytes, view.metadataFrom, view.metadataTo);
    const states = this.#statesOf(shadow);
    const rejected = decideCommand(
      aggregate,
      view.command,
      input,
      states[aggregate.index],
      shadow.entity.id,
      shadow.time,
      this.#decided,
    );
    if (rejected !== undefined) return rejected;
    const { proposed, payloads } = this.#decided;
    return this.#encode(shadow, entryFlags.command, proposed!, payloads, metadata);
  }

  #takeRead(bytes: Uint8Array, from: number, to: number): Rejection | undefined {
    const view = readTransactRead(bytes, from, to, this.#parts.texts);
    const shadow = this.#shadowOf(view.entity);
    if (isErasedIn(shadow)) throw erased(shadow.entity);
    const { seq } = shadow;
    if (view.expectedSeq >= 0 && view.expectedSeq !== seq) return conflictOf(view.expectedSeq, seq);
    if (!view.wantsState) {
      this.#results[this.#at] = [seq];
      return undefined;
    }
    const aggregate = aggregateToRead(this.#domain, view.entity, view.aggregate);
    this.#results[this.#at] = [seq, this.#statesOf(shadow)[aggregate.index]];
    return undefined;
  }

  // Errors: `INVALID_REQUEST` for one of Heddle's own entities: what writes to them does not look for holds.
  #shadowOf(id: string): Shadow {
    if (isSystemEntity(id)) {
      throw new HeddleError("INVALID_REQUEST", { path: "entity", problem: `only Heddle changes ${id}` });
    }
    const entity = this.#heldEntity(id) ?? this.#activation.activate(id);
    const known = this.#known(entity);
    if (known !== undefined) return known;
    const shadow = { entity, seq: entity.seq, time: this.#parts.turn.timeOf(entity), states: undefined };
    // The most have one: a list that grows would make room for many.
    if (this.#shadows.length === 0) this.#shadows = [shadow];
    else this.#shadows.push(shadow);
    if (this.#shadows.length > fewShadows) this.#byEntity.set(entity, shadow);
    return shadow;
  }

  #heldEntity(id: string): Entity | undefined {
    const held = this.#held;
    for (let i = 0; i < fewShadows && i < held.length; i++) if (held[i]!.id === id) return held[i];
    return undefined;
  }

  #known(entity: Entity): Shadow | undefined {
    for (let i = 0; i < fewShadows && i < this.#shadows.length; i++) {
      if (this.#shadows[i]!.entity === entity) return this.#shadows[i];
    }
    return this.#shadows.length > fewShadows ? this.#byEntity.get(entity) : undefined;
  }

  #statesOf(shadow: Shadow): unknown[] {
    shadow.states ??= this.#activation.statesOf(shadow.entity).slice();
    return shadow.states;
  }

  #checkWrite(
    shadow: Shadow,
    { id, newLife, expectedSeq }: { readonly id: string; readonly newLife: boolean; readonly expectedSeq: number },
  ): Rejection | undefined {
    const { entity } = shadow;
    if (id !== "") {
      const problem = "an operation of a transaction has no id of its own; give one to the transaction";
      throw new HeddleError("INVALID_REQUEST", { path: "id", problem });
    }
    if (isErasedIn(shadow)) {
      if (!newLife) throw erased(entity);
      if (this.#erasures.isUnderWay(entity.id)) {
        throw new HeddleError("OVERLOADED", { queue: `the erasure of ${entity.id}`, depth: 1, depthMax: 1 });
      }
    }
    if (shadow.seq === entity.baseSeq) this.#domain.checkKind(entity.id);
    return expectedSeq < 0 || expectedSeq === shadow.seq ? undefined : conflictOf(expectedSeq, shadow.seq);
  }

  // What is folded is what a replay will fold: the values as they come back from their bytes.
  #encode(
    shadow: Shadow,
    flags: number,
    proposed: Proposed,
    payloads: unknown[],
    packedMetadata: PackedValue | undefined,
  ): Rejection | undefined {
    const { aggregate } = proposed;
    const fields = { entity: shadow.entity.id, id: "", proposed, payloads, packedMetadata };
    const bodyBytes = encodeBody(fields, this.#reserve);
    const { bytes, at } = this.#room(bodyBytes);
    const stored = storedPayloads(bytes, at, bodyBytes, proposed, this.#parts.texts, this.#append);
    const rejected = foldAll(proposed, this.#statesOf(shadow)[aggregate.index], stored, this.#folded);
    if (rejected !== undefined) return rejected;
    this.#add(shadow, flags, proposed, stored.length, bodyBytes, this.#append.payloadsFrom - at);
    return undefined;
  }

  // Takes in the write whose body stands in the room that was asked for last.
  #add(
    shadow: Shadow,
    flags: number,
    proposed: Proposed,
    count: number,
    bodyBytes: number,
    payloadsOffset: number,
  ): void {
    const { entity, time } = shadow;
    const firstSeq = shadow.seq + 1;
    const from = this.#used - this.#from;
    const to = from + bodyBytes;
    const result = this.#at;
    this.#used += bodyBytes;
    shadow.seq += count;
    this.#statesOf(shadow)[proposed.aggregate.index] = this.#folded.state;
    this.#results[result] = [shadow.seq, firstSeq, count, this.#parts.options.shard, 0, time];
    const write = { entity, flags, firstSeq, count, time, from, to, payloadsOffset, proposed, result };
    this.#writes[this.#writeCount++] = write;
  }

  #room(wanted: number): { bytes: Uint8Array; at: number } {
    const used = this.#used - this.#from;
    const end = used + wanted;
    if (end > planBytesMax) throw new HeddleError("FRAME_TOO_LARGE", { bytes: end, bytesMax: planBytesMax });
    if (this.#from + end > this.#bytes.length) {
      // What was handed over keeps the old piece for as long as it needs it.
      const grown = new Uint8Array(end <= pieceBytes ? pieceBytes : Math.max(end, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(this.#from, this.#used));
      this.#bytes = grown;
      this.#from = 0;
      this.#used = used;
    }
    return { bytes: this.#bytes, at: this.#used };
  }
}

const noBytes = new Uint8Array();

function writesAmong(operations: readonly OperationRange[]): number {
  let writes = 0;
  for (let i = 0; i < operations.length; i++) if (operations[i]!.kind !== requestKind.get) writes++;
  return writes;
}

function isErasedIn({ entity, seq }: Shadow): boolean {
  return seq > 0 && seq === entity.baseSeq;
}

function conflictOf(expectedSeq: number, actualSeq: number): Rejection {
  return rejection("SEQUENCE_CONFLICT", { expectedSeq, actualSeq });
}
