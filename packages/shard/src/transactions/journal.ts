// Journal: what a shard notes in its log about transactions, in entries that belong to no entity. No payload of a user's is
// ever in one, so no erasure has to look for any.
//
//   TransactionDecided   all of the shard's own entries of the transaction stand in the same record, and the other shards of
//                        `shards` are to apply theirs. `results`: of the operations that write, in order.
//   TransactionAborted   pending entries at these positions have been overwritten; nothing of them took effect.
//   TransactionsSettled  transactions decided before the shard was last opened: all other shards have applied theirs.
import { type EntryView, entryFlags } from "@heddle/event-log/internal";
import { encodeValue, systemAggregate, type WireOperationResult, writeAppendBody } from "@heddle/protocol/internal";
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
  const { kind, ...payload } = facts;
  const start = id === "" ? starts[kind] : startOf(types[kind], id);
  const packed = encodeValue([payload]);
  const { bytes, at } = reserve(start.length + packed.length);
  bytes.set(start, at);
  bytes.set(packed, at + start.length);
  return { bytes: start.length + packed.length, payloadsOffset: start.length };
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
