// The request `transact` and what it is answered with: operations on several entities, all or nothing.
//
//   u8 flags (1 id, 2 long) [u8 length, id] | u16 operations, each: u8 kind (2 append, 3 execute, 4 read) | u32 length | body
//
// Bodies of appends and executes are those of the requests of that kind, without an id of their own; `expectedSeq` is a
// condition. A read body is: u16 length, entity | u8 length, aggregate | u8 flags (1 expected sequence, 2 state wanted)
// | [u48 expected sequence].
//
// Operations take effect in their order, each upon what those before it did to the same entity; a sequence that an operation
// expects is the one that it meets. What an id stands for are the operations that write, in their order. Reads and expected
// sequences are no part of it: whoever runs a transaction again, because its outcome was lost, reads newer sequences then.
//
// `long` says that states are wanted, so that the reply may be much longer than the request. It stands at a fixed place for
// whoever reads a connection and must know how much that asks for, without taking the body apart.
//
// A reply is the value {@link WireTransaction}, or the rejection `TRANSACTION_REJECTED`.
import { type EntityId, HeddleError, hashEntity, isHeddleError, limits } from "@heddle/kernel";
import { shardOfHash } from "@heddle/kernel/internal";
import { type AppendFields, BodyCursor, writeAppendBody, writeId } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { copyBytes, readU16, type TextCache, u48Max, writeU16, writeU32, writeU48 } from "./bytes.ts";
import { requestKind } from "./frames.ts";
import { giveBackRoom, type PackingRoom, takeRoom } from "./packing-room.ts";
import type { Receipt } from "./receipt.ts";
import { type ExecuteFields, writeExecuteBody, writeGetBody } from "./requests.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

/** An entity that is read, or whose sequence is a condition, or both. */
export interface TransactRead {
  readonly entity: string;
  /** Empty where the context has one aggregate only, and where no state is wanted. */
  readonly aggregate: string;
  readonly expectedSeq?: number | undefined;
  readonly wantsState: boolean;
}

export type TransactOperation =
  | ({ readonly kind: "append" } & Omit<AppendFields, "id">)
  | ({ readonly kind: "execute" } & Omit<ExecuteFields, "id">)
  | ({ readonly kind: "read" } & TransactRead);

/** A read that only says which sequence the entity must have. */
export type TransactCondition = Required<Pick<TransactRead, "entity" | "expectedSeq">>;

export interface TransactFields {
  /** Go before the operations, as reads. */
  readonly conditions?: readonly TransactCondition[];
  readonly operations: readonly TransactOperation[];
  readonly id?: string | undefined;
}

/** A transact body taken apart. Ranges are offsets into the bytes it was read from; one object is reused for many. */
export interface TransactView {
  /** Empty when the caller gave none. */
  id: string;
  /** Only the first so many of the lists below count. */
  operationCount: number;
  /** `requestKind.append`, `.execute` or `.get`. */
  kinds: number[];
  /** Where each operation's body stands. */
  froms: number[];
  tos: number[];
}

/** What an operation came to: of an append or execute its receipt, of a read the sequence, and the state if it was wanted. */
export type WireOperationResult =
  | readonly [seq: number, firstSeq: number, count: number, shard: number, position: number, time: number]
  | readonly [seq: number, state: unknown]
  | readonly [seq: number];

/**
 * One result for each operation, in order. `duplicate`: the transaction had taken effect before; `results` holds those of the
 * operations that write, then, and none of reads.
 */
export interface WireTransaction {
  readonly results: readonly WireOperationResult[];
  readonly duplicate: boolean;
}

/** Of a whole request: the first byte of its body. */
export const transactFlags = { id: 1, long: 2 } as const;
const readFlags = { expectedSeq: 1, state: 2 } as const;
const operationHeadBytes = 5;

/**
 * Errors: `INVALID_REQUEST` for no or too many operations, and what the writers of appends and executes refuse, naming the
 * operation's place; `FRAME_TOO_LARGE`.
 */
