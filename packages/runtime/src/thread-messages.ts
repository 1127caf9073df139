// What the listener's thread and a shard thread say to each other.
//
// Frames travel packed, one message per turn, in buffers that are transferred. Everything rare is an object.
//
//   to a shard thread    u32 1 when more of the same turn follows, else 0, then blocks of
//                        u32 connection | u32 shard | one request frame
//   to the listener      blocks of  u32 connection | u32 calls answered | u32 their request bytes | u32 length | reply frames
//   between threads      requests as to a shard thread; replies as to the listener, behind a u32 2

import type { MessagePort } from "node:worker_threads";
import type { Durability } from "@heddle/event-log";
import type { WireError } from "@heddle/kernel/internal";
import {
  type Reply,
  readReply,
  readU32,
  receiptFrameBytes,
  writeReceiptFrame,
  writeU32,
} from "@heddle/protocol/internal";
import type { ReminderStats } from "@heddle/reminder";
import type { SagaStats } from "@heddle/saga";
import type { ShardState, ShardStats } from "@heddle/shard";
import { innerConnectionMin, isInner, type ReplySink, type ShardLimits } from "@heddle/shard/internal";
import type { ErasureQuestion } from "./erasure-messages.ts";
import type { CopyingReaders, ErasureAnswer } from "./reader-erasures.ts";

/** Given to a shard thread when it is started. */
export interface ThreadStart {
  readonly domain: string;
  readonly data: string;
  readonly shards: readonly number[];
  readonly shardCount: number;
  /** This thread's number, from 0, and how many there are: shard s lives on thread s modulo their number. */
  readonly thread: number;
  readonly threadCount: number;
  readonly durability: Durability;
  readonly limits: ShardLimits;
  /** Reminders that leave this thread's shards in a second. */
  readonly remindersPerSecond: number;
  /** File of the key store, from which erasures take keys. */
  readonly keys: string;
  /** Which readers are to be told of erasures, and waited for. */
  readonly readers: CopyingReaders;
  /** Of `DurableEnds`: where readers on other threads see how far these logs are. */
  readonly ends: SharedArrayBuffer;
  /** `name:n` kills the process at the n-th passing of a crash point; `later`: a message will say which. For tests. */
  readonly crashAt: string | undefined;
}

/** What any thread of the node may be told. */
export type ToAnyThread =
  | { readonly kind: "connection-closed"; readonly connection: number }
  | { readonly kind: "stats"; readonly id: number }
  /** For tests, of a thread that was started with some `crashAt`: now it is this one, counted from here on. */
  | { readonly kind: "crash-at"; readonly crashAt: string }
  /** For tests: throws in the thread, as a fault of Heddle's own would. */
  | { readonly kind: "fail" }
  | { readonly kind: "stop" };

export type ToThread =
  | ToAnyThread
  | { readonly kind: "connection-opened"; readonly connection: number; readonly session: number }
  /** Another thread is ready; its shards are reached through the port, and it reaches these through the other end. */
  | { readonly kind: "peer"; readonly thread: number; readonly port: MessagePort }
  | { readonly kind: "checkpoint" }
  | ({ readonly kind: "erasure-answer" } & ErasureAnswer);

/** What any thread of the node says; `Stats` are its own. */
export type FromAnyThread<Stats> =
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly error: WireError }
  | { readonly kind: "stats"; readonly id: number; readonly stats: Stats }
  | {
      readonly kind: "report";
      readonly level: "info" | "warn" | "error";
      readonly message: string;
      readonly facts: Record<string, unknown>;
    }
  | { readonly kind: "stopped" };

export type FromThread =
  | { readonly kind: "state"; readonly shard: number; readonly state: ShardState; readonly reason: string }
  | { readonly kind: "erasure"; readonly id: number; readonly question: ErasureQuestion };

/** Given to a thread that reads beside the shards when it is started. */
export interface ReaderStart<Settings = unknown> {
  readonly domain: string;
  readonly data: string;
  readonly shardCount: number;
  /** Of `DurableEnds`. */
  readonly ends: SharedArrayBuffer;
  readonly crashAt: string | undefined;
  /** What this kind of thread needs besides. */
  readonly settings: Settings;
}

/** To a thread that reads beside the shards: a question in plain data, that it answers. */
export type ToReader = { readonly kind: "ask"; readonly id: number; readonly question: unknown };
export type FromReader = {
  readonly kind: "answer";
  readonly id: number;
  readonly answer?: unknown;
  readonly error?: WireError;
};

export interface ReaderStats<Stats> {
  readonly reader: Stats;
  readonly eventLoopDelayMs: { readonly mean: number; readonly p99: number; readonly max: number };
}

export interface ThreadStats {
  readonly shards: readonly ShardStats[];
  /** Of each of these shards, in the same order. */
  readonly sagas: readonly SagaStats[];
  /** The same. */
  readonly reminders: readonly ReminderStats[];
  readonly eventLoopDelayMs: { readonly mean: number; readonly p99: number; readonly max: number };
}

export const requestMessageHeaderBytes = 4;
export const requestBlockHeaderBytes = 8;
export const replyBlockHeaderBytes = 16;
/** What stands before the blocks in a message of replies from one shard thread to another: see thread-calls.ts. */
export const replyMessageHeaderBytes = 4;

/** Whether the sender has more for this turn: a group need not go on its way before that has come. */
export function moreFollows(packed: Uint8Array): boolean {
  return packed[0] === 1;
}

/**
 * Visits each block that came to a shard thread, of a whole message or of a part; `from` is where its frame starts. Ends when
 * `visit` returns true. Returns where the next block begins.
 */
