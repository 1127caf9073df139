// Receipt: what `delete` answered, read back from whatever it was kept in.
import { HeddleError } from "@heddle/kernel";
import type { ErasureReceipt } from "@heddle/protocol";
import { readErasureReceipt } from "@heddle/protocol/internal";

/** Errors: `INVALID_REQUEST` naming the field that is missing or makes no sense. */
export function readReceipt(value: unknown): ErasureReceipt {
  const receipt = readErasureReceipt(value);
  const { seq, from, to } = receipt;
  if (from >= 1 && from <= to && to === seq - 1) return receipt;
  const problem = `sequences ${from} to ${to} are none that a tombstone at ${seq} ends`;
  throw new HeddleError("INVALID_REQUEST", { path: "from", problem });
}
