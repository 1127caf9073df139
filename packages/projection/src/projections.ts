// Projections: all tracks of a process: each projection of the domain module in each sink.
//
// Owns the sinks: opens and closes them, and drops what no projection of the domain module is any more, because nobody would
// erase in it (P6). Projections of other contexts in the same sink are left alone.
import type { CompiledContext } from "@heddle/domain/internal";
import type { FeedSource } from "@heddle/feed/internal";
import { type Clock, HeddleError, type Random } from "@heddle/kernel";
import { readFacts } from "./facts.ts";
import type { Sink } from "./sink.ts";
import { Track, type TrackLimits } from "./track.ts";
import type { SetAside, TrackStatus } from "./track-status.ts";

export interface ProjectionsOptions {
  readonly domain: CompiledContext;
  readonly source: FeedSource;
  readonly sinks: readonly Sink[];
  /** Tells this data folder, or this stream, from any other of the context. */
  readonly history: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly report?: ((message: string) => void) | undefined;
  readonly crashPoint?: ((name: string) => void) | undefined;
  readonly limits?: Partial<TrackLimits> | undefined;
}

/** Between two attempts to look through a sink that is away, in ms. */
const tidyAgainMs = 5_000;

export class Projections {
  readonly tracks: readonly Track[];
  readonly #options: ProjectionsOptions;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #tidying = new Set<Promise<void>>();
  #isStopped = false;

  constructor(options: ProjectionsOptions) {
    this.#options = options;
    const { domain, history, sinks } = options;
    const origin = `${domain.name}:${history}`;
    this.tracks = sinks.flatMap((sink) =>
      [...domain.projections.values()].map((projection) => new Track({ ...options, projection, sink, origin })),
    );
  }

  /** Begins; sinks that are away hold up nobody. */
  start(): void {
    for (const sink of this.#options.sinks) this.#beginTidy(sink);
    for (const track of this.tracks) track.start();
  }

  /** Ends after the writes that are under way, and closes the sinks. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([...this.tracks.map((track) => track.stop()), ...this.#tidying]);
    for (const sink of this.#options.sinks) await sink.close();
  }

  list(): readonly TrackStatus[] {
    return this.tracks.map((track) => track.status());
  }

  /** Errors: `UNKNOWN_PROJECTION`, `NO_QUERY_SINK` for a sink that there is none. Without `sink` those in all sinks. */
  tracksOf(projection: string, sink?: string): readonly Track[] {
    const { domain, sinks } = this.#options;
    if (!domain.projections.has(projection)) {
      throw new HeddleError("UNKNOWN_PROJECTION", { projection, known: [...domain.projections.keys()] });
    }
    const known = sinks.map(({ name }) => name);
    if (known.length === 0 || (sink !== undefined && !known.includes(sink))) {
      throw new HeddleError("NO_QUERY_SINK", { wanted: sink ?? "sink", known });
    }
    return this.tracks.filter(
      (track) => track.projection.name === projection && (sink === undefined || track.sink.name === sink),
    );
  }

  async rebuild(projection: string, sink?: string): Promise<void> {
    for (const track of this.tracksOf(projection, sink)) await track.rebuild();
  }

  async pause(projection: string, sink?: string): Promise<void> {
    for (const track of this.tracksOf(projection, sink)) await track.pause();
  }

  async resume(projection: string, sink?: string): Promise<void> {
    for (const track of this.tracksOf(projection, sink)) await track.resume();
  }

  /** Tries the event again. Gives what is set aside then. Errors: `NOT_SET_ASIDE` when it is so in no sink. */
  retry(projection: string, entity: string, sink?: string): Promise<readonly SetAside[]> {
    return this.#mend(projection, sink, (track) => track.retrySetAside(entity));
  }

  /** Leaves the event out for good. `why` goes to the report: who, and for what reason. */
  async skip(projection: string, entity: string, why: string, sink?: string): Promise<readonly SetAside[]> {
    const after = await this.#mend(projection, sink, (track) => track.skipSetAside(entity));
    this.#options.report?.(`the projection ${projection} skips the event at which ${entity} was set aside: ${why}`);
    return after;
  }

  /** Waits until projections in a sink have seen some places. Errors: `PROJECTION_LAGS`, and those of {@link tracksOf}. */
  async waitFor(
    projections: Iterable<string>,
    sink: string,
    places: readonly { readonly shard: number; readonly position: number }[],
    timeoutMs: number,
  ): Promise<void> {
    const tracks = [...projections].flatMap((projection) => this.tracksOf(projection, sink));
    await Promise.all(tracks.flatMap((track) => places.map((place) => track.waitFor(place, timeoutMs))));
  }

  async #mend(
    projection: string,
    sink: string | undefined,
    mend: (track: Track) => Promise<SetAside | undefined>,
  ): Promise<readonly SetAside[]> {
    const after: SetAside[] = [];
    let refusal: unknown;
    let mended = 0;
    for (const track of this.tracksOf(projection, sink)) {
      try {
        const found = await mend(track);
        mended++;
        if (found !== undefined) after.push(found);
      } catch (thrown) {
        // In another sink it may be set aside all the same.
        if (!(thrown instanceof HeddleError) || thrown.code !== "NOT_SET_ASIDE") throw thrown;
        refusal = thrown;
      }
    }
    if (mended === 0) throw refusal;
    return after;
  }

  // A sink that is still being looked through when it is closed would be opened again.
  #beginTidy(sink: Sink): void {
    const tidying = this.#tidy(sink).finally(() => this.#tidying.delete(tidying));
    this.#tidying.add(tidying);
  }

  // Drops projections of this context that it does not have any more.
  async #tidy(sink: Sink): Promise<void> {
    if (this.#isStopped) return;
    const { domain, report } = this.#options;
    try {
      await sink.open();
      for (const projection of await sink.list()) {
        if (domain.projections.has(projection) || this.#isStopped) continue;
        const stored = await sink.describe(projection);
        const state = stored?.live ?? stored?.next;
        if (state !== undefined && !readFacts(state.facts).origin.startsWith(`${domain.name}:`)) continue;
        await sink.forget(projection);
        report?.(`the projection ${projection} in ${sink.name} is dropped: the domain module has it no more`);
      }
    } catch {
      // The tracks tell what is wrong with it.
      if (this.#isStopped) return;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#beginTidy(sink);
      }, tidyAgainMs);
      this.#timers.add(timer);
    }
  }
}
