// What the operations of a transaction came to, packed by hand: receipts, and reads without a state. With states among them
// they are values as any others.
import { copyBytes } from "./bytes.ts";
import {
  PackedReader,
  packedKey,
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packListHead,
  packNumber,
} from "./pack-values.ts";
import type { WireReceipt } from "./saga-replies.ts";
import type { WireOperationResult, WireTransaction } from "./transaction-requests.ts";

const resultsKey = packedKey("results", 2);
const duplicateKey = packedKey("duplicate");

/** Whether one of them is a state, which only the codec of values can write. */
export function hasStates(results: readonly WireOperationResult[]): boolean {
  for (let i = 0; i < results.length; i++) if (results[i]!.length === 2) return true;
  return false;
}

/** What packed results take at most, alone or with all else that is in a {@link WireTransaction}. */
export function packedResultsBytesMax(count: number): number {
  const each = 1 + 6 * packedNumberBytesMax;
  return resultsKey.length + packedListHeadBytesMax + count * each + duplicateKey.length + 1;
}

/** Packs results among which there are no states, and returns where the next byte goes. */
export function packResults(bytes: Uint8Array, at: number, results: readonly WireOperationResult[]): number {
  let p = packListHead(bytes, at, results.length);
  for (let i = 0; i < results.length; i++) p = packResult(bytes, p, results[i]!);
  return p;
}

/** The same for those that are receipts; `count` of them. */
export function packReceipts(
  bytes: Uint8Array,
  at: number,
  results: readonly WireOperationResult[],
  count: number,
): number {
  let p = packListHead(bytes, at, count);
  for (let i = 0; i < results.length; i++) if (results[i]!.length === 6) p = packResult(bytes, p, results[i]!);
  return p;
}

function packResult(bytes: Uint8Array, at: number, result: WireOperationResult): number {
  let p = packListHead(bytes, at, result.length);
  for (let n = 0; n < result.length; n++) p = packNumber(bytes, p, result[n] as number);
  return p;
}

/** Packs a {@link WireTransaction} without states. */
export function packTransaction(
  bytes: Uint8Array,
  at: number,
  results: readonly WireOperationResult[],
  duplicate: boolean,
): number {
  const resultsAt = copyBytes(resultsKey, 0, resultsKey.length, bytes, at);
  const resultsTo = packResults(bytes, resultsAt, results);
  const p = copyBytes(duplicateKey, 0, duplicateKey.length, bytes, resultsTo);
  bytes[p] = duplicate ? 0xc3 : 0xc2;
  return p + 1;
}

const reader = new PackedReader();

/** Reads a value that was packed here. Undefined where it is any other, or none: that is for `decodeValue` to find out. */
export function readPackedResults(
  bytes: Uint8Array,
  from: number,
  to: number,
): WireTransaction | WireOperationResult[] | undefined {
  if (from === to) return undefined;
  const isMap = bytes[from] === 0xde;
  reader.begin(bytes, from, to);
  if (!isMap) {
    const results = readResults();
    return reader.end() ? results : undefined;
  }
  reader.literal(resultsKey);
  const results = readResults();
  reader.literal(duplicateKey);
  const duplicate = reader.boolean();
  return reader.end() ? { results, duplicate } : undefined;
}

const none: WireOperationResult[] = [];

function readResults(): WireOperationResult[] {
  const count = reader.list();
  if (count === 0) return [];
  // The first says of most other values that they are others: no room is made for those.
  const first = readResult();
  if (reader.failed) return none;
  const results = new Array<WireOperationResult>(count);
  results[0] = first;
  for (let i = 1; i < count && !reader.failed; i++) results[i] = readResult();
  return results;
}

function readResult(): WireOperationResult {
  const length = reader.list();
  if (length === 1) return [reader.number()];
  if (length !== 6) reader.failed = true;
  return readReceiptNumbers(reader);
}

/** The six numbers of a receipt, behind the head of their list. */
export function readReceiptNumbers(reader: PackedReader): WireReceipt {
  const seq = reader.number();
  const firstSeq = reader.number();
  const count = reader.number();
  const shard = reader.number();
  const position = reader.number();
  return [seq, firstSeq, count, shard, position, reader.number()];
}
