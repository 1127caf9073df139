// ThreadCalls: the requests that go from one shard thread to shards, its own and those of others, and what comes back. Between
// threads they travel as those of clients do: packed, one message a turn and direction, on a port that the two threads share.
//
// T1. Nothing is delivered while a shard is at work: neither a request, nor a reply. Both wait for the end of what runs now.
// T2. Every call gets one reply: the shard's, or an error when its thread was never there, or is lost.
import type { MessagePort } from "node:worker_threads";
import { HeddleError, type Random } from "@heddle/kernel";
import { shardOfHash } from "@heddle/kernel/internal";
import { frameOffset, type Reply, readReply, readU32, writeRequestHeader, writeU32 } from "@heddle/protocol/internal";
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
  /** Frames were handed over, and no more will come in this turn. */
  readonly endTurn: () => void;
}

interface Pending {
  readonly thread: number;
  readonly shard: number;
  readonly onReply: (reply: Reply) => void;
}

/** Another thread, and what is to be sent to it at the end of the turn. */
class Peer {
  readonly port: MessagePort;
  pack = new Uint8Array(16 * 1024);
  packed = requestMessageHeaderBytes;

  constructor(port: MessagePort) {
    this.port = port;
  }

  reserve(bytes: number): number {
    const wanted = this.packed + bytes;
    if (wanted > this.pack.length) {
      const grown = new Uint8Array(Math.max(wanted, this.pack.length * 2));
      grown.set(this.pack.subarray(0, this.packed));
      this.pack = grown;
    }
    return this.packed;
  }

  post(): void {
    if (this.packed === requestMessageHeaderBytes) return;
    const bytes = this.pack.slice(0, this.packed);
    writeU32(bytes, 0, 0);
    this.packed = requestMessageHeaderBytes;
    if (this.pack.length > packKeptBytesMax) this.pack = new Uint8Array(16 * 1024);
    this.port.postMessage(bytes, [bytes.buffer]);
  }
}

const firstCallMax = 2 ** 39;

const packKeptBytesMax = 1 << 20;
const chunkBytes = 64 * 1024;

/** Told apart by the first byte of a message between threads: requests begin with 0 or 1. */
const repliesMark = 2;

export class ThreadCalls implements ShardCalls {
  readonly shardCount: number;
  readonly #options: ThreadCallsOptions;
  readonly #peers = new Map<number, Peer>();
  readonly #pending = new Map<number, Pending>();
  /** Begins elsewhere in each life of a thread: a late answer to a call of an earlier life must not be taken for one of this. */
  #nextCall: number;
  #scheduled = false;
  /** Frames for shards of this thread: shard, offset and end in a chunk. */
  #local: { readonly shard: number; readonly bytes: Uint8Array; readonly from: number; readonly to: number }[] = [];
  #replies: { readonly call: number; readonly reply: Reply }[] = [];
  #chunk = new Uint8Array(chunkBytes);
  #chunkUsed = 0;

  constructor(options: ThreadCallsOptions) {
    this.#options = options;
    this.#nextCall = 1 + (options.random.safeInteger() % firstCallMax);
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
    const call = this.#nextCall;
    const header = { kind, flags: 0, hash, call };
    if (thread === this.#options.thread) {
      const from = this.#chunkUsed;
      const bodyBytes = write((wanted) => this.#reserveLocal(frameOffset.requestBody + wanted));
      const frame = this.#chunkUsed === from ? from : 0;
      const length = frameOffset.requestBody + bodyBytes;
      writeU32(this.#chunk, frame, length - 4);
      writeRequestHeader(this.#chunk, frame, header);
      this.#chunkUsed = frame + length;
      this.#local.push({ shard, bytes: this.#chunk, from: frame, to: frame + length });
    } else {
      const peer = this.#peers.get(thread);
      if (peer === undefined) {
        const reason = "its thread is not there";
        this.#replies.push({ call, reply: errorReply(call, new HeddleError("SHARD_STOPPED", { shard, reason })) });
      } else {
        let frame = 0;
        const bodyBytes = write((wanted) => {
          frame = peer.reserve(requestBlockHeaderBytes + frameOffset.requestBody + wanted) + requestBlockHeaderBytes;
          return { bytes: peer.pack, at: frame + frameOffset.requestBody };
        });
        const length = frameOffset.requestBody + bodyBytes;
        writeU32(peer.pack, peer.packed, this.connection);
        writeU32(peer.pack, peer.packed + 4, shard);
        writeU32(peer.pack, frame, length - 4);
        writeRequestHeader(peer.pack, frame, header);
        peer.packed = frame + length;
      }
    }
    this.#nextCall++;
    this.#pending.set(call, { thread, shard, onReply });
    this.#schedule();
  }

  /** A reply of a shard of this thread, to a call of this thread. */
  deliver(reply: Reply): void {
    this.#replies.push({ call: reply.call, reply });
    this.#schedule();
  }

  /** Another thread is there. `port` leads to it. */
  connect(thread: number, port: MessagePort): void {
    this.#peers.set(thread, new Peer(port));
    port.on("message", (packed: Uint8Array) => {
      if (packed[0] === repliesMark) this.#onReplies(packed.subarray(replyMessageHeaderBytes));
      else this.#onRequests(packed);
    });
    port.on("close", () => this.#lost(thread, port));
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

  #reserveLocal(wanted: number): { bytes: Uint8Array; at: number } {
    if (this.#chunkUsed + wanted > this.#chunk.length) {
      // What was handed over keeps the old chunk for as long as it needs it.
      this.#chunk = new Uint8Array(Math.max(chunkBytes, wanted));
      this.#chunkUsed = 0;
    }
    return { bytes: this.#chunk, at: this.#chunkUsed + frameOffset.requestBody };
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#turn());
  }

  // Replies first: what they lead to goes out with the rest.
  #turn(): void {
    const replies = this.#replies;
    this.#replies = [];
    for (const { call, reply } of replies) {
      const pending = this.#pending.get(call);
      this.#pending.delete(call);
      pending?.onReply(reply);
    }
    const local = this.#local;
    this.#local = [];
    const { receive, endTurn } = this.#options;
    for (const { shard, bytes, from, to } of local) receive(this.connection, shard, bytes, from, to);
    if (local.length > 0) endTurn();
    for (const peer of this.#peers.values()) peer.post();
    this.#scheduled = false;
    if (this.#replies.length > 0 || this.#local.length > 0) this.#schedule();
  }

  #onRequests(packed: Uint8Array): void {
    visitRequests(packed, (connection, shard, from, to) => {
      this.#options.receive(connection, shard, packed, from, to);
    });
    this.#options.endTurn();
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

  #lost(thread: number, port: MessagePort): void {
    if (this.#peers.get(thread)?.port !== port) return;
    this.#peers.delete(thread);
    for (const [call, pending] of this.#pending) {
      if (pending.thread !== thread) continue;
      const problem = `the thread of shard ${pending.shard} was lost before it answered`;
      this.deliver(errorReply(call, new HeddleError("OUTCOME_UNKNOWN", { problem })));
    }
  }
}

function errorReply(call: number, error: HeddleError): Reply {
  return { kind: "error", call, error };
}