export function writeTransactBody(fields: TransactFields, reserve: Reserve): number {
  const { conditions = [], operations, id } = fields;
  const count = conditions.length + operations.length;
  checkCount(count);
  const room = packOperations(conditions, operations);
  const { bytes, at } = reserve(8 + 3 * limits.appendIdBytesMax + room.used);
  bytes[at] = (id === undefined ? 0 : transactFlags.id) | (wantStates(operations) ? transactFlags.long : 0);
  const p = id === undefined ? at + 1 : writeId(bytes, at + 1, id);
  writeU16(bytes, p, count);
  const end = copyBytes(room.bytes, 0, room.used, bytes, p + 2);
  giveBackRoom(room);
  return end - at;
}

function wantStates(operations: readonly TransactOperation[]): boolean {
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i]!;
    if (operation.kind === "read" && operation.wantsState) return true;
  }
  return false;
}

function checkCount(count: number): void {
  if (count === 0) {
    throw new HeddleError("INVALID_REQUEST", { path: "operations", problem: "a transaction needs at least one" });
  }
  if (count <= limits.transactionOperationsMax) return;
  throw new HeddleError("INVALID_REQUEST", {
    path: "operations",
    problem: `${count} in one transaction, at most ${limits.transactionOperationsMax} are allowed`,
  });
}

/** The room with the operations in it; to be given back. */
function packOperations(
  conditions: readonly TransactCondition[],
  operations: readonly TransactOperation[],
): PackingRoom {
  const room = takeRoom();
  for (const { entity, expectedSeq } of conditions) {
    const head = packHead(room, "read");
    packBody(room, head, writeReadBody(room, { entity, aggregate: "", expectedSeq, wantsState: false }));
  }
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i]!;
    const head = packHead(room, operation.kind);
    packBody(room, head, writeOperation(room, operation, i));
  }
  return room;
}

/** Returns where it stands: the length of the body is still to come. */
function packHead(room: PackingRoom, kind: TransactOperation["kind"]): number {
  const at = room.used;
  room.grow(operationHeadBytes);
  room.bytes[at] = kindNumbers[kind];
  room.used += operationHeadBytes;
  return at;
}

function packBody(room: PackingRoom, head: number, bodyBytes: number): void {
  writeU32(room.bytes, head + 1, bodyBytes);
  room.used += bodyBytes;
  if (room.used <= limits.frameBytesMax) return;
  throw new HeddleError("FRAME_TOO_LARGE", { bytes: room.used, bytesMax: limits.frameBytesMax });
}

const kindNumbers = { append: requestKind.append, execute: requestKind.execute, read: requestKind.get } as const;

function writeOperation(room: PackingRoom, operation: TransactOperation, index: number): number {
  try {
    switch (operation.kind) {
      case "append":
        return writeAppendBody(withoutId(operation), room.reserve);
      case "execute":
        return writeExecuteBody(withoutId(operation), room.reserve);
      case "read":
        return writeReadBody(room, operation);
    }
  } catch (error) {
    if (!isHeddleError(error, "INVALID_REQUEST")) throw error;
    const { path, problem } = error.facts;
    const place = path === undefined ? `operations.${index}` : `operations.${index}.${path}`;
    throw new HeddleError("INVALID_REQUEST", { path: place, problem }, { cause: error });
  }
}

function withoutId<F extends object>(fields: F): F & { readonly id?: undefined } {
  return "id" in fields ? { ...fields, id: undefined } : fields;
}

function writeReadBody(room: PackingRoom, read: TransactRead): number {
  const { entity, aggregate, expectedSeq, wantsState } = read;
  const used = writeGetBody({ entity, aggregate }, (wanted) => room.reserve(wanted + 7));
  const p = room.used + used;
  room.bytes[p] = (expectedSeq === undefined ? 0 : readFlags.expectedSeq) | (wantsState ? readFlags.state : 0);
  if (expectedSeq === undefined) return used + 1;
  if (!Number.isSafeInteger(expectedSeq) || expectedSeq < 0 || expectedSeq > u48Max) {
    const problem = `wanted a whole number from 0 to 2^48 - 1, found ${expectedSeq}`;
    throw new HeddleError("INVALID_REQUEST", { path: "expectedSeq", problem });
  }
  writeU48(room.bytes, p + 1, expectedSeq);
  return used + 7;
}

export function newTransactView(): TransactView {
  return { id: "", operationCount: 0, kinds: [], froms: [], tos: [] };
}

