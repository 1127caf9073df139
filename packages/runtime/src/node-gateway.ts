// NodeGateway: the HTTP side's way to the shards, as a client without a socket. Its connection has the number 0 and its
// session is the node's own, so appends over HTTP have their place in an idempotency window like any others.
import { type EntityId, HeddleError, hashEntity, type Random } from "@heddle/kernel";
import type { AppendResult } from "@heddle/protocol";
import {
  type AppendFields,
  type ExecuteFields,
  frameOffset,
  type GetFields,
  type HistoryFields,
  type Reply,
  readReceipt,
  readReply,
  readU32,
  readU48,
  replyKind,
  requestKind,
  u48Max,
  type WireEvent,
  writeAppendBody,
  writeExecuteBody,
  writeGetBody,
  writeHistoryBody,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import type { Gateway } from "./http/gateway.ts";
import type { Router } from "./router.ts";
import type { ThreadLink } from "./thread-link.ts";

export const gatewayConnection = 0;

type WriteBody = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

interface Pending {
  readonly thread: number;
  settle(reply: Reply): void;
  fail(error: HeddleError): void;
}

/** The calls of one appendMany: consecutive numbers, so that a reply finds its place by a subtraction. */
interface PendingMany {
  readonly firstCall: number;
  readonly threads: Uint8Array;
  readonly results: (AppendResult | HeddleError)[];
  left: number;
  readonly done: () => void;
}

/** Items encoded before the shards are given a first part to work on. */
const itemsPerMessage = 512;

export class NodeGateway implements Gateway {
  readonly session: number;
  readonly #router: Router;
  readonly #pending = new Map<number, Pending>();
  #many: PendingMany[] = [];
  #nextCall = 1;

  constructor(router: Router, random: Random) {
    this.#router = router;
    this.session = (random.safeInteger() % u48Max) + 1;
  }

  append(fields: AppendFields): Promise<AppendResult> {
    return this.#call(requestKind.append, fields.entity, (reserve) => writeAppendBody(fields, reserve), asAppendResult);
  }

  execute(fields: ExecuteFields): Promise<AppendResult> {
    return this.#call(
      requestKind.execute,
      fields.entity,
      (reserve) => writeExecuteBody(fields, reserve),
      asAppendResult,
    );
  }

  get(fields: GetFields): Promise<{ state: unknown; seq: number }> {
    return this.#call(
      requestKind.get,
      fields.entity,
      (reserve) => writeGetBody(fields, reserve),
      (reply) => bodyOf(reply) as { state: unknown; seq: number },
    );
  }

  history(fields: HistoryFields): Promise<readonly WireEvent[]> {
    return this.#call(
      requestKind.history,
      fields.entity,
      (reserve) => writeHistoryBody(fields, reserve),
      (reply) => bodyOf(reply) as readonly WireEvent[],
    );
  }

  appendMany(items: readonly AppendFields[]): Promise<readonly (AppendResult | HeddleError)[]> {
    return new Promise((resolve) => {
      const results = new Array<AppendResult | HeddleError>(items.length);
      const many: PendingMany = {
        firstCall: this.#nextCall,
        threads: new Uint8Array(items.length),
        results,
        left: items.length,
        done: () => {
          this.#many = this.#many.filter((other) => other !== many);
          resolve(results);
        },
      };
      this.#nextCall += items.length;
      this.#many.push(many);
      for (let i = 0; i < items.length; i++) {
        const fields = items[i]!;
        try {
          const call = many.firstCall + i;
          const link = this.#send(requestKind.append, fields.entity, call, (reserve) =>
            writeAppendBody(fields, reserve),
          );
          many.threads[i] = link.index;
        } catch (error) {
          settleMany(many, i, asHeddleError(error));
        }
        if (i % itemsPerMessage === itemsPerMessage - 1) for (const link of this.#router.links) link.flushPart();
      }
      if (items.length === 0) many.done();
    });
  }

  /** Reply frames from a thread. */
  deliver(frames: Uint8Array): void {
    for (let at = 0; at < frames.length; ) {
      const to = at + 4 + readU32(frames, at);
      const call = readU48(frames, at + frameOffset.replyCall);
      const many = this.#manyOf(call);
      if (many !== undefined) settleMany(many, call - many.firstCall, readResult(frames, at, to));
      else {
        const pending = this.#pending.get(call);
        this.#pending.delete(call);
        pending?.settle(readReply(frames, at, to));
      }
      at = to;
    }
  }

  threadLost(thread: number): void {
    const error = new HeddleError("OUTCOME_UNKNOWN", { problem: "the shard's thread was lost before it answered" });
    for (const [call, pending] of this.#pending) {
      if (pending.thread !== thread) continue;
      this.#pending.delete(call);
      pending.fail(error);
    }
    for (const many of this.#many) {
      for (let i = 0; i < many.results.length; i++) {
        if (many.results[i] === undefined && many.threads[i] === thread) settleMany(many, i, error);
      }
    }
  }

  #call<T>(kind: number, entity: string, write: WriteBody, convert: (reply: Reply) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = this.#nextCall++;
      const link = this.#send(kind, entity, call, write);
      this.#pending.set(call, {
        thread: link.index,
        settle: (reply) => {
          try {
            resolve(convert(reply));
          } catch (error) {
            reject(error as Error);
          }
        },
        fail: reject,
      });
    });
  }

  // Encodes a request straight into the thread's outgoing message.
  #send(kind: number, entity: string, call: number, write: WriteBody): ThreadLink {
    const hash = hashEntity(entity as EntityId); // Checked at the door, and by the shard when it first meets the entity.
    const shard = this.#router.shardOf(hash);
    const link = this.#router.linkOf(shard);
    const refusal = this.#router.refusal(shard, link);
    if (refusal !== undefined) throw refusal;
    let frame = 0;
    const bodyBytes = write((wanted) => {
      frame = link.reserve(gatewayConnection, shard, frameOffset.requestBody + wanted);
      return { bytes: link.pack, at: frame + frameOffset.requestBody };
    });
    const frameBytes = frameOffset.requestBody + bodyBytes;
    writeU32(link.pack, frame, frameBytes - 4);
    writeRequestHeader(link.pack, frame, { kind, flags: 0, hash, call });
    link.commit(frameBytes);
    return link;
  }

  #manyOf(call: number): PendingMany | undefined {
    for (const many of this.#many) {
      if (call >= many.firstCall && call < many.firstCall + many.results.length) return many;
    }
    return undefined;
  }
}

