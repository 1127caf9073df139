// ThreadCalls: the requests that go from one shard thread to shards, its own and those of others, and what comes back. Between
// threads they travel as those of clients do: packed, one message a turn and direction, on a port that the two threads share.
//
// T1. Nothing is delivered while a shard is at work: neither a request, nor a reply. Both wait for the end of what runs now.
// T2. Every call gets one reply: the shard's, or an error when its thread was never there, or is lost.
// T3. Nothing that a thread sent arrives behind what its next life sent: the next life's port is listened to when the end of
//     the one before has been heard. A probe that finds nothing may say so for good.
import type { MessagePort } from "node:worker_threads";
import { HeddleError, type Random } from "@heddle/kernel";
import { shardOfHash, TurnoverMap } from "@heddle/kernel/internal";
import {
  copyBytes,
  frameOffset,
  type Reply,
  readReply,
  readU32,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import { innerConnectionMin, type ShardCalls, type WriteBody } from "@heddle/shard/internal";
import {
  replyMessageHeaderBytes,
  requestBlockHeaderBytes,
  requestMessageHeaderBytes,
  visitReplies,
  visitRequests,
} from "./thread-messages.ts";

export interface ThreadCallsOptions {
  readonly thread: number;
  readonly threadCount: number;
  readonly shardCount: number;
  readonly random: Random;
  /** Hands a frame to a shard of this thread. The bytes stay as they are. */
  readonly receive: (connection: number, shard: number, bytes: Uint8Array, from: number, to: number) => void;
  /** Has the shards of this thread end their turn: no more will come in it. */
  readonly endTurn: () => void;
}

interface Pending {
  /** Whom it was sent to; undefined for this thread. */
  readonly peer: Peer | undefined;
  readonly shard: number;
  readonly onReply: (reply: Reply) => void;
}

const chunkBytes = 64 * 1024;

/** A chunk is used again up to this size. */
const keptChunkBytesMax = 1 << 20;

/** What stands before the body of a request: the head of its block, and its own. */
const requestHeadBytes = requestBlockHeaderBytes + frameOffset.requestBody;

/** The requests of a turn, one behind the other as they travel between threads, but for the message's head. */
class Requests {
  bytes = new Uint8Array(chunkBytes);
  /** The turn's requests are `bytes[from, to)`. */
  from = 0;
  to = 0;
  // One object and one function for all requests: nobody keeps the room beyond his own.
  readonly #room = { bytes: this.bytes, at: 0 };
  readonly #reserve = (wanted: number) => {
    if (this.to + requestHeadBytes + wanted > this.bytes.length) this.#grow(requestHeadBytes + wanted);
    this.#room.bytes = this.bytes;
    this.#room.at = this.to + requestHeadBytes;
    return this.#room;
  };

  /** Errors: throws what `write` throws; then nothing was added. */
  add(connection: number, shard: number, kind: number, hash: number, call: number, write: WriteBody): void {
    const bodyBytes = write(this.#reserve);
    const { bytes, to } = this;
    const frame = to + requestBlockHeaderBytes;
    const length = frameOffset.requestBody + bodyBytes;
    writeU32(bytes, to, connection);
    writeU32(bytes, to + 4, shard);
    writeU32(bytes, frame, length - 4);
    writeRequestHeader(bytes, frame, { kind, flags: 0, hash, call });
    this.to = frame + length;
  }

  /** The turn's requests are handed over as they stand, and keep their chunk for as long as they need it. */
  leave(): void {
    this.from = this.to;
    if (this.bytes.length > keptChunkBytesMax) this.#begin(new Uint8Array(chunkBytes));
  }

  /** The turn's requests were copied. */
  clear(): void {
    this.#begin(this.bytes.length > keptChunkBytesMax ? new Uint8Array(chunkBytes) : this.bytes);
  }

  #begin(chunk: Uint8Array<ArrayBuffer>): void {
    this.bytes = chunk;
    this.from = 0;
    this.to = 0;
  }

  #grow(wanted: number): void {
    const length = this.to - this.from;
    const grown = new Uint8Array(Math.max(chunkBytes, 2 * length + wanted));
    copyBytes(this.bytes, this.from, this.to, grown, 0);
    this.bytes = grown;
    this.from = 0;
    this.to = length;
  }
}

/** Another thread, and what is to be sent to it at the end of the turn. */
class Peer {
  readonly port: MessagePort;
  readonly requests = new Requests();

  constructor(port: MessagePort) {
    this.port = port;
  }

  post(): void {
    const { bytes, from, to } = this.requests;
    if (from === to) return;
    const message = new Uint8Array(requestMessageHeaderBytes + to - from);
    copyBytes(bytes, from, to, message, requestMessageHeaderBytes);
    this.requests.clear();
    this.port.postMessage(message, [message.buffer]);
  }
}

const firstCallMax = 2 ** 39;

/** So often what came of what came is worked off before the turn ends. Sagas of a shard's own entities take one for each step. */
const roundsMax = 64;

/** Told apart by the first byte of a message between threads: requests begin with 0 or 1. */
const repliesMark = 2;

export class ThreadCalls implements ShardCalls {
  readonly shardCount: number;
  readonly #options: ThreadCallsOptions;
  readonly #peers = new Map<number, Peer>();
  /** By thread: when all that its lives so far sent has been heard. */
  readonly #ends = new Map<number, Promise<void>>();
  /** Begins elsewhere in each life of a thread: a late answer to a call of an earlier life must not be taken for one of this. */
  readonly #firstCall: number;
  #calls = 0;
  /** By how many calls came before. */
  readonly #pending = new TurnoverMap<number, Pending>();
  #scheduled = false;
  /** A shard of this thread was given something beside its frames. */
  #mustEndTurn = false;
  /** Requests to shards of this thread. */
  readonly #local = new Requests();
  #replies: Reply[] = [];

