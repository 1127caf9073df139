// EntitySlices: how the work on one shard's log is dealt out to several threads.
//
// Every thread reads the whole log and takes the entities of its slice; an entry of another's is passed over by the hash of
// the entity's bytes, before anything is decoded (measured: 0.15 µs, a fortieth of a refold of it). So an entity's
// entries all come to one thread, in order, and nothing passes between threads but the results.
//
// More slices than threads hold the states of fewer entities at a time, for the price of reading the log once more each.
import type { EntryView } from "@heddle/event-log/internal";
import { readU16 } from "@heddle/protocol/internal";

export interface Slice {
  readonly slice: number;
  readonly slices: number;
}

export const wholeShard: Slice = { slice: 0, slices: 1 };

/** Log of which one slice holds the states at a time: some hundred megabytes of memory, if most of it is states. */
export const sliceLogBytes = 512 << 20;

/** Slices of a shard: enough for every thread to have work, and for none to hold too much at once. */
export function slicesOf(logBytes: number, shards: number, threads: number): number {
  const forThreads = Math.ceil(threads / shards);
  const forMemory = Math.ceil(logBytes / sliceLogBytes);
  return Math.max(1, forThreads, forMemory);
}

/** Of the entity that stands at the start of any entry's body, erased or not. Unsigned. */
export function hashOfEntry({ bytes, bodyFrom, bodyTo }: EntryView): number {
  return hashOfBytes(bytes, bodyFrom + 2, Math.min(bodyTo, bodyFrom + 2 + readU16(bytes, bodyFrom)));
}

export function hashOfEntity(entity: string): number {
  const bytes = Buffer.from(entity, "utf8");
  return hashOfBytes(bytes, 0, bytes.length);
}

export function sliceOfHash(hash: number, slices: number): number {
  return slices === 1 ? 0 : hash % slices;
}

export function sliceOfEntity(entity: string, slices: number): number {
  return sliceOfHash(hashOfEntity(entity), slices);
}

// FNV-1a and a mixing step: the kernel's hash chose the shard, so its values are not spread within one.
function hashOfBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
