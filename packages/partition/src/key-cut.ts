// Key cut: how much of a key is needed to tell two others apart.

/**
 * How many bytes of a key say that it lies between two others: above `below` (left out where nothing lies below), and not
 * above `above`. Those behind may become anything, in any order, and it still does. Never more than the key has.
 */
export function tellingLength(key: Uint8Array, below: Uint8Array | undefined, above: Uint8Array): number {
  const fromBelow = below === undefined ? 0 : sharedLength(key, below);
  const fromAbove = sharedLength(key, above);
  // A key that the one above begins with is told from it by its end.
  return Math.min(key.length, Math.max(fromBelow, fromAbove) + 1);
}

function sharedLength(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  let at = 0;
  while (at < length && a[at] === b[at]) at++;
  return at;
}
