// Routing: a pure function from an entity id to a shard. Its values are part of the data folder's format.
import type { EntityId } from "./ids.ts";
import { systemKinds } from "./system-kinds.ts";

/**
 * 32-bit hash of the part of an id that places it. That is the whole id; of one with a `{tag}` only what stands between the
 * first `{` and the next `}`, if anything does, so that `account/{acme}/1` and `order/{acme}/7` lie on one shard; of an
 * entity's reminders, `$reminders/account/alice`, the entity itself.
 *
 * FNV-1a over the UTF-8 bytes, then murmur3's finaliser, because FNV alone spreads short ids with a common start badly over
 * small shard counts. Unsigned. Golden values stand in hash.unit.spec.ts.
 */
export function hashEntity(entity: EntityId): number {
  const open = entity.indexOf("{");
  if (open >= 0) {
    const close = entity.indexOf("}", open + 1);
    if (close > open + 1) return hashRange(entity, open + 1, close);
  }
  return hashRange(entity, entity.startsWith(remindersOf) ? remindersOf.length : 0, entity.length);
}

const remindersOf = `${systemKinds.reminders}/`;

function hashRange(entity: string, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) {
    let unit = entity.charCodeAt(i);
    if (unit < 0x80) {
      hash = Math.imul(hash ^ unit, 0x01000193);
      continue;
    }
    if (unit < 0x800) {
      hash = Math.imul(hash ^ (0xc0 | (unit >> 6)), 0x01000193);
    } else if (unit >= 0xd800 && unit < 0xdc00) {
      unit = 0x10000 + ((unit - 0xd800) << 10) + (entity.charCodeAt(++i) - 0xdc00);
      hash = Math.imul(hash ^ (0xf0 | (unit >> 18)), 0x01000193);
      hash = Math.imul(hash ^ (0x80 | ((unit >> 12) & 0x3f)), 0x01000193);
      hash = Math.imul(hash ^ (0x80 | ((unit >> 6) & 0x3f)), 0x01000193);
    } else {
      hash = Math.imul(hash ^ (0xe0 | (unit >> 12)), 0x01000193);
      hash = Math.imul(hash ^ (0x80 | ((unit >> 6) & 0x3f)), 0x01000193);
    }
    hash = Math.imul(hash ^ (0x80 | (unit & 0x3f)), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The shard that owns a hash: modulo, not a ring, because the shard count is fixed for the life of a data folder. */
export function shardOfHash(hash: number, shardCount: number): number {
  return hash % shardCount;
}

/** The shard that owns an entity. */
export function shardOf(entity: EntityId, shardCount: number): number {
  return shardOfHash(hashEntity(entity), shardCount);
}
