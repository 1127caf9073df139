// SecretHash: for tables whose keys callers choose. Without a secret they could choose such as all fall on one slot, and each look-up
// would go through all of them. Nothing that can be seen may depend on it, an order least of all: so it need not come from a seed.
import { systemRandom } from "./clock.ts";

/** 32 bits, signed, another in each process. */
export const secretSeed = systemRandom.safeInteger() | 0;

/**
 * FNV-1a over the characters of a text, and murmur3's finaliser: a whole number of 32 bits, signed. Of no meaning outside this
 * process.
 */
export function secretHash(text: string): number {
  let hash = secretSeed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return finalised(hash);
}

/** The same of a number below 2^53. */
export function secretHashOfNumber(value: number): number {
  const low = secretSeed ^ (value | 0);
  return finalised(value > 0x7fff_ffff ? Math.imul(low ^ Math.floor(value / 0x1_0000_0000), 0x01000193) : low);
}

/** murmur3's finaliser: each bit of a hash comes to depend on all of them. Signed. */
export function finalised(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
