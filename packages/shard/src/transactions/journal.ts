// Journal: what a shard notes in its log about transactions, in entries that belong to no entity. No payload of a user's is
// ever in one, so no erasure has to look for any.
//
//   TransactionDecided   all of the shard's own entries of the transaction stand in the same record, and the other shards of
//                        `shards` are to apply theirs. `results`: of the operations that write, in order.
//   TransactionAborted   pending entries at these positions have been overwritten; nothing of them took effect.
//   TransactionsSettled  transactions decided before the shard was last opened: all other shards have applied theirs.
import { type EntryView, entryFlags } from "@heddle/event-log/internal";
import {
  copyBytes,
  encodeValue,
  packedKey,
  packedListHeadBytesMax,
  packedNumberBytesMax,
  packedResultsBytesMax,
  packKey,
  packListHead,
  packNumber,
  packReceipts,
  systemAggregate,
  type WireOperationResult,
  writeAppendBody,
} from "@heddle/protocol/internal";
import { EntryDecoder } from "../stored-events.ts";

/** Stands where other entries have their entity; no entity can have this name. */
export const journalEntity = "$transaction";

const types = { decided: "TransactionDecided", aborted: "TransactionAborted", settled: "TransactionsSettled" } as const;

export interface DecidedFacts {
  /** 0 where no other shard has anything to apply. */
  readonly number: number;
  readonly shards: readonly number[];
  /** All transactions with numbers from the first to the second, exclusive, are settled or were given up. */
  readonly settled: readonly [from: number, below: number];
  /** What is noted of them are those of operations that write. */
  readonly results: readonly WireOperationResult[];
}

export type JournalFacts =
  | ({ readonly kind: "decided" } & DecidedFacts)
  | { readonly kind: "aborted"; readonly positions: readonly number[] }
  | { readonly kind: "settled"; readonly numbers: readonly number[] };

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export interface JournalBody {
  readonly bytes: number;
  readonly payloadsOffset: number;
}

/** `id`: the caller's, empty if there is none. */
export function writeJournalBody(facts: JournalFacts, id: string, reserve: Reserve): JournalBody {
  const start = id === "" ? starts[facts.kind] : startOf(types[facts.kind], id);
  if (facts.kind === "decided") return writeDecided(facts, start, reserve);
  const { kind: _, ...payload } = facts;
  const packed = encodeValue([payload]);
  const { bytes, at } = reserve(start.length + packed.length);
  bytes.set(start, at);
  bytes.set(packed, at + start.length);
  return { bytes: start.length + packed.length, payloadsOffset: start.length };
}

const numberKey = packedKey("number", 4);
const shardsKey = packedKey("shards");
const settledKey = packedKey("settled");
const resultsKey = packedKey("results");
const fixedBytes = numberKey.length + shardsKey.length + settledKey.length + resultsKey.length;

// There is one for each transaction: it is packed by hand, into the bytes of the codec of values.
function writeDecided(
  { number, shards, settled, results }: DecidedFacts,
  start: Uint8Array,
  reserve: Reserve,
): JournalBody {
  let receipts = 0;
  for (let i = 0; i < results.length; i++) if (results[i]!.length === 6) receipts++;
  const heads = 3 * packedListHeadBytesMax;
  const numbers = (3 + shards.length) * packedNumberBytesMax;
  const { bytes, at } = reserve(start.length + fixedBytes + heads + numbers + packedResultsBytesMax(receipts));
  let p = copyBytes(start, 0, start.length, bytes, at);
  p = packListHead(bytes, p, 1);
  p = packNumber(bytes, packKey(bytes, p, numberKey), number);
  p = packListHead(bytes, packKey(bytes, p, shardsKey), shards.length);
  for (let i = 0; i < shards.length; i++) p = packNumber(bytes, p, shards[i]!);
  p = packListHead(bytes, packKey(bytes, p, settledKey), 2);
  p = packNumber(bytes, packNumber(bytes, p, settled[0]), settled[1]);
  p = packReceipts(bytes, packKey(bytes, p, resultsKey), results, receipts);
  return { bytes: p - at, payloadsOffset: start.length };
}

// The body up to its payloads: the same for all entries of a type without an id, of which there are as many as transactions.
function startOf(type: string, id?: string): Uint8Array {
  const events = [{ type, payload: null, schemaVersion: 1 }];
  let start = new Uint8Array();
  const bytes = writeAppendBody({ entity: journalEntity, aggregate: systemAggregate, events, id }, (wanted) => {
    start = new Uint8Array(wanted);
    return { bytes: start, at: 0 };
  });
  return start.slice(0, bytes - encodeValue([null]).length);
}

const starts = {
  decided: startOf(types.decided),
  aborted: startOf(types.aborted),
  settled: startOf(types.settled),
} as const;

export function isJournal(entry: EntryView): boolean {
  return (entry.flags & entryFlags.journal) !== 0;
}

const decoder = new EntryDecoder();

/** What an entry says, and the id that the caller gave the transaction. */
export function readJournal(entry: EntryView): { readonly facts: JournalFacts; readonly id: string } {
  const { types: names, id } = decoder.open(entry);
  const payload = decoder.payloads(entry)[0] as object;
  const [kind] = Object.entries(types).find(([, name]) => name === names[0]) ?? ["decided"];
  return { facts: { kind, ...payload } as JournalFacts, id };
}
