// NodeGateway: the HTTP side's way to the shards, as a client without a socket. Its connection has the number 0 and its
// session is the node's own, so appends over HTTP have their place in an idempotency window like any others. What is asked
// of every shard is answered when the last has answered; one that cannot fails the whole.
import { type EntityId, HeddleError, hashEntity, type Random } from "@heddle/kernel";
import { TurnoverMap } from "@heddle/kernel/internal";
import type {
  AppendResult,
  EntityPage,
  ErasureReceipt,
  ListedGroup,
  ListedProjection,
  ListQuery,
  ProjectionRebuilt,
  QueryResult,
  ReminderPage,
  ReminderQuery,
  ReminderReceipt,
  ReminderRecord,
  SagaPage,
  SagaQuery,
  SagaRecord,
  SagaResult,
  StoredType,
  TransactionRejection,
} from "@heddle/protocol";
import {
  type AppendFields,
  type CancelReminderFields,
  type DeleteFields,
  type ExecuteFields,
  FeedMerge,
  type FeedPort,
  type FeedQuery,
  frameOffset,
  type GetAtFields,
  type GetFields,
  type GroupPage,
  type GroupPollFields,
  type HistoryFields,
  hashOfTransaction,
  type ImportFields,
  type ListFields,
  listPage,
  type ProjectionOperateFields,
  type QueryFields,
  type ReminderListFields,
  type RemindFields,
  type Reply,
  type RestoreFields,
  readFeedPage,
  readGroupList,
  readGroupPage,
  readProjectionList,
  readQueryResult,
  readReceipt,
  readReply,
  readSagaList,
  readSagaResult,
  readTransaction,
  readU32,
  readU48,
  readWatchPage,
  reminderPage,
  replyKind,
  requestKind,
  type SagaFields,
  type SagaListFields,
  type SagaOperateFields,
  sagaOfEntity,
  sagaPage,
  sumTypes,
  type TransactFields,
  u48Max,
  type WatchFields,
  type WatchPage,
  type WireEvent,
  type WireListed,
  type WireListedReminder,
  type WireTransaction,
  writeAppendBody,
  writeCancelReminderBody,
  writeDeleteBody,
  writeExecuteBody,
  writeFeedBody,
  writeGetAtBody,
  writeGetBody,
  writeGroupForgetBody,
  writeGroupPollBody,
  writeHistoryBody,
  writeImportBody,
  writeListBody,
  writeProjectionListBody,
  writeProjectionOperateBody,
  writeQueryBody,
  writeRemindBody,
  writeReminderListBody,
  writeRemindersBody,
  writeRequestHeader,
  writeRestoreBody,
  writeSagaBody,
  writeSagaListBody,
  writeSagaOperateBody,
  writeSagaShowBody,
  writeTransactBody,
  writeU32,
  writeUnwatchBody,
  writeWatchBody,
} from "@heddle/protocol/internal";
import type { Gateway, StateAtSeq } from "./http/gateway.ts";
import type { AnyLink, Router } from "./router.ts";

export const gatewayConnection = 0;

/** Events of one shard that are asked for at once. */
const feedPageEvents = 1_000;

type WriteBody = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

