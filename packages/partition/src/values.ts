// Values: what stands under a key. Numbers are varints, and the last four bytes are a checksum over key and value.
//
//   head       sequence, log position, ms, base sequence, one byte (1 chain, 2 alarm, 4 extents: what follows), then hash chain
//              (32 bytes), alarm, extents as in extents.ts to the end
//   alarm      nothing
//   extents    see extents.ts
//   snapshot   fold version, sequence, state (the rest)
//   append id  log position
//   id run     see id-runs.ts
//   session    ms, then for each call: call number, log position, as differences from the call before
//   erasure    sequence, stage (0 count, 1 log, 2 scrub)
//   open transactions  pending: how many, and each one's position, coordinator, number; decided: how many, and each one's
//                      number, how many shards, and these
//   number     one number (the meta table, the catalogue)
import { invariant } from "@heddle/kernel/internal";
import { quadsBytesMax, readQuads, writeQuads } from "./extents.ts";
import type { EntityHead, ErasureStage, OpenTransactions, SnapshotRecord } from "./records.ts";
import type { ValueWriter } from "./value-writer.ts";
import { MalformedValue, type VarintReader, varintBytesMax } from "./varint.ts";

const chainBytes = 32;
/** What a head has beside its numbers. */
const headParts = { chain: 1, alarm: 2, extents: 4 } as const;
const erasureStages: readonly ErasureStage[] = ["count", "log", "scrub"];

export function writeHead(
  values: ValueWriter,
  key: Uint8Array,
  head: EntityHead,
  inlineExtents: ArrayLike<number> | undefined = head.inlineExtents,
): Uint8Array {
  const { chain, baseSeq, seq, alarm } = head;
  if (!isChainLength(chain.length)) invariant(false, "partition/chain-bytes", { length: chain.length });
  if (baseSeq > seq) invariant(false, "partition/base-within", { baseSeq, seq });
  const parts =
    (chain.length === 0 ? 0 : headParts.chain) |
    (alarm === undefined ? 0 : headParts.alarm) |
    (inlineExtents === undefined ? 0 : headParts.extents);
  values
    .begin(6 * varintBytesMax + chainBytes + (inlineExtents === undefined ? 0 : quadsBytesMax(inlineExtents)))
    .unsigned(seq)
    .unsigned(head.position)
    .unsigned(head.time)
    .unsigned(baseSeq)
    .unsigned(parts)
    .latin1(chain);
  if (alarm !== undefined) values.unsigned(alarm);
  if (inlineExtents !== undefined) writeQuads(values, inlineExtents);
  return values.seal(key);
}

export function readHead(value: VarintReader): EntityHead {
  const seq = value.unsigned();
  const position = value.unsigned();
  const time = value.unsigned();
  const baseSeq = value.unsigned();
  const parts = value.unsigned();
  const { chain: chained, alarm: alarmed, extents } = headParts;
  if (parts > (chained | alarmed | extents)) throw new MalformedValue("a head with unknown parts");
  if ((parts & chained) !== 0 && value.left < chainBytes) throw new MalformedValue("a hash chain is cut off");
  const chain = (parts & chained) === 0 ? "" : value.latin1(chainBytes);
  const alarm = (parts & alarmed) === 0 ? undefined : value.unsigned();
  const inlineExtents = (parts & extents) === 0 ? undefined : readQuads(1, value);
  if (!value.atEnd) throw new MalformedValue("a head is longer than what it says");
  return { seq, position, time, chain, baseSeq, alarm, inlineExtents };
}

function isChainLength(length: number): boolean {
  return length === chainBytes || length === 0;
}

/** Says nothing but that its key stands there. */
export function writeNothing(values: ValueWriter, key: Uint8Array): Uint8Array {
  return values.begin(0).seal(key);
}

export function writeErasure(values: ValueWriter, key: Uint8Array, seq: number, stage: ErasureStage): Uint8Array {
  return values
    .begin(2 * varintBytesMax)
    .unsigned(seq)
    .unsigned(erasureStages.indexOf(stage))
    .seal(key);
}

export function readErasure(value: VarintReader): { seq: number; stage: ErasureStage } {
  const seq = value.unsigned();
  const stage = erasureStages[value.unsigned()];
  if (stage === undefined) throw new MalformedValue("an erasure at no known stage");
  return { seq, stage };
}

export function writeOpenTransactions(
  values: ValueWriter,
  key: Uint8Array,
  { pending, decided }: OpenTransactions,
): Uint8Array {
  const shardCount = decided.reduce((sum, { shards }) => sum + shards.length, 0);
  values.begin((2 + 3 * pending.length + 2 * decided.length + shardCount) * varintBytesMax).unsigned(pending.length);
  for (const { position, coordinator, number } of pending) {
    values.unsigned(position).unsigned(coordinator).unsigned(number);
  }
  values.unsigned(decided.length);
  for (const { number, shards } of decided) {
    values.unsigned(number).unsigned(shards.length);
    for (const shard of shards) values.unsigned(shard);
  }
  return values.seal(key);
}

export function readOpenTransactions(value: VarintReader): OpenTransactions {
  const pending = readList(value, () => ({
    position: value.unsigned(),
    coordinator: value.unsigned(),
    number: value.unsigned(),
  }));
  const decided = readList(value, () => ({
    number: value.unsigned(),
    shards: readList(value, () => value.unsigned()),
  }));
  return { pending, decided };
}

function readList<T>(value: VarintReader, item: () => T): T[] {
  const items: T[] = [];
  for (let left = value.unsigned(); left > 0; left--) items.push(item());
  return items;
}

export function writeSnapshot(values: ValueWriter, key: Uint8Array, snapshot: SnapshotRecord): Uint8Array {
  return values
    .begin(2 * varintBytesMax + snapshot.state.length)
    .unsigned(snapshot.foldVersion)
    .unsigned(snapshot.seq)
    .raw(snapshot.state)
    .seal(key);
}

export function readSnapshot(aggregate: string, value: VarintReader): SnapshotRecord {
  return { aggregate, foldVersion: value.unsigned(), seq: value.unsigned(), state: value.rest() };
}

export function writeNumber(values: ValueWriter, key: Uint8Array, number: number): Uint8Array {
  return values.begin(varintBytesMax).unsigned(number).seal(key);
}

export function readNumber(value: VarintReader): number {
  return value.unsigned();
}

/** `calls` alternates call number and log position, in any order. */
export function writeSession(
  values: ValueWriter,
  key: Uint8Array,
  lastSeenMs: number,
  calls: Float64Array,
): Uint8Array {
  invariant(calls.length % 2 === 0, "partition/session-pairs", { length: calls.length });
  values.begin(varintBytesMax * (1 + calls.length)).unsigned(lastSeenMs);
  for (let i = 0; i < calls.length; i++) values.signed(calls[i]! - (i < 2 ? 0 : calls[i - 2]!));
  return values.seal(key);
}

export function readSession(value: VarintReader): { lastSeenMs: number; calls: Float64Array } {
  const lastSeenMs = value.unsigned();
  const calls: number[] = [];
  while (!value.atEnd) calls.push(value.signed() + (calls.length < 2 ? 0 : calls[calls.length - 2]!));
  return { lastSeenMs, calls: Float64Array.from(calls) };
}