export function visitRequests(
  packed: Uint8Array,
  visit: (connection: number, shard: number, from: number, to: number) => unknown,
  blocksFrom = requestMessageHeaderBytes,
  blocksTo = packed.length,
): number {
  let at = blocksFrom;
  while (at < blocksTo) {
    const from = at + requestBlockHeaderBytes;
    const to = from + 4 + readU32(packed, from);
    const isEnough = visit(readU32(packed, at), readU32(packed, at + 4), from, to);
    at = to;
    if (isEnough === true) break;
  }
  return at;
}

/** Visits each block that came to the listener; `from` is where its reply frames start. */
export function visitReplies(
  packed: Uint8Array,
  visit: (connection: number, calls: number, requestBytes: number, from: number, to: number) => void,
): void {
  for (let at = 0; at < packed.length; ) {
    const from = at + replyBlockHeaderBytes;
    const to = from + readU32(packed, at + 12);
    visit(readU32(packed, at), readU32(packed, at + 4), readU32(packed, at + 8), from, to);
    at = to;
  }
}

/** Replies of one connection that wait for the end of the turn. */
class Outbox {
  bytes = new Uint8Array(4096);
  length = 0;
  calls = 0;
  requestBytes = 0;

  reserve(wanted: number): number {
    const at = this.length;
    if (at + wanted > this.bytes.length) {
      const grown = new Uint8Array(Math.max(at + wanted, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    this.length = at + wanted;
    return at;
  }

  clear(): void {
    this.length = 0;
    this.calls = 0;
    this.requestBytes = 0;
    if (this.bytes.length > keptBytesMax) this.bytes = new Uint8Array(4096);
  }
}

/** A connection's buffer is kept from turn to turn up to this size. */
const keptBytesMax = 1 << 20;

/** What takes the replies to calls of this node's threads. */
export interface InnerReplies {
  /** The connection of this thread's own calls. */
  readonly connection: number;
  /** A reply to a call of this thread. */
  deliver(reply: Reply): void;
  /** Replies to calls of another thread, packed behind room for a message header. */
  reply(thread: number, packed: Uint8Array<ArrayBuffer>): void;
}

/** Collects a turn's replies by connection and posts them as one message; one for each thread that asked, too. */
export class ReplyBatch implements ReplySink {
  readonly #outboxes = new Map<number, Outbox>();
  #used: number[] = [];
  #innerUsed: number[] = [];
  #scheduled = false;
  readonly #post: (packed: Uint8Array<ArrayBuffer>) => void;
  readonly #inner: InnerReplies;

  constructor(post: (packed: Uint8Array<ArrayBuffer>) => void, inner: InnerReplies) {
    this.#post = post;
    this.#inner = inner;
  }

  receipt(
    connection: number,
    requestBytes: number,
    call: number,
    shard: number,
    firstSeq: number,
    count: number,
    position: number,
    time: number,
    duplicate: boolean,
  ): void {
    if (connection === this.#inner.connection) {
      const seq = firstSeq + count - 1;
      const receipt = { ok: true, seq, firstSeq, count, shard, position, time, duplicate } as const;
      this.#inner.deliver({ kind: "receipt", call, receipt });
      return;
    }
    const outbox = this.#outboxOf(connection, requestBytes);
    const at = outbox.reserve(receiptFrameBytes);
    writeReceiptFrame(outbox.bytes, at, call, shard, firstSeq, count, position, time, duplicate);
  }

  frame(connection: number, requestBytes: number, frame: Uint8Array): void {
    if (connection === this.#inner.connection) {
      this.#inner.deliver(readReply(frame, 0, frame.length));
      return;
    }
    const outbox = this.#outboxOf(connection, requestBytes);
    const at = outbox.reserve(frame.length); // May replace `bytes`: so first this, then the write.
    outbox.bytes.set(frame, at);
  }

  forget(connection: number): void {
    this.#outboxes.delete(connection);
    this.#used = this.#used.filter((used) => used !== connection);
  }

  #outboxOf(connection: number, requestBytes: number): Outbox {
    let outbox = this.#outboxes.get(connection);
    if (outbox === undefined) {
      outbox = new Outbox();
      this.#outboxes.set(connection, outbox);
    }
    if (outbox.calls === 0) (isInner(connection) ? this.#innerUsed : this.#used).push(connection);
    outbox.calls++;
    outbox.requestBytes += requestBytes;
    if (!this.#scheduled) {
      this.#scheduled = true;
      // After the callback that is running now: the end of a message, or of a group's sync.
      queueMicrotask(() => this.flush());
    }
    return outbox;
  }

  flush(): void {
    this.#scheduled = false;
    const packed = this.#pack(this.#used, 0);
    this.#used = [];
    if (packed !== undefined) this.#post(packed);
    if (this.#innerUsed.length === 0) return;
    for (const connection of this.#innerUsed) {
      const inner = this.#pack([connection], replyMessageHeaderBytes);
      if (inner !== undefined) this.#inner.reply(connection - innerConnectionMin, inner);
    }
    this.#innerUsed = [];
  }

  #pack(connections: readonly number[], headerBytes: number): Uint8Array<ArrayBuffer> | undefined {
    let total = 0;
    for (const connection of connections) total += replyBlockHeaderBytes + this.#outboxes.get(connection)!.length;
    if (total === 0) return undefined;
    const packed = new Uint8Array(headerBytes + total);
    let at = headerBytes;
    for (const connection of connections) {
      const outbox = this.#outboxes.get(connection)!;
      writeU32(packed, at, connection);
      writeU32(packed, at + 4, outbox.calls);
      writeU32(packed, at + 8, outbox.requestBytes);
      writeU32(packed, at + 12, outbox.length);
      packed.set(outbox.bytes.subarray(0, outbox.length), at + replyBlockHeaderBytes);
      at += replyBlockHeaderBytes + outbox.length;
      outbox.clear();
    }
    return packed;
  }
}