function settleMany(many: PendingMany, index: number, result: AppendResult | HeddleError): void {
  many.results[index] = result;
  if (--many.left === 0) many.done();
}

// A receipt, which nearly every reply is, without the wrapping of other replies.
function readResult(frames: Uint8Array, from: number, to: number): AppendResult | HeddleError {
  if (frames[from + frameOffset.kind] === replyKind.receipt) return readReceipt(frames, from, to);
  return resultOf(readReply(frames, from, to));
}

function resultOf(reply: Reply): AppendResult | HeddleError {
  if (reply.kind === "receipt") return reply.receipt;
  if (reply.kind === "rejected") return reply.rejection;
  if (reply.kind === "error") return reply.error;
  return new HeddleError("BAD_FRAME", { problem: `a reply of kind ${reply.kind} to an append` });
}

function asAppendResult(reply: Reply): AppendResult {
  const result = resultOf(reply);
  if (result instanceof HeddleError) throw result;
  return result;
}

function bodyOf(reply: Reply): unknown {
  if (reply.kind === "value") return reply.value;
  if (reply.kind === "error") throw reply.error;
  throw new HeddleError("BAD_FRAME", { problem: `a reply of kind ${reply.kind} to a read` });
}

function asHeddleError(error: unknown): HeddleError {
  if (error instanceof HeddleError) return error;
  return new HeddleError("INVALID_REQUEST", { problem: `the call cannot be encoded: ${(error as Error).message}` });
}
