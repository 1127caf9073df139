// Parts: what those who answer requests (reads.ts, writes.ts, resets.ts) have from the shard.
import type { TextCache } from "@heddle/protocol/internal";
import type { Entity } from "./entity.ts";
import type { Frame } from "./frame.ts";
import type { Holder, Waiter } from "./holder.ts";
import type { ShardOptions } from "./shard-options.ts";
import type { ShardCounters } from "./stats.ts";
import type { Hold } from "./transactions/hold.ts";
import type { TurnClock } from "./turn-clock.ts";

/** A piece of work of {@link Parts.overTurns}. */
export type TurnWork = (frame: Frame) => Uint8Array | "replied" | "undurable" | undefined;

export interface Parts {
  readonly options: ShardOptions;
  readonly texts: TextCache;
  readonly counters: ShardCounters;
  readonly turn: TurnClock;
  /** Errors: why nothing can be written now, as `DISK_FULL`. */
  readonly checkWritable: () => void;
  /** Whether what wants to write in a later turn must wait for a checkpoint. */
  readonly isHeldBack: () => boolean;
  /** Whether it takes what is written in a later turn: it is open, or closing and not closed. */
  readonly isServing: () => boolean;
  /** A frame waits for the hold of an entity that it names. */
  readonly waitFor: (entity: Entity, frame: Frame) => void;
  /** The frame of a transaction waits for another one's hold, and keeps what it has taken. */
  readonly waitAs: (hold: Hold, other: Holder, frame: Frame) => void;
  readonly enlist: (hold: Holder, waiter: Waiter) => void;
  /** A frame that is to be answered anew when something else is over. */
  readonly waiterOf: (frame: Frame) => Waiter;
  /** Ends a hold; who waited for it goes on. */
  readonly letGo: (hold: Hold) => void;
  /** Resumes in the order of the mailbox, before what stands in it: in this turn, or soon after. */
  readonly resume: (waiters: readonly Waiter[]) => void;
  /** Runs what a reply of another shard leads to, and ends the turn soon after. What it throws stops the shard. */
  readonly guarded: (work: () => void) => void;
  /** The shard does not close before the work that begins here is done: what is returned says so. */
  readonly beginWork: () => () => void;
  /** Sends what was decided on its way, outside of a turn that brought frames. */
  readonly endTurn: () => void;
  /**
   * Does a piece of work now and, for as long as it has no reply, in each further turn; not while the shard recovers. The
   * entities that it held may be others by then. `undurable`: there is nothing to do before the next group is durable. What
   * it throws is the reply.
   */
  readonly overTurns: (frame: Frame, work: TurnWork) => void;
}
