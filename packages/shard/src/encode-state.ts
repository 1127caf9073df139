// EncodeState: a state as its snapshot keeps it.
import { encodeValue } from "@heddle/protocol/internal";
import { isPlainData } from "./plain-data.ts";

/**
 * The bytes of a snapshot, or undefined for a state that would not come back from them as it was: it has no snapshot, and
 * its entity is folded from the log each time.
 */
export function encodeState(state: unknown): Uint8Array | undefined {
  try {
    return isPlainData(state) ? Uint8Array.prototype.slice.call(encodeValue(state)) : undefined;
  } catch {
    return undefined;
  }
}
