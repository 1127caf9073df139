// HashChain: a chained hash over the history of each entity, so that nobody alters what was written and goes unnoticed.
//
//   chain(n) = SHA-256( chain(n-1), 32 bytes, zeros before the first and at a tombstone | entry n from its flags to its end )
//
// The entry's own length and checksum are left out; sequence, time, session, call, types, metadata and payloads are in.
// Computed after the replies of a group are gone and before the next entry is taken in, so it delays no reply; it becomes
// durable with the next checkpoint, a few seconds later at most. Recovery computes it again for the log's tail.
// Not promised: to stop somebody who can write to the log, the partition and wherever heads were exported to.
import { hash } from "node:crypto";
import { type EntryView, entryFlags, entryHeaderBytes } from "@heddle/event-log/internal";
import { copyBytes } from "@heddle/protocol/internal";
import type { Entity } from "./entity.ts";

const chainBytes = 32;
/** An entry's length and checksum stand before this offset. */
const chainedFrom = 8;

/** Up to here, views on the scratch are kept by their length: entries of few lengths are most of all. */
const keptViewBytesMax = 1_024;

export class HashChain {
  #scratch = Buffer.alloc(4_096);
  #views: Buffer[] = [];

  /** Moves an entity's chain on by the entry that follows what it has seen; entries must come in order. */
  link(entity: Entity, entry: EntryView): void {
    const at = entry.bodyFrom - entryHeaderBytes;
    const previous = (entry.flags & entryFlags.tombstone) === 0 ? entity.chain : "";
    const bytes = chainBytes + entry.bodyTo - at - chainedFrom;
    if (bytes > this.#scratch.length) this.#grow(bytes);
    const scratch = this.#scratch;
    if (previous === "") scratch.fill(0, 0, chainBytes);
    else writeChain(previous, scratch, 0);
    copyBytes(entry.bytes, at + chainedFrom, entry.bodyTo, scratch, chainBytes);
    entity.chain = hash("sha256", this.#view(bytes), "binary");
    entity.chainedSeq = entry.firstSeq + entry.eventCount - 1;
    entity.setCheck(entry.firstSeq, checkOf(entity.chain));
  }

  #grow(bytes: number): void {
    this.#scratch = Buffer.alloc(2 * bytes);
    this.#views = [];
  }

  #view(bytes: number): Buffer {
    if (bytes > keptViewBytesMax) return this.#scratch.subarray(0, bytes);
    this.#views[bytes] ??= this.#scratch.subarray(0, bytes);
    return this.#views[bytes];
  }
}

// A call into Node takes three times as long for so few bytes.
function writeChain(chain: string, into: Uint8Array, at: number): void {
  for (let i = 0; i < chain.length; i++) into[at + i] = chain.charCodeAt(i);
}

/** What an extent keeps of the chain after its entry: the first four bytes, big-endian. */
export function checkOf(chain: string): number {
  const head = (chain.charCodeAt(0) << 24) | (chain.charCodeAt(1) << 16) | (chain.charCodeAt(2) << 8);
  return (head | chain.charCodeAt(3)) >>> 0;
}
