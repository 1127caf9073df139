// Life: what an entity was between two erasures, and the name of its key in a key store.
//
// A life is named by the tombstone that it follows: time, then sequence. The sequence alone would do within one log, but
// not after a restore: the restored log goes on from an earlier place, and may reach with another life a sequence that
// was a life's name before. Time goes on in both.
import { createHash } from "node:crypto";
import type { EntryView } from "@heddle/event-log/internal";

/** Time (ms since 1970) and sequence of the tombstone before it; zeros before an entity's first erasure. */
export interface Life {
  readonly time: number;
  readonly seq: number;
}

export const firstLife: Life = { time: 0, seq: 0 };

/** The life that a tombstone begins. */
export function lifeAfter(tombstone: EntryView): Life {
  return { time: tombstone.time, seq: tombstone.firstSeq + tombstone.eventCount - 1 };
}

export function isEarlier(one: Life, other: Life): boolean {
  return one.time < other.time || (one.time === other.time && one.seq < other.seq);
}

export const entityDigestBytes = 16;
export const lifeBytes = 12;
/** Bytes of a key's name: digest of the entity, then its life, so that the lives of an entity stand in order. */
export const keyNameBytes = entityDigestBytes + lifeBytes;

/** The first 16 bytes of SHA-256 of the entity's name. */
export function entityDigest(entity: string): Buffer {
  return createHash("sha256").update(entity).digest().subarray(0, entityDigestBytes);
}

/** u48 time | u48 sequence, big-endian, so that bytes compare like lives. */
export function encodeLife(life: Life): Buffer {
  const bytes = Buffer.alloc(lifeBytes);
  bytes.writeUIntBE(life.time, 0, 6);
  bytes.writeUIntBE(life.seq, 6, 6);
  return bytes;
}

export function decodeLife(bytes: Uint8Array, at = 0): Life {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset + at, lifeBytes);
  return { time: buffer.readUIntBE(0, 6), seq: buffer.readUIntBE(6, 6) };
}