const noBody: WriteBody = (reserve) => {
  reserve(0);
  return 0;
};

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
  readonly #pending = new TurnoverMap<number, Pending>();
  #many: PendingMany[] = [];
  #nextCall = 1;

  constructor(router: Router, random: Random) {
    this.#router = router;
    this.session = (random.safeInteger() % u48Max) + 1;
  }

  append(fields: AppendFields): Promise<AppendResult> {
    const write: WriteBody = (reserve) => writeAppendBody(fields, reserve);
    return this.#callEntity(requestKind.append, fields.entity, write, asAppendResult);
  }

  execute(fields: ExecuteFields): Promise<AppendResult> {
    const write: WriteBody = (reserve) => writeExecuteBody(fields, reserve);
    return this.#callEntity(requestKind.execute, fields.entity, write, asAppendResult);
  }

  get(fields: GetFields): Promise<StateAtSeq> {
    const write: WriteBody = (reserve) => writeGetBody(fields, reserve);
    return this.#callEntity(requestKind.get, fields.entity, write, bodyOf<StateAtSeq>);
  }

  getAt(fields: GetAtFields): Promise<StateAtSeq> {
    const write: WriteBody = (reserve) => writeGetAtBody(fields, reserve);
    return this.#callEntity(requestKind.getAt, fields.entity, write, bodyOf<StateAtSeq>);
  }

  history(fields: HistoryFields): Promise<readonly WireEvent[]> {
    const write: WriteBody = (reserve) => writeHistoryBody(fields, reserve);
    return this.#callEntity(requestKind.history, fields.entity, write, bodyOf<readonly WireEvent[]>);
  }

  watch(fields: WatchFields, signal: AbortSignal): Promise<WatchPage> {
    const write: WriteBody = (reserve) => writeWatchBody(fields, reserve);
    const readPage = (reply: Reply) => readWatchPage(bodyOf(reply));
    return this.#ask(requestKind.watch, requestKind.unwatch, hashOf(fields.entity), write, readPage, signal);
  }

  feed(query: FeedQuery): FeedMerge {
    const port: FeedPort = {
      shardCount: async () => this.#router.shardCount,
      ends: async () => this.#router.ends(),
      page: (shard, fields, signal) => {
        const write: WriteBody = (reserve) => writeFeedBody(fields, reserve);
        const readPage = (reply: Reply) => readFeedPage(bodyOf(reply), shard);
        return this.#ask(requestKind.feed, requestKind.unfeed, shard, write, readPage, signal);
      },
    };
    return new FeedMerge(port, query, feedPageEvents);
  }

  restore(fields: RestoreFields): Promise<AppendResult> {
    const write: WriteBody = (reserve) => writeRestoreBody(fields, reserve);
    return this.#callEntity(requestKind.restore, fields.entity, write, asAppendResult);
  }

  delete(fields: DeleteFields): Promise<ErasureReceipt> {
    const write: WriteBody = (reserve) => writeDeleteBody(fields, reserve);
    return this.#callEntity(requestKind.delete, fields.entity, write, bodyOf<ErasureReceipt>);
  }

  import(fields: ImportFields): Promise<AppendResult> {
    const write: WriteBody = (reserve) => writeImportBody(fields, reserve);
    return this.#callEntity(requestKind.import, fields.entity, write, asAppendResult);
  }

  list(query: ListQuery): Promise<EntityPage> {
    return listPage((shard, fields) => this.#listShard(shard, fields), this.#router.shardCount, query);
  }

  async types(): Promise<readonly StoredType[]> {
    const shards = Array.from({ length: this.#router.shardCount }, (_, shard) => shard);
    return sumTypes(
      await Promise.all(
        shards.map((shard) => this.#call(requestKind.types, shard, noBody, bodyOf<readonly StoredType[]>)),
      ),
    );
  }

  saga(fields: SagaFields): Promise<SagaResult> {
    const write: WriteBody = (reserve) => writeSagaBody(fields, reserve);
    const saga = sagaOfEntity(fields.entity);
    return this.#callEntity(requestKind.saga, fields.entity, write, (reply) => readSagaResult(bodyOf(reply), saga));
  }

  sagaShow(fields: { readonly entity: string }): Promise<SagaRecord> {
    const write: WriteBody = (reserve) => writeSagaShowBody(fields, reserve);
    return this.#callEntity(requestKind.sagaShow, fields.entity, write, bodyOf<SagaRecord>);
  }

  sagaList(query: SagaQuery): Promise<SagaPage> {
    const list = (shard: number, fields: SagaListFields) => {
      const write: WriteBody = (reserve) => writeSagaListBody(fields, reserve);
      return this.#call(requestKind.sagaList, shard, write, (reply) => readSagaList(bodyOf(reply)));
    };
    return sagaPage(list, this.#router.shardCount, query);
  }

  async sagaOperate(fields: SagaOperateFields): Promise<void> {
    const write: WriteBody = (reserve) => writeSagaOperateBody(fields, reserve);
    await this.#callEntity(requestKind.sagaOperate, fields.entity, write, bodyOf<unknown>);
  }

  remind(fields: RemindFields): Promise<ReminderReceipt> {
    const write: WriteBody = (reserve) => writeRemindBody(fields, reserve);
    return this.#callEntity(requestKind.remind, fields.entity, write, bodyOf<ReminderReceipt>);
  }

  async cancelReminder(fields: CancelReminderFields): Promise<void> {
    const write: WriteBody = (reserve) => writeCancelReminderBody(fields, reserve);
    await this.#callEntity(requestKind.cancelReminder, fields.entity, write, bodyOf<unknown>);
  }

  reminders(fields: { readonly entity: string }): Promise<readonly ReminderRecord[]> {
    const write: WriteBody = (reserve) => writeRemindersBody(fields, reserve);
    return this.#callEntity(requestKind.reminders, fields.entity, write, bodyOf<readonly ReminderRecord[]>);
  }

  reminderList(query: ReminderQuery): Promise<ReminderPage> {
    const list = (shard: number, fields: ReminderListFields) => {
      const write: WriteBody = (reserve) => writeReminderListBody(fields, reserve);
      return this.#call(requestKind.reminderList, shard, write, bodyOf<readonly WireListedReminder[]>);
    };
    return reminderPage(list, this.#router.shardCount, query);
  }

  groupPoll(fields: GroupPollFields): Promise<GroupPage> {
    const write: WriteBody = (reserve) => writeGroupPollBody(fields, reserve);
    return this.#call(requestKind.groupPoll, 0, write, (reply) => readGroupPage(bodyOf(reply)));
  }

  groups(): Promise<readonly ListedGroup[]> {
    return this.#call(requestKind.groupList, 0, noBody, (reply) => readGroupList(bodyOf(reply)));
  }

  forgetGroup(fields: { readonly group: string }): Promise<boolean> {
    const write: WriteBody = (reserve) => writeGroupForgetBody(fields, reserve);
    return this.#call(requestKind.groupForget, 0, write, bodyOf<boolean>);
  }

  query(fields: QueryFields): Promise<QueryResult> {
    const write: WriteBody = (reserve) => writeQueryBody(fields, reserve);
    return this.#call(requestKind.query, 0, write, (reply) => readQueryResult(bodyOf(reply)));
  }

  async projections(): Promise<readonly ListedProjection[]> {
    // No thread that could be asked: there are none.
    if (this.#router.readers.projection === undefined) return [];
    const write: WriteBody = (reserve) => writeProjectionListBody({ projection: "" }, reserve);
    return this.#call(requestKind.projectionList, 0, write, (reply) => readProjectionList(bodyOf(reply)));
  }

  operateProjection(fields: ProjectionOperateFields): Promise<readonly ProjectionRebuilt[]> {
    const write: WriteBody = (reserve) => writeProjectionOperateBody(fields, reserve);
    return this.#call(requestKind.projectionOperate, 0, write, bodyOf<readonly ProjectionRebuilt[]>);
  }

  transact(fields: TransactFields): Promise<WireTransaction | TransactionRejection> {
    const write: WriteBody = (reserve) => writeTransactBody(fields, reserve);
    const hash = hashOfTransaction(fields, this.#router.shardCount);
    return this.#call(requestKind.transact, hash, write, asTransactionResult);
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
          const hash = hashOf(fields.entity);
          const link = this.#send(requestKind.append, hash, call, (reserve) => writeAppendBody(fields, reserve));
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
        this.#pending.delete(call)?.settle(readReply(frames, at, to));
      }
      at = to;
    }
  }

  threadLost(thread: number): void {
    const error = new HeddleError("OUTCOME_UNKNOWN", { problem: "its thread was lost before it answered" });
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

  #callEntity<T>(kind: number, entity: string, write: WriteBody, convert: (reply: Reply) => T): Promise<T> {
    return this.#call(kind, hashOf(entity), write, convert);
  }

  /** A question that may wait, and how it is called off. */
  async #ask<T>(
    kind: number,
    callOff: number,
    hash: number,
    write: WriteBody,
    convert: (reply: Reply) => T,
    signal: AbortSignal,
  ): Promise<T> {
    const call = this.#nextCall;
    const page = this.#call(kind, hash, write, convert);
    const end = () => {
      const unwatch: WriteBody = (reserve) => writeUnwatchBody({ call }, reserve);
      // A thread that takes nothing now has nothing that waits.
      this.#call(callOff, hash, unwatch, bodyOf<null>).catch(() => {});
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    try {
      return await page;
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  #listShard(shard: number, fields: ListFields): Promise<readonly WireListed[]> {
    const write: WriteBody = (reserve) => writeListBody(fields, reserve);
    return this.#call(requestKind.list, shard, write, bodyOf<readonly WireListed[]>);
  }

  #call<T>(kind: number, hash: number, write: WriteBody, convert: (reply: Reply) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = this.#nextCall++;
      const link = this.#send(kind, hash, call, write);
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

  // Encodes a request straight into the thread's outgoing message. `hash` is an entity's, or a shard's number.
  #send(kind: number, hash: number, call: number, write: WriteBody): AnyLink {
    const shard = this.#router.shardOf(hash);
    const link = this.#router.linkFor(kind, shard);
    const refusal = this.#router.refusal(shard, link);
    if (link === undefined || refusal !== undefined) throw refusal;
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

// Checked at the door, and by the shard when it first meets the entity.
function hashOf(entity: string): number {
  return hashEntity(entity as EntityId);
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
  if (reply.kind === "rejected" && reply.rejection.code !== "TRANSACTION_REJECTED") return reply.rejection;
  if (reply.kind === "error") return reply.error;
  return new HeddleError("BAD_FRAME", { problem: `a reply of kind ${reply.kind} to an append` });
}

function asAppendResult(reply: Reply): AppendResult {
  const result = resultOf(reply);
  if (result instanceof HeddleError) throw result;
  return result;
}

function asTransactionResult(reply: Reply): WireTransaction | TransactionRejection {
  if (reply.kind === "rejected" && reply.rejection.code === "TRANSACTION_REJECTED") return reply.rejection;
  return readTransaction(bodyOf(reply));
}

// The shard's own answer: that it has the type which belongs to the request is the protocol's word.
function bodyOf<T>(reply: Reply): T {
  if (reply.kind === "value") return reply.value as T;
  if (reply.kind === "error") throw reply.error;
  throw new HeddleError("BAD_FRAME", { problem: `a reply of kind ${reply.kind} to a read` });
}

function asHeddleError(error: unknown): HeddleError {
  if (error instanceof HeddleError) return error;
  return new HeddleError("INVALID_REQUEST", { problem: `the call cannot be encoded: ${(error as Error).message}` });
}
