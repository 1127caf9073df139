// FrameTurns: what the listener sends to a shard thread, worked off in turns.
//
// What is decided in a turn shares a commit group. A message may have the calls of hundreds of callers: as one turn they would wait
// for the disk together, be answered together, and come back together, so that of client, thread and disk one works while the
// others wait. So a turn ends as soon as it has enough for a group and the disk has nothing to do. What is left is another
// turn, before which the disk is heard. The callers come in waves from then on.
//
// F1. Messages are worked off in the order in which they came, those that are not frames too.
// F2. A turn that had frames ends once, also when its frames were the last of their message.
import type { Clock } from "@heddle/kernel";
import { moreFollows, requestMessageHeaderBytes, visitRequests } from "./thread-messages.ts";

/**
 * Enough for a group: so many calls and as long as a sync takes, or twice as long with however many. Measured with 200 callers
 * on two cores: smaller turns cost more syncs than they gain, without a bound a core idles.
 */
const enoughFrames = 100;
const enoughMs = 0.4;
const enoughMsAnyway = 0.8;
/** The clock is looked at after so many frames. */
const framesAtOnce = 4;

export interface FrameTurnsOptions<M> {
  /** Takes one frame. The bytes stay as they are. */
  readonly receive: (connection: number, shard: number, bytes: Uint8Array, from: number, to: number) => void;
  readonly endTurn: () => void;
  /** Takes a message that is not frames. */
  readonly onMessage: (message: M) => void;
  /** Whether any shard of the thread waits for its disk. */
  readonly isSyncing: () => boolean;
  readonly clock: Pick<Clock, "monotonic">;
  /** Runs a task once everything else that is there for the thread has been heard, such as the end of a sync. */
  readonly later: (task: () => void) => void;
  /** Replaces the rule for when a turn has enough. */
  readonly hasEnough?: (frames: number, startedAt: number) => boolean;
}

export class FrameTurns<M> {
  readonly #options: FrameTurnsOptions<M>;
  readonly #hasEnough: (frames: number, startedAt: number) => boolean;
  /** Behind a message of which a part is left. */
  #waiting: (M | Uint8Array)[] = [];
  #isCut = false;

  constructor(options: FrameTurnsOptions<M>) {
    this.#options = options;
    this.#hasEnough = options.hasEnough ?? ((frames, startedAt) => this.#isLongEnough(frames, startedAt));
  }

  take(message: M | Uint8Array): void {
    if (this.#isCut) this.#waiting.push(message);
    else this.#work(message);
  }

  #work(message: M | Uint8Array): void {
    if (message instanceof Uint8Array) this.#workFrames(message, requestMessageHeaderBytes);
    else this.#options.onMessage(message);
  }

  #workFrames(packed: Uint8Array, begin: number): void {
    const { receive, endTurn, isSyncing, clock, later } = this.#options;
    const startedAt = clock.monotonic();
    let frames = 0;
    const end = visitRequests(
      packed,
      (connection, shard, from, to) => {
        receive(connection, shard, packed, from, to);
        return to < packed.length && this.#hasEnough(++frames, startedAt) && !isSyncing();
      },
      begin,
    );
    this.#isCut = end < packed.length;
    if (this.#isCut || !moreFollows(packed)) endTurn();
    if (this.#isCut) later(() => this.#goOn(packed, end));
  }

  #goOn(packed: Uint8Array, begin: number): void {
    this.#workFrames(packed, begin);
    const waiting = this.#waiting;
    let done = 0;
    while (done < waiting.length && !this.#isCut) this.#work(waiting[done++]!);
    this.#waiting = done === waiting.length ? [] : waiting.slice(done);
  }

  #isLongEnough(frames: number, startedAt: number): boolean {
    if (frames % framesAtOnce !== 0) return false;
    const ms = this.#options.clock.monotonic() - startedAt;
    return ms >= (frames >= enoughFrames ? enoughMs : enoughMsAnyway);
  }
}
