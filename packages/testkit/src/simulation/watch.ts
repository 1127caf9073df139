// Watch: what clients were told, frame by frame, and whether the store bears it out in the end. It knows no domain but by its
// folds, and asks the node for nothing but histories and states.
//
//   P1  sequences of an entity run from 1 without a gap; positions and times do not fall
//   P2  what was acknowledged is there after a power cut, where its receipt says
//   P4  two calls never got one place
//   P5  every state that a reader was given is what the history up to its sequence adds up to
//
// Not checked: entities that were erased, restored or imported while it ran, whose histories do not begin at 1 or are not what
// was appended. Nor the order in which clients saw things: whoever wants that keeps a history (`HistoryRecorder`).
import { isDeepStrictEqual } from "node:util";
import type { Heddle } from "@heddle/client";
import type { CompiledContext } from "@heddle/domain/internal";
import { type EntityId, isSystemEntity } from "@heddle/kernel";
import {
  decodeValue,
  encodeValue,
  frameOffset,
  type Receipt,
  readGetBody,
  readReply,
  readU32,
  requestCall,
  requestKind,
  TextCache,
} from "@heddle/protocol/internal";

interface Asked {
  readonly kind: number;
  readonly entity: string;
  readonly aggregate: string;
}

interface SeenState {
  readonly aggregate: string;
  readonly seq: number;
  readonly state: unknown;
}

interface Told {
  readonly receipts: Receipt[];
  readonly states: SeenState[];
  /** Its history is not only what was appended. */
  isRewritten: boolean;
}

const writes: ReadonlySet<number> = new Set([requestKind.append, requestKind.execute]);
const rewrites: ReadonlySet<number> = new Set([requestKind.restore, requestKind.delete, requestKind.import]);

export class Watch {
  readonly #domain: CompiledContext;
  readonly #report: (text: string) => void;
  readonly #texts = new TextCache();
  /** By session and call: calls that have no answer yet. */
  readonly #asked = new Map<string, Asked>();
  readonly #told = new Map<string, Told>();

  constructor(domain: CompiledContext, report: (text: string) => void) {
    this.#domain = domain;
    this.#report = report;
  }

  /** A request of a client has arrived. */
  requested(session: number, frame: Uint8Array): void {
    const kind = frame[frameOffset.kind]!;
    const key = `${session} ${requestCall(frame)}`;
    if (kind === requestKind.get) {
      const { entity, aggregate } = readGetBody(frame, frameOffset.requestBody, frame.length, this.#texts);
      this.#asked.set(key, { kind, entity, aggregate });
    } else if (writes.has(kind)) {
      this.#asked.set(key, { kind, entity: entityOf(frame), aggregate: "" });
    } else if (rewrites.has(kind)) {
      this.#toldOf(entityOf(frame)).isRewritten = true;
    }
  }

  /** Replies have reached a client. */
  replied(session: number, frames: Uint8Array): void {
    for (let at = 0; at < frames.length; at += 4 + readU32(frames, at)) {
      const reply = readReply(frames, at, at + 4 + readU32(frames, at));
      const key = `${session} ${reply.call}`;
      const asked = this.#asked.get(key);
      if (asked === undefined) continue;
      this.#asked.delete(key);
      if (reply.kind === "receipt") this.#receipt(asked, reply.receipt);
      else if (reply.kind === "value" && asked.kind === requestKind.get) this.#state(asked, reply.value);
    }
  }

  /** Holds everything against what the node has now. */
  async audit(db: Heddle): Promise<void> {
    for (const [entity, told] of this.#told) {
      if (!told.isRewritten && !isSystemEntity(entity as EntityId)) await this.#auditEntity(db, entity, told);
    }
  }

  async #auditEntity(db: Heddle, entity: string, { receipts, states }: Told): Promise<void> {
    const events = [];
    for await (const event of db.entity(entity).events()) events.push(event);
    for (const [i, { seq, position, time }] of events.entries()) {
      if (seq !== i + 1) this.#report(`P1 ${entity} has the sequence ${seq} where ${i + 1} should be`);
      const before = events[i - 1];
      if (before !== undefined && (position < before.position || time < before.time)) {
        this.#report(`P1 ${entity}: position or time falls at sequence ${seq}`);
      }
    }
    for (const { firstSeq, count, position, time } of receipts) {
      for (let seq = firstSeq; seq < firstSeq + count; seq++) {
        const event = events[seq - 1];
        if (event?.position === position && event.time === time) continue;
        const found = event === undefined ? "nothing" : `an event at position ${event.position}`;
        this.#report(`P2 ${entity}: sequence ${seq} was acknowledged at position ${position}, there is ${found}`);
      }
    }
    for (const seen of states) this.#auditState(entity, seen, events);
  }

  #auditState(
    entity: string,
    { aggregate, seq, state }: SeenState,
    events: readonly { readonly aggregate: string; readonly type: string; readonly payload: unknown }[],
  ): void {
    const compiled = this.#domain.aggregates.get(aggregate === "" ? this.#domain.aggregateNames[0]! : aggregate)!;
    if (seq > events.length) {
      this.#report(`P5 a reader of ${entity} was given sequence ${seq}, its history ends at ${events.length}`);
      return;
    }
    let folded = compiled.initial();
    for (const event of events.slice(0, seq)) {
      if (event.aggregate === compiled.name) folded = compiled.events.get(event.type)!.fold(folded, event.payload);
    }
    const wanted = decodeValue(encodeValue(folded));
    if (isDeepStrictEqual(wanted, state)) return;
    const [found, expected] = [JSON.stringify(state), JSON.stringify(wanted)];
    this.#report(`P5 a reader of ${entity} was given ${found} at sequence ${seq}, its history adds up to ${expected}`);
  }

  #receipt({ entity }: Asked, receipt: Receipt): void {
    const { receipts } = this.#toldOf(entity);
    const isTaken = receipts.some((other) => other.firstSeq === receipt.firstSeq && !other.duplicate);
    if (isTaken && !receipt.duplicate) this.#report(`P4 ${entity}: two calls got sequence ${receipt.firstSeq}`);
    receipts.push(receipt);
  }

  #state({ entity, aggregate }: Asked, value: unknown): void {
    const { seq, state } = value as { readonly seq: number; readonly state: unknown };
    this.#toldOf(entity).states.push({ aggregate, seq, state });
  }

  #toldOf(entity: string): Told {
    let told = this.#told.get(entity);
    if (told === undefined) {
      told = { receipts: [], states: [], isRewritten: false };
      this.#told.set(entity, told);
    }
    return told;
  }
}

function entityOf(frame: Uint8Array): string {
  const { buffer, byteOffset } = frame;
  const at = byteOffset + frameOffset.requestBody;
  const length = frame[frameOffset.requestBody]! + frame[frameOffset.requestBody + 1]! * 256;
  return Buffer.from(buffer, at + 2, length).toString();
}