  constructor(options: ThreadCallsOptions) {
    this.#options = options;
    this.#firstCall = 1 + (options.random.safeInteger() % firstCallMax);
    this.shardCount = options.shardCount;
  }

  /** The connection that this thread's requests come from. */
  get connection(): number {
    return innerConnectionMin + this.#options.thread;
  }

  /** Calls that are not answered yet. */
  get size(): number {
    return this.#pending.size;
  }

  call(kind: number, hash: number, write: WriteBody, onReply: (reply: Reply) => void): void {
    const shard = shardOfHash(hash, this.shardCount);
    const thread = shard % this.#options.threadCount;
    const call = this.#firstCall + this.#calls;
    const peer = thread === this.#options.thread ? undefined : this.#peers.get(thread);
    const requests = thread === this.#options.thread ? this.#local : peer?.requests;
    if (requests === undefined) {
      const reason = "its thread is not there";
      this.#replies.push(errorReply(call, new HeddleError("SHARD_STOPPED", { shard, reason })));
    } else requests.add(this.connection, shard, kind, hash, call, write);
    this.#pending.set(this.#calls++, { peer, shard, onReply });
    this.#schedule();
  }

  expect(shard: number, onReply: (reply: Reply) => void): number {
    const call = this.#firstCall + this.#calls;
    this.#pending.set(this.#calls++, { peer: undefined, shard, onReply });
    this.#mustEndTurn = true;
    this.#schedule();
    return call;
  }

  forgo(call: number): void {
    this.#pending.delete(call - this.#firstCall);
  }

  /** A reply of a shard of this thread, to a call of this thread. */
  deliver(reply: Reply): void {
    this.#replies.push(reply);
    this.#schedule();
  }

  /** Another thread is there. `port` leads to it. */
  connect(thread: number, port: MessagePort): void {
    const peer = new Peer(port);
    this.#peers.set(thread, peer);
    const closed = new Promise<void>((resolve) => {
      port.on("close", () => {
        this.#lost(thread, peer);
        resolve();
      });
    });
    const before = this.#ends.get(thread);
    this.#ends.set(thread, before === undefined ? closed : before.then(() => closed));
    // A port keeps what comes until somebody listens.
    const listen = () => {
      port.on("message", (packed: Uint8Array) => {
        if (packed[0] === repliesMark) this.#onReplies(packed.subarray(replyMessageHeaderBytes));
        else this.#onRequests(packed);
      });
    };
    if (before === undefined) listen();
    else void before.then(listen);
  }

  /** Sends replies of this thread's shards to the thread that asked. */
  reply(thread: number, packed: Uint8Array<ArrayBuffer>): void {
    packed[0] = repliesMark;
    this.#peers.get(thread)?.port.postMessage(packed, [packed.buffer]);
  }

  close(): void {
    for (const { port } of this.#peers.values()) port.close();
    this.#peers.clear();
  }

  /**
   * Ends a turn of the thread, to be called when frames were handed to its shards. What waits here is worked off first, with all that it
   * leads to, so that it shares their commit groups.
   */
  endTurn(): void {
    this.#mustEndTurn = true;
    this.#turn();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  #turn(): void {
    for (let rounds = 0; this.#isWaiting && rounds < roundsMax; rounds++) this.#workOff();
    if (this.#mustEndTurn) {
      this.#mustEndTurn = false;
      this.#options.endTurn();
    }
    for (const peer of this.#peers.values()) peer.post();
    if (this.#isWaiting || this.#mustEndTurn) this.#schedule();
  }

  get #isWaiting(): boolean {
    return this.#replies.length > 0 || this.#local.from < this.#local.to;
  }

  // Replies first: what they lead to goes out with the rest.
  #workOff(): void {
    const replies = this.#replies;
    this.#replies = [];
    for (const reply of replies) {
      const key = reply.call - this.#firstCall;
      this.#pending.delete(key)?.onReply(reply);
    }
    const { bytes, from, to } = this.#local;
    // What these lead to is for the round after this.
    this.#local.leave();
    if (from === to) return;
    this.#mustEndTurn = true;
    this.#receive(bytes, from, to);
  }

  #receive(packed: Uint8Array, blocksFrom?: number, blocksTo?: number): void {
    const { receive } = this.#options;
    const visit = (connection: number, shard: number, from: number, to: number) => {
      receive(connection, shard, packed, from, to);
    };
    visitRequests(packed, visit, blocksFrom, blocksTo);
  }

  #onRequests(packed: Uint8Array): void {
    this.#receive(packed);
    this.endTurn();
  }

  #onReplies(packed: Uint8Array): void {
    visitReplies(packed, (_connection, _calls, _requestBytes, from, to) => {
      for (let at = from; at < to; ) {
        const end = at + 4 + readU32(packed, at);
        this.deliver(readReply(packed, at, end));
        at = end;
      }
    });
  }

  #lost(thread: number, peer: Peer): void {
    if (this.#peers.get(thread) === peer) this.#peers.delete(thread);
    for (const [key, pending] of this.#pending) {
      if (pending.peer !== peer) continue;
      const problem = `the thread of shard ${pending.shard} was lost before it answered`;
      this.deliver(errorReply(this.#firstCall + key, new HeddleError("OUTCOME_UNKNOWN", { problem })));
    }
  }
}

function errorReply(call: number, error: HeddleError): Reply {
  return { kind: "error", call, error };
}
