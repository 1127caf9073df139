// Randomness that a seed repeats, for simulations: the same seed gives the same run.
import type { Random } from "@heddle/kernel";

/** Splitmix over 32 bits: well spread from any seed, neighbours included. Not for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const word = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  return { safeInteger: () => (word() & 0x1fffff) * 0x1_0000_0000 + word() };
}
