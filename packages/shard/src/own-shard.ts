// OwnShard: the short ways of those who work on a shard's thread (sagas, reminders) to that shard. The histories are those that
// frames would have left.
//
// Writing to Heddle's own entities: one event at a time, handed over as a value and as the bytes that it is packed to. Nothing is
// parsed, decoded or validated that Heddle itself has just made.
// Deciding early: an append or a command is decided at once, and its reply does not wait until it is durable. What its asker then
// writes to the same log rests on it safely: a log is lost from its end.
//
// O1. Only what is usual goes this way: the shard is open and free, the entity is not held; for Heddle's own events, it is not
//     erased, and is where it is expected to be. Everything else goes the way of a frame, which has an answer for it.
// O2. Replies come as those to frames would, in a turn of their own (ShardCalls): to an event of Heddle's own when it is durable.
// O3. Nothing that rests on an early reply leaves for another log or for a client before `awaitDurable` has answered. When the
//     group fails instead, the shard has a loss, and whoever heard early before it reads again what is there.
import type { CompiledContext } from "@heddle/domain/internal";
import { type HeddleError, hashEntity } from "@heddle/kernel";
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
export interface OwnShard {
  readonly shard: number;
  /** Why the shard dropped what was decided and not durable: another object each time. Undefined if it never did. */
  readonly loss: HeddleError | undefined;
  /** Nothing that is decided in this turn from here on has an earlier time. Milliseconds since 1970. */
  readonly now: number;
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
  /**
   * Decides an append or a command whose body is `bytes[from, to)` and whose entity belongs to the shard, if nothing unusual is in the way
   * (O1); says whether it did. The reply is an early one (O3). To be called as `appendOwn`.
   */
  decideOwn(kind: number, bytes: Uint8Array, from: number, to: number, connection: number, call: number): boolean;
  /** Gives a receipt of nothing once everything that was decided so far is durable, or an error if it is lost. */
  awaitDurable(connection: number, call: number): void;
}

/**
 * Appends an event to an entity of Heddle's own, on the short way or in a frame; says whether it is decided already.
 * `expectedSeq` is -1 where nothing is expected.
 */
export function appendOwn<P>(
  shard: OwnShard,
  calls: ShardCalls,
  entity: string,
  event: OwnEvent<P>,
  payload: P,
  expectedSeq: number,
  onReply: (reply: Reply) => void,
): boolean {
  const call = calls.expect(shard.shard, onReply);
  if (shard.appendOwn(entity, event, payload, expectedSeq, calls.connection, call)) return true;
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
  return false;
}

/** As `OwnShard.decideOwn`. */
export function decideOwn(
  shard: OwnShard,
  calls: ShardCalls,
  kind: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  onReply: (reply: Reply) => void,
): boolean {
  const call = calls.expect(shard.shard, onReply);
  if (shard.decideOwn(kind, bytes, from, to, calls.connection, call)) return true;
  calls.forgo(call);
  return false;
}

/** As `OwnShard.awaitDurable`. */
export function whenDurable(shard: OwnShard, calls: ShardCalls, onReply: (reply: Reply) => void): void {
  shard.awaitDurable(calls.connection, calls.expect(shard.shard, onReply));
}

const none = new Uint8Array();