/** Errors: `BAD_FRAME`, whatever the bytes are. What stands in the operations' bodies is not looked at. */
export function readTransactBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
  into: TransactView,
): void {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const flags = cursor.u8();
  if ((flags & ~(transactFlags.id | transactFlags.long)) !== 0) throw badFrame("a transaction has unknown flags");
  into.id = flags & transactFlags.id ? cursor.id() : "";
  const count = readU16(bytes, cursor.skip(2));
  if (count === 0 || count > limits.transactionOperationsMax) {
    throw badFrame(`${count} operations in one transaction, wanted 1 to ${limits.transactionOperationsMax}`);
  }
  into.operationCount = count;
  for (let i = 0; i < count; i++) {
    const kind = cursor.u8();
    if (kind !== requestKind.append && kind !== requestKind.execute && kind !== requestKind.get) {
      throw badFrame(`an operation of the unknown kind ${kind}`);
    }
    into.kinds[i] = kind;
    const length = cursor.u32();
    into.froms[i] = cursor.skip(length);
    into.tos[i] = cursor.at;
  }
  if (cursor.at !== to) throw badFrame("bytes follow the last operation");
}

/** A read's body taken apart. */
export interface TransactReadView {
  entity: string;
  aggregate: string;
  /** -1 when the caller expects nothing. */
  expectedSeq: number;
  wantsState: boolean;
}

/** The body of an operation of the kind `get`. Errors: `BAD_FRAME`, whatever the bytes are. */
export function readTransactRead(bytes: Uint8Array, from: number, to: number, texts: TextCache): TransactReadView {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const entity = cursor.entity();
  const aggregate = cursor.name();
  const flags = cursor.u8();
  if ((flags & ~(readFlags.expectedSeq | readFlags.state)) !== 0) throw badFrame("a read has unknown flags");
  const expectedSeq = flags & readFlags.expectedSeq ? cursor.u48() : -1;
  if (cursor.at !== to) throw badFrame("bytes follow the last field of a read");
  return { entity, aggregate, expectedSeq, wantsState: (flags & readFlags.state) !== 0 };
}

/**
 * The hash that a transaction is sent by: of an entity on the lowest of the shards that it writes to, or reads where it writes
 * to none. The shard that gets it coordinates. One that writes anyway saves others a preparation, and the others are asked in
 * rising order, so the fewest messages are needed. And an id is remembered where it is looked for: the same writes always have
 * the same coordinator, whatever is read with them.
 */
export function hashOfTransaction({ conditions = [], operations }: TransactFields, shardCount: number): number {
  let least = Infinity;
  let found = 0;
  const visit = (entity: string): void => {
    const hash = hashEntity(entity as EntityId);
    const shard = shardOfHash(hash, shardCount);
    if (shard >= least) return;
    least = shard;
    found = hash;
  };
  for (const { kind, entity } of operations) if (kind !== "read") visit(entity);
  if (least < Infinity) return found;
  for (const { entity } of conditions) visit(entity);
  for (const { entity } of operations) visit(entity);
  return found;
}

/** The value of a reply to a transaction of so many operations. Errors: `BAD_FRAME` for another shape. */
export function readTransaction(value: unknown): WireTransaction {
  const { results, duplicate } = (value ?? {}) as Partial<WireTransaction>;
  if (!Array.isArray(results) || typeof duplicate !== "boolean") throw badFrame("the outcome of a transaction is none");
  for (const result of results) {
    const isOne = Array.isArray(result) && (result.length <= 2 || result.length === 6) && result.length > 0;
    if (!isOne || !Number.isSafeInteger(result[0])) throw badFrame("an operation's result is none");
    if (result.length === 6 && !areWhole(result)) throw badFrame("a receipt is none");
  }
  return { results, duplicate };
}

/** The receipt of an operation that writes; undefined for a read's result. */
export function receiptOfOperation(result: WireOperationResult, duplicate: boolean): Receipt | undefined {
  if (result.length !== 6) return undefined;
  return {
    ok: true,
    seq: result[0],
    firstSeq: result[1],
    count: result[2],
    shard: result[3],
    position: result[4],
    time: result[5],
    duplicate,
  };
}

function areWhole(values: readonly unknown[]): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isSafeInteger(values[i])) return false;
  return true;
}
