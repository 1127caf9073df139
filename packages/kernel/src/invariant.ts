// A broken invariant is a fault in Heddle or in its storage, never in the input: the shard stops and recovery replays.

export class InvariantViolation extends Error {
  override readonly name = "InvariantViolation";
  readonly label: string;
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(label: string, facts: Readonly<Record<string, unknown>> = {}) {
    super(`broken invariant ${label} ${JSON.stringify(facts)}`);
    this.label = label;
    this.facts = facts;
  }
}

/** Throws {@link InvariantViolation} unless the fact holds. Kept on in production. One fact per call. */
export function invariant(holds: boolean, label: string, facts?: Readonly<Record<string, unknown>>): asserts holds {
  if (!holds) throw new InvariantViolation(label, facts);
}
