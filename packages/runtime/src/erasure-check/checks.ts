// What `heddle verify-erasure` checks. Checks have stable names, so that a test, a monitor or a person can look for one.

/** Every check, as a sentence about an entity that is gone. docs/reference/cli.md lists them. */
export const erasureChecks = {
  "log/tombstone": "the log has the receipt's tombstone at its position, with its sequence and time",
  "log/whole": "every sequence that the receipt says is gone has its entry in the log, and none comes twice",
  "log/overwritten":
    "every entry of the entity before the tombstone is erased: its id, perhaps the digest of an append id, then zeros, in the file itself",
  "partition/current": "the partition covers the tombstone, and the entity's head begins at it or at a later one",
  "partition/snapshots": "the partition has no snapshot from before the tombstone",
  "partition/extents": "the partition has no place of an entry before the tombstone",
  "partition/append-ids": "the partition has no append id from before the tombstone, only digests",
  "partition/done": "the shard has no erasure of the entity under way: what its files still held was scrubbed",
  "keys/marked": "the key store knows that the life ended, and makes no key for it again",
  "keys/gone": "the key store has no key for any life before the tombstone, so no backup can be read",
  "projections/passed":
    "a projection in SQLite that is not past the tombstone has no row that the entity may have written",
  "projections/rows":
    "no row in SQLite comes from the entity, unless it has a new life, and no note of an event of it that failed or waits",
  "nats/done": "the node has nothing of the entity left to erase in NATS",
} as const;

export type ErasureCheck = keyof typeof erasureChecks;

/** Something that should not be there, or that should be and is not. */
export interface Leftover {
  readonly check: ErasureCheck;
  /** `FILE, position 123`, or the folder or file that was looked at. */
  readonly where: string;
  readonly found: string;
  readonly wanted: string;
}

/** Keeps the first leftovers whole and counts all of them: an entity may have a million entries. */
export class LeftoverList {
  readonly kept: Leftover[] = [];
  readonly #counts = new Map<ErasureCheck, number>();
  readonly #keptMax: number;

  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  add(check: ErasureCheck, where: string, found: string, wanted: string): void {
    this.#counts.set(check, this.count(check) + 1);
    if (this.kept.length < this.#keptMax) this.kept.push({ check, where, found, wanted });
  }

  count(check: ErasureCheck): number {
    return this.#counts.get(check) ?? 0;
  }

  get total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }
}
