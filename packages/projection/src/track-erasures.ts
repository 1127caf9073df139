// TrackErasures: whether what was erased is gone from every sink (P6). A track takes out an entity's rows when it passes the
// tombstone; afterwards the sink overwrites what its files still hold of them, once for all that were deleted before.
//
// T1. `gone` is said of a tombstone only when every track is past it, in every generation that has rows, and a scrub has ended
//     that began after that.
// T2. One scrub of a sink at a time. Deletes that come meanwhile share the next.
// T3. What was deleted is scrubbed also if nobody asks, soon after a tick has seen it; and once after a start, where nobody is
//     going to ask about what the process before has left.
// Not promised: that projections which another process keeps are meant.
import { HeddleError } from "@heddle/kernel";
import type { CopiesState, TombstonePlace } from "@heddle/shard/internal";
import type { Awaitable } from "./sink.ts";

/** One projection in one sink. */
export interface ErasableTrack {
  readonly sink: { readonly name: string };
  /** Everything of the shard's feed below this position is in the sink, in every generation that has rows there. */
  passed(shard: number): number;
  /** How many entities began anew, and so lost rows, since it was made. */
  readonly erasures: number;
  /** Why it does not go on at present. */
  readonly problem: HeddleError | undefined;
}

export interface ScrubbedSink {
  readonly name: string;
  scrub(): Awaitable<void>;
}

export interface TrackErasuresOptions {
  readonly shardCount: number;
  readonly sinks: readonly ScrubbedSink[];
  /** Those that there are now. */
  readonly tracks: () => Iterable<ErasableTrack>;
  readonly report: (level: "info" | "warn" | "error", message: string, facts: Record<string, unknown>) => void;
  /** No shard asks: this process is not its node. */
  readonly isAlone?: boolean | undefined;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

/** What is known of one sink. */
interface Scrubbing {
  readonly sink: ScrubbedSink;
  /** By shard: what was deleted for tombstones below is in no file. */
  clean: readonly number[];
  /** Erasures of its tracks that a scrub has seen. -1: not even those of the process before. */
  seen: number;
  running: Promise<void> | undefined;
  /** Why the last one came to nothing. */
  problem: HeddleError | undefined;
  /** Not again before a tick. */
  waitsForTick: boolean;
}

export class TrackErasures {
  readonly #options: TrackErasuresOptions;
  readonly #scrubbings: readonly Scrubbing[];
  #stopped = false;

  constructor(options: TrackErasuresOptions) {
    this.#options = options;
    this.#scrubbings = options.sinks.map((sink) => ({
      sink,
      clean: new Array<number>(options.shardCount).fill(0),
      seen: options.isAlone === true ? -1 : 0,
      running: undefined,
      problem: undefined,
      waitsForTick: false,
    }));
  }

  /** What is left of what lies before these tombstones, which the log has no more. Begins what can be begun. */
  gone(tombstones: readonly TombstonePlace[]): CopiesState[] {
    const tracks = [...this.#options.tracks()];
    return tombstones.map(({ shard, position }) => this.#stateOf(shard, position, tracks));
  }

  /** Scrubs what nobody has asked about, and tries again what failed. To be called every now and then. */
  tick(): void {
    const tracks = [...this.#options.tracks()];
    for (const scrubbing of this.#scrubbings) {
      scrubbing.waitsForTick = false;
      const theirs = tracks.filter(({ sink }) => sink.name === scrubbing.sink.name);
      if (erasuresOf(theirs) > scrubbing.seen || scrubbing.problem !== undefined) this.#scrub(scrubbing, theirs);
    }
  }

  /** Nothing new begins; resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#scrubbings.map(({ running }) => running));
  }

  #stateOf(shard: number, position: number, tracks: readonly ErasableTrack[]): CopiesState {
    let state: CopiesState = "gone";
    for (const scrubbing of this.#scrubbings) {
      // What is built anew since then knows of the tombstone from its beginning.
      if (scrubbing.clean[shard]! > position) continue;
      const theirs = tracks.filter(({ sink }) => sink.name === scrubbing.sink.name);
      const behind = theirs.filter((track) => track.passed(shard) <= position);
      if (behind.length === 0) this.#scrub(scrubbing, theirs);
      const problem = behind.find((track) => track.problem !== undefined)?.problem ?? scrubbing.problem;
      if (problem !== undefined) return problem;
      state = "waiting";
    }
    return state;
  }

  #scrub(scrubbing: Scrubbing, tracks: readonly ErasableTrack[]): void {
    if (scrubbing.running !== undefined || scrubbing.waitsForTick || this.#stopped) return;
    scrubbing.running = this.#run(scrubbing, tracks).finally(() => {
      scrubbing.running = undefined;
    });
  }

  async #run(scrubbing: Scrubbing, tracks: readonly ErasableTrack[]): Promise<void> {
    // As it is now, because more may be deleted while it runs. Of a sink without tracks: all, it had been emptied.
    const clean = Array.from({ length: this.#options.shardCount }, (_, shard) =>
      Math.min(...tracks.map((track) => track.passed(shard))),
    );
    const seen = erasuresOf(tracks);
    try {
      this.#options.crashPoint?.("projection:before-scrub");
      await scrubbing.sink.scrub();
      this.#options.crashPoint?.("projection:after-scrub");
      scrubbing.clean = clean;
      scrubbing.seen = seen;
      scrubbing.problem = undefined;
    } catch (thrown) {
      scrubbing.waitsForTick = true;
      const { name } = scrubbing.sink;
      const isTold = scrubbing.problem !== undefined;
      const message = String((thrown as Error)?.message ?? thrown);
      scrubbing.problem =
        thrown instanceof HeddleError ? thrown : new HeddleError("SINK_UNAVAILABLE", { sink: name, message });
      if (isTold) return;
      const facts = { sink: name, error: message };
      this.#options.report("warn", "what was deleted could not be overwritten in a sink; it is tried again", facts);
    }
  }
}

function erasuresOf(tracks: readonly ErasableTrack[]): number {
  return tracks.reduce((sum, { erasures }) => sum + erasures, 0);
}
