// Pauses between attempts: they double, up to a bound, and vary by half.
import type { Random } from "@heddle/kernel";

/** From half to the whole of `least`, doubled for each attempt after the first; units as given. */
export function jittered(random: Random, least: number, most: number, attempt: number): number {
  const doublings = Math.min(Math.max(0, attempt - 1), 30);
  return Math.min(most, least * 2 ** doublings) * (0.5 + random.safeInteger() / 2 ** 54);
}
