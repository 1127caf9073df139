// Time and randomness come in as parameters, so that the simulator runs the same code as production.

export interface Clock {
  /** Milliseconds since 1970, whole. May go backwards; whoever needs order keeps its own maximum. */
  now(): number;
  /** Milliseconds from an arbitrary start, with fractions; never goes backwards. */
  monotonic(): number;
}

export interface Random {
  /** An integer from 0 up to 2^53 - 1. */
  safeInteger(): number;
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

export const systemRandom: Random = {
  safeInteger() {
    const words = crypto.getRandomValues(new Uint32Array(2));
    return (words[0]! & 0x1fffff) * 0x1_0000_0000 + words[1]!;
  },
};
