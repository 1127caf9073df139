// OwnAppends: the short way on which those who work on a shard's thread (sagas, reminders) write to Heddle's own entities of that
// shard. One event at a time, handed over as a value and as the bytes that it is packed to: nothing is parsed, decoded or
// validated that Heddle itself has just made. The history is the one that an append's frame would have left.
//
// O1. Only what is usual goes this way: the shard is open and free, the entity is not erased, and is where it is expected to be.
//     Everything else goes the way of a frame, which has an answer for it.
// O2. The reply comes as the reply to a frame would: when the event is durable, in a turn of its own (ShardCalls).
import type { CompiledContext } from "@heddle/domain/internal";
import { hashEntity } from "@heddle/kernel";
import { type Reply, requestKind, writeAppendBody } from "@heddle/protocol/internal";
import type { Proposed } from "./decide.ts";
import type { ShardCalls } from "./shard-calls.ts";

/** How the payload of an event becomes msgpack. */
export interface PayloadPacker<P> {
  /** What the bytes will decode to: the payload itself, unless it may hold what msgpack has another form for. Called first. */
  stored(payload: P): P;
  /** Bytes that a stored payload takes at most. Called right before it is packed. */
  room(payload: P): number;
  /** Returns where the next byte goes. */
  pack(payload: P, bytes: Uint8Array, at: number): number;
}

/** An event of one of Heddle's own aggregates: all of its entry that is the same each time, made once. */
export class OwnEvent<P> {
  readonly type: string;
  readonly aggregate: string;
  readonly proposed: Proposed;
  /** The body between the entity and the payload, up to the head of the list that the payload stands in. */
  readonly head: Uint8Array;
  readonly packer: PayloadPacker<P>;

  constructor(domain: CompiledContext, aggregate: string, type: string, packer: PayloadPacker<P>) {
    const compiled = domain.aggregates.get(aggregate)!;
    const event = compiled.events.get(type)!;
    const { schemaVersion } = event;
    this.type = type;
    this.aggregate = aggregate;
    this.proposed = { aggregate: compiled, types: [event], indexFrom: 0, indexBytes: none };
    const events = [{ type, payload: null, schemaVersion }];
    let body = none;
    const used = writeAppendBody({ entity: "", aggregate, events }, (wanted) => {
      body = new Uint8Array(wanted);
      return { bytes: body, at: 0 };
    });
    // Without the length of the entity, and without the payload: a nil, one byte.
    this.head = body.slice(2, used - 1);
    this.packer = packer;
  }
}

/** What a shard offers to those on its thread. */
export interface OwnAppends {
  readonly shard: number;
  /**
   * Appends one event to an entity of Heddle's own that belongs to the shard, if nothing unusual is in the way (O1); says
   * whether it did. The payload is the shard's from then on: it stands in the entity's state, which is not frozen here, and nobody
   * changes it. To be
   * called while the shard answers a frame, as the last of it, or while it does nothing. `connection` and `call` say who gets the reply.
   */
  appendOwn<P>(
    entity: string,
    event: OwnEvent<P>,
    payload: P,
    expectedSeq: number,
    connection: number,
    call: number,
  ): boolean;
}

/** Appends an event to an entity of Heddle's own, on the short way or in a frame. `expectedSeq` is -1 where nothing is expected. */
export function appendOwn<P>(
  shard: OwnAppends,
  calls: ShardCalls,
  entity: string,
  event: OwnEvent<P>,
  payload: P,
  expectedSeq: number,
  onReply: (reply: Reply) => void,
): void {
  const call = calls.expect(shard.shard, onReply);
  if (shard.appendOwn(entity, event, payload, expectedSeq, calls.connection, call)) return;
  calls.forgo(call);
  const { aggregate, type } = event;
  const fields = {
    entity,
    aggregate,
    events: [{ type, payload }],
    ...(expectedSeq < 0 ? {} : { expectedSeq }),
  };
  const hash = hashEntity(entity as Parameters<typeof hashEntity>[0]);
  calls.call(requestKind.append, hash, (reserve) => writeAppendBody(fields, reserve), onReply);
}

const none = new Uint8Array();
