// OpenGroups: what goes with the commit group that fills and with the one on its way to the disk: the replies that leave
// when it is durable (P2), and the entities whose hash chains go on with it.
//
// G1. At most one group is on its way; what is added meanwhile belongs to the next.
// G2. Chains go on group by group, in the order of the log, when the thread has nothing more pressing. Whoever reads one has them
//     brought up to date first (`chainAll`).
import {
  type DurableGroup,
  type EventLog,
  entryLengthAt,
  newEntryView,
  readEntry,
  recordHeaderBytes,
} from "@heddle/event-log/internal";
import type { Activation } from "./activation.ts";
import { sized } from "./decoding.ts";
import type { Entity } from "./entity.ts";
import type { Frame } from "./frame.ts";
import type { HashChain } from "./hash-chain.ts";
import { type ReplySink, WaitingReplies } from "./waiting-replies.ts";

/** So many groups may wait for their chains, and so many bytes of them: their memory is not used again meanwhile. */
const unchainedMax = 4;
const unchainedBytesMax = 512 << 10;

/** The entity of each entry in a group, in order; undefined for one that belongs to no history. */
type EntitiesOfGroup = (Entity | undefined)[];

export class OpenGroups {
  readonly #log: EventLog;
  readonly #chain: HashChain;
  readonly #activation: Activation;
  readonly #replies: ReplySink;
  readonly #entry = newEntryView();
  /** Replies that wait for the group that fills. */
  filling = new WaitingReplies();
  /** Of the group that fills. */
  entities: EntitiesOfGroup = [];
  #inFlight = new WaitingReplies();
  #entitiesInFlight: EntitiesOfGroup = [];
  /** Durable groups whose chains are still to go on, oldest first. */
  readonly #unchained: { readonly group: DurableGroup; readonly entities: EntitiesOfGroup }[] = [];
  #unchainedBytes = 0;
  /** Lists that are used again. */
  readonly #spareLists: EntitiesOfGroup[] = [];

  constructor(log: EventLog, chain: HashChain, activation: Activation, replies: ReplySink) {
    this.#log = log;
    this.#chain = chain;
    this.#activation = activation;
    this.#replies = replies;
  }

  /** Replies that wait. */
  get size(): number {
    return this.filling.size + this.#inFlight.size;
  }

  /** Bytes of the replies that wait, beside receipts. */
  get heldBytes(): number {
    return this.filling.heldBytes + this.#inFlight.heldBytes;
  }

  /** Whether an entity was changed by something that is not durable yet. */
  isUndurable(entity: Entity): boolean {
    return entity.seq > 0 && entity.position >= this.#log.durableEnd;
  }

  /** Whether anything was decided that is not durable yet. */
  get hasUndurable(): boolean {
    return this.#log.inFlight || this.#log.fillingEntries > 0;
  }

  /** Answers at once, or with what was decided last if the reply saw something of it. */
  say({ connection, from, to, call, early }: Frame, undurable: boolean, made: Uint8Array): void {
    const frame = sized(made, call);
    if (undurable && !early) this.#waiting().addOther(connection, to - from, call, frame.length, () => frame);
    else this.#replies.frame(connection, to - from, frame);
  }

  /** Answers with what was decided last; the reply is made then. */
  sayLater({ connection, from, to, call }: Frame, replyBytes: number, reply: () => Uint8Array): void {
    this.#waiting().addOther(connection, to - from, call, replyBytes, reply);
  }

  /** Gives a receipt of nothing once all that was decided is durable. */
  sayWhenDurable(connection: number, call: number, shard: number): void {
    if (this.hasUndurable) this.#waiting().addReceipt(connection, 0, call, 0, 0, 0, 0);
    else this.#replies.receipt(connection, 0, call, shard, 0, 0, 0, 0, false);
  }

  /** Sends the group that fills on its way, unless there is none or one is on its way already. */
  flush(): void {
    if (this.#log.inFlight || this.#log.fillingEntries === 0) return;
    const filled = this.filling;
    this.filling = this.#inFlight;
    this.#inFlight = filled;
    this.#entitiesInFlight = this.entities;
    this.entities = this.#spareLists.pop() ?? [];
    this.#log.flush();
  }

  /** The group that was on its way is durable. To be followed by `chainLater` with what this gives. */
  release(shard: number): EntitiesOfGroup {
    this.#inFlight.release(shard, this.#replies);
    return this.#entitiesInFlight;
  }

  /** Takes a durable group whose chains are to go on. Some of those that wait go on at once when there are too many. */
  chainLater(group: DurableGroup, entities: EntitiesOfGroup): void {
    this.#unchained.push({ group, entities });
    this.#unchainedBytes += group.bytes;
    while (this.#unchained.length > unchainedMax || this.#unchainedBytes > unchainedBytesMax) this.chainNext();
  }

  get isChained(): boolean {
    return this.#unchained.length === 0;
  }

  /** Everything that is durable is chained then. */
  chainAll(): void {
    while (!this.isChained) this.chainNext();
  }

  /** Moves the chains of the oldest group's entities on, if one waits. */
  chainNext(): void {
    const next = this.#unchained.shift();
    if (next === undefined) return;
    const { group, entities } = next;
    this.#unchainedBytes -= group.bytes;
    this.#link(group.record, entities);
    entities.length = 0;
    this.#spareLists.push(entities);
    this.#log.giveBack(group);
  }

  #link(record: Uint8Array, entities: EntitiesOfGroup): void {
    let at = recordHeaderBytes;
    for (const entity of entities) {
      if (entity !== undefined) {
        readEntry(record, at, 0, this.#entry);
        this.#chain.link(entity, this.#entry);
        if (entity.isOver && entity.chainedSeq === entity.seq) {
          entity.states = undefined;
          this.#activation.pack(entity);
        }
      }
      at += entryLengthAt(record, at);
    }
  }

  /** Answers everything with a failure: neither group will become durable. */
  fail(failure: (call: number) => Uint8Array): void {
    this.#inFlight.fail(this.#replies, failure);
    this.filling.fail(this.#replies, failure);
  }

  // The replies that leave with what was decided last.
  #waiting(): WaitingReplies {
    return this.#log.fillingEntries > 0 ? this.filling : this.#inFlight;
  }
}
