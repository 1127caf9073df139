// EncodeState: a state as its snapshot keeps it, and what it takes in memory.
import type { CompiledContext } from "@heddle/domain/internal";
import { isSystemEntity } from "@heddle/kernel";
import type { SnapshotRecord } from "@heddle/partition/internal";
import { encodeValue } from "@heddle/protocol/internal";
import { isPlainData } from "./plain-data.ts";
import { hasAggregate } from "./proposals.ts";

/**
 * How many bytes of memory an encoded byte of state becomes, and what a byte array takes beside its bytes, which stay as they are.
 * Source: heap before and after 200,000 entities, see `Activation`; and 50,000 states of ten reminders (624 bytes encoded), which
 * take 918 bytes each.
 */
const bytesPerEncodedByte = 4;
const byteArrayBytes = 200;

/**
 * The bytes of a snapshot, or undefined for a state that would not come back from them as it was: it has no snapshot, and
 * its entity is folded from the log each time.
 */
export function encodeState(state: unknown): Uint8Array | undefined {
  try {
    return isPlainData(state) ? kept(encodeValue(state)) : undefined;
  } catch {
    return undefined;
  }
}

/** Small copies share a chunk: memory of its own for each costs as much as to encode it. */
const chunkBytes = 64 * 1024;
let chunk = new Uint8Array();
let chunkUsed = 0;

function kept(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (length > chunkBytes / 16) return new Uint8Array(bytes);
  if (chunkUsed + length > chunk.length) {
    chunk = new Uint8Array(chunkBytes);
    chunkUsed = 0;
  }
  const copy = chunk.subarray(chunkUsed, chunkUsed + length);
  copy.set(bytes);
  chunkUsed += length;
  return copy;
}

/** The snapshots of an entity's states, by aggregate index, at a sequence. */
export function snapshotsOf(
  domain: CompiledContext,
  entity: string,
  states: readonly unknown[],
  seq: number,
): SnapshotRecord[] {
  const snapshots: SnapshotRecord[] = [];
  for (const aggregate of domain.aggregates.values()) {
    if (!hasAggregate(entity, aggregate)) continue;
    const state = encodeState(states[aggregate.index]);
    if (state !== undefined) snapshots.push({ aggregate: aggregate.name, foldVersion: aggregate.version, seq, state });
  }
  return snapshots;
}

/**
 * What an entity's states take in memory, as estimated from the bytes of their snapshots. Those of Heddle's own may be byte arrays
 * for the most part: states of the context are not looked through for them, because that takes time with large ones.
 */
export function memoryOf(entity: string, states: readonly unknown[], encodedBytes: number): number {
  const packed = isSystemEntity(entity) && encodedBytes > 0 ? packedIn(states, levelsLookedAt) : none;
  return bytesPerEncodedByte * Math.max(0, encodedBytes - packed.bytes) + packed.bytes + byteArrayBytes * packed.arrays;
}

const none = { bytes: 0, arrays: 0 };

/** The list of states, a state, a list in it. */
const levelsLookedAt = 3;

function packedIn(value: unknown, levels: number, found = { bytes: 0, arrays: 0 }): typeof none {
  if (typeof value !== "object" || value === null) return found;
  if (value instanceof Uint8Array) {
    // It keeps all of its buffer alive.
    found.bytes += value.buffer.byteLength;
    found.arrays++;
  } else if (levels > 0) {
    for (const key in value) packedIn((value as Record<string, unknown>)[key], levels - 1, found);
  }
  return found;
}
