// What an audit can find. Rules have stable names, so that a test, a monitor or a person can look for one.

/** Every rule that an audit checks, as a sentence about a healthy data folder. docs/reference/cli.md lists them. */
export const auditRules = {
  "log/readable": "every segment and record of the log is whole and fits its checksum (P5)",
  "log/reaches-checkpoint": "the log has every record that the last checkpoint covers (P5)",
  "log/entry-checksum": "every entry fits its own checksum (P5)",
  "log/entry-whole": "every entry can be taken apart, and its counts agree",
  "entity/in-its-shard": "an entity lies in the shard that its id hashes to (P1)",
  "entity/sequence": "the sequences of an entity run from 1 without a gap (P1)",
  "entity/time": "the time of an entity's events never falls (P1)",
  "entity/append-id-once": "an id is used by one append of an entity only, also by one that was erased (P4)",
  "entity/erased":
    "before an entity's last tombstone there are erased entries only, zeros to their ends, and none after it (P6)",
  "entity/chain":
    "the hash chain over an entity's entries is what the partition keeps of it: none was altered or moved",
  "saga/steps":
    "the steps that a saga's record has as done are in their entities' histories under its ids, and no others; so are compensations",
  "session/call-once": "a call of a client session took effect once (P4)",
  "domain/known": "the domain module has every aggregate, event type and schema version that is stored",
  "domain/upcast": "every payload of an older schema version can be brought to the newest",
  "domain/payload": "every stored payload fits its schema",
  "domain/fold": "every stored event can be folded",
  "domain/invariant": "every rule holds after every event (P3)",
  "partition/readable": "every value of the partition fits its checksum",
  "partition/covered": "the partition covers the log up to the end of a record",
  "partition/head": "an entity's head is the last of its events that the checkpoint covers, or a later one",
  "partition/extents": "an entity's extents are its entries from the last tombstone on, in order",
  "partition/snapshot": "a snapshot of the present fold is what the log folds to at its sequence",
  "partition/append-id": "the partition knows each append id by the position of its entry, and no others",
  "partition/erased":
    "the partition has no snapshot from before an entity's tombstone, and its append ids as digests only (P6)",
  "partition/catalogue": "the partition's counts of event types are those of the events that it covers",
  "projection/readable": "the file of the SQLite projections can be read, and has the tables that it speaks of",
  "projection/position": "a projection's position is where a record of the log ends (P5)",
  "projection/rows": "a projection's rows are those that the events up to its position make, and no others (P5)",
} as const;

export type AuditRule = keyof typeof auditRules;

export interface AuditProblem {
  readonly shard: number;
  readonly rule: AuditRule;
  readonly entity?: string;
  /** Sequence of the event, or of the first event of the entry. */
  readonly seq?: number;
  /** Log position of the entry. */
  readonly position?: number;
  readonly found: string;
  readonly wanted: string;
}

/** Keeps the first problems whole and counts all of them: one fault in a loop must not become a gigabyte of text. */
export class ProblemList {
  readonly kept: AuditProblem[] = [];
  readonly #shard: number;
  readonly #keptMax: number;
  total = 0;

  constructor(shard: number, keptMax: number) {
    this.#shard = shard;
    this.#keptMax = keptMax;
  }

  add(rule: AuditRule, facts: Omit<AuditProblem, "shard" | "rule">): void {
    this.total++;
    if (this.kept.length < this.#keptMax) this.kept.push({ shard: this.#shard, rule, ...facts });
  }
}
