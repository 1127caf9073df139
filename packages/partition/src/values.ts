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
import { checksumOf } from "./checksum.ts";
import type { EntityHead, ErasureStage, OpenTransactions, SnapshotRecord } from "./contract.ts";
import type { Table } from "./environment.ts";
import { quadsBytesMax, readQuads, writeQuads } from "./extents.ts";
import { MalformedValue, VarintReader, varintBytesMax, writeSignedVarint, writeVarint } from "./varint.ts";

const checksumBytes = 4;
/** What values are written into, one behind the other. */
export const arenaBytes = 256 * 1024;
const chainBytes = 32;
/** What a head has beside its numbers. */
const headParts = { chain: 1, alarm: 2, extents: 4 } as const;
const erasureStages: readonly ErasureStage[] = ["count", "log", "scrub"];

const noArena = new Uint8Array();

/**
 * Writes values one after the other into arenas. Finished values stay as they are, as LMDB needs: it reads them on
 * another thread later. Many values in one buffer, because LMDB asks for the address of every new one (1 µs).
 */
export class ValueWriter {
  readonly #nextArena: (bytes: number) => Uint8Array;
  #arena: Uint8Array = noArena;
  #start = 0;
  #at = 0;

  /** `nextArena` gives at least so many bytes. Left out, each is made for its values, and goes with them. */
  constructor(nextArena: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes)) {
    this.#nextArena = nextArena;
  }

  /** Where in its arena the value begins that was written last. */
  get start(): number {
    return this.#start;
  }

  /** Starts a value of at most so many bytes. */
  begin(bytesMax: number): this {
    const needed = bytesMax + checksumBytes;
    if (this.#at + needed > this.#arena.length) {
      this.#arena = this.#nextArena(Math.max(arenaBytes, needed));
      this.#at = 0;
    }
    this.#start = this.#at;
    return this;
  }

  /** The next value begins another arena. */
  leaveArena(): void {
    this.#arena = noArena;
    this.#at = 0;
  }

  unsigned(value: number): this {
    this.#at = writeVarint(this.#arena, this.#at, value);
    return this;
  }

  signed(value: number): this {
    this.#at = writeSignedVarint(this.#arena, this.#at, value);
    return this;
  }

  u32(value: number): this {
    if (value !== value >>> 0) invariant(false, "partition/u32", { value });
    const arena = this.#arena;
    arena[this.#at++] = value >>> 24;
    arena[this.#at++] = value >>> 16;
    arena[this.#at++] = value >>> 8;
    arena[this.#at++] = value;
    return this;
  }

  /** A byte for each character. */
  latin1(text: string): this {
    let all = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      this.#arena[this.#at + i] = unit;
      all |= unit;
    }
    if (all > 0xff) invariant(false, "partition/latin1");
    this.#at += text.length;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#arena.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  /** Ends the value with the checksum that ties it to its key. */
  seal(key: Uint8Array): Uint8Array {
    const checksum = checksumOf(key, this.#arena, this.#start, this.#at);
    for (let i = 0; i < checksumBytes; i++) this.#arena[this.#at++] = checksum >>> (8 * i);
    return this.#arena.subarray(this.#start, this.#at);
  }
}

/** Checks a value against its checksum. Errors: {@link MalformedValue}. The reader's bytes are only lent. */
export function openValue(key: Uint8Array, value: Uint8Array, length = value.length): VarintReader {
  const end = length - checksumBytes;
  if (end < 0) throw new MalformedValue("a value is cut off");
  const stored = value[end]! | (value[end + 1]! << 8) | (value[end + 2]! << 16) | (value[end + 3]! << 24);
  if (checksumOf(key, value, 0, end) !== stored >>> 0) throw new MalformedValue("a value does not fit its checksum");
  return new VarintReader(value, 0, end);
}

/** Reads one value. It is decoded straight from lmdb's buffer, which the next read overwrites. Its `length` is the value's. */
export function getValue<T>(table: Table, key: Uint8Array, decode: (value: VarintReader) => T): T | undefined {
  const value = table.getBinaryFast(key);
  return value === undefined ? undefined : decode(openValue(key, value, value.length));
}

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
