// ErasureReceipt: what is known of an erasure afterwards, and enough to prove it again.
import { entityIdProblem, HeddleError } from "@heddle/kernel";

/**
 * What `delete` resolves to. As JSON it is what `heddle verify-erasure` takes. It holds nothing of what was erased.
 */
export interface ErasureReceipt {
  readonly entity: string;
  readonly shard: number;
  /** The sequence of the tombstone: the system event that stands in place of what was erased. */
  readonly seq: number;
  /** Place of the tombstone in the shard's log. */
  readonly position: number;
  /** Of the tombstone, in ms since 1970. */
  readonly time: number;
  /** First and last sequence whose payloads are gone. */
  readonly from: number;
  readonly to: number;
  /** False: the log is clean, the index still holds remains, which go by themselves within a minute or so. */
  readonly complete: boolean;
}

/** Checks a receipt that comes from outside. Errors: `INVALID_REQUEST`, naming the field. */
export function readErasureReceipt(value: unknown): ErasureReceipt {
  const fields = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const { entity, complete } = fields;
  const problem = entityIdProblem(entity);
  if (problem !== undefined) throw new HeddleError("INVALID_REQUEST", { path: "entity", problem });
  if (typeof complete !== "boolean") {
    throw new HeddleError("INVALID_REQUEST", { path: "complete", problem: "wanted true or false" });
  }
  const whole = (path: string) => {
    const number = fields[path];
    if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
    throw new HeddleError("INVALID_REQUEST", { path, problem: `wanted a whole number, found ${String(number)}` });
  };
  return {
    entity: entity as string,
    shard: whole("shard"),
    seq: whole("seq"),
    position: whole("position"),
    time: whole("time"),
    from: whole("from"),
    to: whole("to"),
    complete,
  };
}
