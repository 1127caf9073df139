// Parts: what those who answer requests (reads.ts, writes.ts, resets.ts) have from the shard.
import type { TextCache } from "@heddle/protocol/internal";
import type { Frame } from "./frame.ts";
import type { ShardOptions } from "./shard-options.ts";
import type { ShardCounters } from "./stats.ts";
import type { TurnClock } from "./turn-clock.ts";

export interface Parts {
  readonly options: ShardOptions;
  readonly texts: TextCache;
  readonly counters: ShardCounters;
  readonly turn: TurnClock;
  /** Errors: why nothing can be written now, as `DISK_FULL`. */
  readonly checkWritable: () => void;
  /** Whether what wants to write in a later turn must wait for a checkpoint. */
  readonly isHeldBack: () => boolean;
  /** Sends what was decided on its way, outside of a turn that brought frames. */
  readonly endTurn: () => void;
  /**
   * Does a piece of work now and, for as long as it has no reply, in each further turn; not while the shard recovers. The
   * entities that it held may be others by then. What it throws is the reply.
   */
  readonly overTurns: (frame: Frame, work: (frame: Frame) => Uint8Array | "replied" | undefined) => void;
}
