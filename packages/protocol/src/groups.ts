// What is said about consumer groups.

/** A consumer group, as an operator sees it. */
export interface ListedGroup {
  readonly group: string;
  /** Which events it is for, as its first member said; what is left out asks for all. */
  readonly kind?: string;
  readonly aggregate?: string;
  readonly types?: readonly string[];
  /** When its first member joined, in milliseconds since 1970. */
  readonly madeAt: number;
  readonly members: readonly ListedMember[];
  /** By shard: the position before which everything is acknowledged, and where the log ends. */
  readonly shards: readonly { readonly shard: number; readonly position: number; readonly end: number }[];
  /** Of log, from what is acknowledged to the end. */
  readonly lagBytes: number;
}

export interface ListedMember {
  readonly member: string;
  /** Of the 32 parts that entities are divided into. */
  readonly slots: number;
  /** `waiting` for events; `working` at some; `silent`: nothing was heard of it since the node started. */
  readonly state: "waiting" | "working" | "silent";
  /** Since its last sign of life, in milliseconds; 0 while it waits. */
  readonly silentMs: number;
}
