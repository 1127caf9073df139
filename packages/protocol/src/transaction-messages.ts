// What shards ask each other about a transaction that has entities on several of them. How the protocol goes is told in
// packages/shard/src/transactions/coordinator.ts.
//
//   every body   u16 coordinating shard | u48 number of the transaction there | …
//   hold         … | u8 flags (1: the last shard to be asked) | u16 operations, each: u8 kind | u32 length | body
//   prepare, inquire   nothing more
//   settle       … | u8: 1 commit, 0 abort | u48 position of the first pending entry, 0 if there is none
//
// An operation's body is as in `transact`.
import { BodyCursor } from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { copyBytes, readU16, TextCache, writeU16, writeU32, writeU48 } from "./bytes.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export interface TransactionKey {
  readonly coordinator: number;
  readonly number: number;
}

/** One operation of a transaction: its body is `bytes[from, to)` of the frame that brought it. */
export interface OperationRange {
  readonly kind: number;
  readonly from: number;
  readonly to: number;
}

export interface HoldFields extends TransactionKey {
  /** All other shards have said yes: this one is to prepare at once. */
  readonly isLast: boolean;
  readonly operations: readonly OperationRange[];
}

export interface SettleFields extends TransactionKey {
  readonly commits: boolean;
  readonly position: number;
}

const keyBytes = 8;
const operationHeadBytes = 5;
const lastFlag = 1;
const noTexts = new TextCache();

/** `source`: where the ranges of the operations lie. */
export function writeHoldBody(fields: HoldFields, source: Uint8Array, reserve: Reserve): number {
  const { operations } = fields;
  let wanted = keyBytes + 3;
  for (const { from, to } of operations) wanted += operationHeadBytes + to - from;
  const { bytes, at } = reserve(wanted);
  let p = writeKey(fields, bytes, at);
  bytes[p] = fields.isLast ? lastFlag : 0;
  writeU16(bytes, p + 1, operations.length);
  p += 3;
  for (const { kind, from, to } of operations) {
    bytes[p] = kind;
    writeU32(bytes, p + 1, to - from);
    p = copyBytes(source, from, to, bytes, p + operationHeadBytes);
  }
  return wanted;
}

/** Errors: `BAD_FRAME`, whatever the bytes are. */
export function readHoldBody(bytes: Uint8Array, from: number, to: number): HoldFields {
  const cursor = new BodyCursor(bytes, from, to, noTexts);
  const coordinator = readU16(bytes, cursor.skip(2));
  const number = cursor.u48();
  const isLast = (cursor.u8() & lastFlag) !== 0;
  const count = readU16(bytes, cursor.skip(2));
  if (count * operationHeadBytes > to - cursor.at) throw badFrame("it ends before its last operation");
  const operations = new Array<OperationRange>(count);
  for (let i = 0; i < count; i++) {
    const kind = cursor.u8();
    const length = cursor.u32();
    const bodyFrom = cursor.skip(length);
    operations[i] = { kind, from: bodyFrom, to: bodyFrom + length };
  }
  checkEnd(cursor, to);
  return { coordinator, number, isLast, operations };
}

/** The body of `prepare` and `inquire`. */
export function writeTransactionKey(key: TransactionKey, reserve: Reserve): number {
  const { bytes, at } = reserve(keyBytes);
  return writeKey(key, bytes, at) - at;
}

/** Errors: `BAD_FRAME`, whatever the bytes are. */
export function readTransactionKey(bytes: Uint8Array, from: number, to: number): TransactionKey {
  const cursor = new BodyCursor(bytes, from, to, noTexts);
  const coordinator = readU16(bytes, cursor.skip(2));
  const number = cursor.u48();
  checkEnd(cursor, to);
  return { coordinator, number };
}

export function writeSettleBody(fields: SettleFields, reserve: Reserve): number {
  const { bytes, at } = reserve(keyBytes + 7);
  const p = writeKey(fields, bytes, at);
  bytes[p] = fields.commits ? 1 : 0;
  writeU48(bytes, p + 1, fields.position);
  return keyBytes + 7;
}

/** Errors: `BAD_FRAME`, whatever the bytes are. */
export function readSettleBody(bytes: Uint8Array, from: number, to: number): SettleFields {
  const cursor = new BodyCursor(bytes, from, to, noTexts);
  const coordinator = readU16(bytes, cursor.skip(2));
  const number = cursor.u48();
  const commits = cursor.u8() === 1;
  const position = cursor.u48();
  checkEnd(cursor, to);
  return { coordinator, number, commits, position };
}

function writeKey({ coordinator, number }: TransactionKey, bytes: Uint8Array, at: number): number {
  writeU16(bytes, at, coordinator);
  writeU48(bytes, at + 2, number);
  return at + keyBytes;
}

function checkEnd(cursor: BodyCursor, to: number): void {
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
}
