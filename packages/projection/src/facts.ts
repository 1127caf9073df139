// Facts: what a track keeps with each generation, beside its position. JSON in the sink.

export interface GenerationFacts {
  /** Tells the history that the rows come from; see `TrackOptions.origin`. */
  origin: string;
  /** Events that were folded. */
  events: number;
  /** Some row was written by two entities: none of them can be taken out of it. */
  shared: boolean;
  /** Kinds of the entities whose events were folded; kept where rows may be shared. */
  kinds: string[];
  /**
   * By shard: the first tombstone, or marker of a restoring, of an entity that may have written to shared rows. What stands there
   * has to be made anew, without what came before.
   */
  tainted: Record<string, number>;
}

export function newFacts(origin: string): GenerationFacts {
  return { origin, events: 0, shared: false, kinds: [], tainted: {} };
}

export function readFacts(text: string): GenerationFacts {
  return { ...newFacts(""), ...(JSON.parse(text) as Partial<GenerationFacts>) };
}

/** What an operator asked for. */
export interface TrackSettings {
  readonly paused: boolean;
}

export function readSettings(text: string): TrackSettings {
  return text === "" ? { paused: false } : (JSON.parse(text) as TrackSettings);
}
