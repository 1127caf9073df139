// Track: one projection in one sink, from its start to its end: follows the feed, is built anew beside itself, waits for its sink,
// is paused and mended by operators.
//
// T1. One step at a time: reading, writing, swapping, and what operators ask for never overlap.
// T2. A sink that is away, or refuses, stops nothing but its own tracks; they ask again, for ever, and nothing is lost.
// T3. Rows that are read stay readable until those that take their place have seen as much (a swap goes never back).
// T4. A definition that is not the one that made the rows is never mixed with it: the rows are built anew, or the track stops.
// Not promised: that it has seen an event; see `waitFor`.
import type { CompiledContext, CompiledProjection } from "@heddle/domain/internal";
import type { FeedSource } from "@heddle/feed/internal";
import { type Clock, HeddleError, isHeddleError, type Random } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { EventRate } from "./event-rate.ts";
import { newFacts, readFacts, readSettings } from "./facts.ts";
import { findResets } from "./find-resets.ts";
import { Folding, type StepBudget } from "./folding.ts";
import type { GenerationState, Held, Sink, StoredProjection } from "./sink.ts";
import type { RebuildStatus, SetAside, TrackState, TrackStatus } from "./track-status.ts";

export interface TrackOptions {
  readonly domain: CompiledContext;
  readonly projection: CompiledProjection;
  readonly source: FeedSource;
  readonly sink: Sink;
  /**
   * Tells one history from another: `context:` and what tells a data folder from any other. Rows that were made of another history
   * of the context are made anew; those of another context are left alone.
   */
  readonly origin: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Told in a sentence what an operator should know. */
  readonly report?: ((message: string) => void) | undefined;
  readonly crashPoint?: ((name: string) => void) | undefined;
  /** Lets other work of the thread run. Default: the next turn of the event loop. */
  readonly turn?: (() => Promise<void>) | undefined;
  /** A pause of so many ms, that `signal` ends. Default: a timer. */
  readonly pause?: ((ms: number, signal: AbortSignal) => Promise<void>) | undefined;
  readonly limits?: Partial<TrackLimits> | undefined;
}

export interface TrackLimits {
  /** Events that are folded in one write. */
  readonly eventsMax: number;
  /** Bytes of log for one write. */
  readonly bytesMax: number;
  /** Rows at hand for each generation. */
  readonly rowsMax: number;
  /**
   * Between two writes, in ms, where nobody waits: what came meanwhile goes into one. Half of what a row is behind on average;
   * small beside what people notice, and at 1,000 commit groups a second it makes 40 writes of them.
   */
  readonly lingerMs: number;
  /** How long the feed is waited for at a time. */
  readonly idleMs: number;
  /** Entities that may be set aside before the track stops: by then it is the definition that fails, and not an event. */
  readonly setAsideMax: number;
  /** Ends of sagas that are kept beyond need: a feed over a network may show an end long before the steps of other shards. */
  readonly outcomesKept: number;
  /** Events of an entity that was held, which are folded in one write. */
  readonly replayEventsMax: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** From the first reason to build shared rows anew to its beginning: several erasures take one rebuild. */
  readonly rebuildDelayMs: number;
}

export const defaultTrackLimits: TrackLimits = {
  eventsMax: 32_768,
  bytesMax: 8 << 20,
  rowsMax: 100_000,
  lingerMs: 25,
  idleMs: 1_000,
  setAsideMax: 1_000,
  outcomesKept: 65_536,
  replayEventsMax: 10_000,
  backoffMinMs: 100,
  backoffMaxMs: 10_000,
  rebuildDelayMs: 1_000,
};

/** Set-aside events that a status names. */
const setAsideShown = 100;

interface Waiter {
  readonly shard: number;
  readonly position: number;
  readonly resolve: () => void;
}

interface Operation {
  run(): Promise<void>;
  fail(error: HeddleError): void;
}

interface Rebuild {
  readonly reason: string;
  readonly startedMs: number;
  readonly startBytes: number;
}

export class Track {
  readonly #options: TrackOptions;
  readonly #limits: TrackLimits;
  readonly #writer: string;
  readonly #turn: () => Promise<void>;
  readonly #pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  /** Ends the pause that is under way. */
  #wakeUp = new AbortController();
  #stored: StoredProjection | undefined;
  #live: Folding | undefined;
  #next: Folding | undefined;
  #isReady = false;
  #isPaused = false;
  #problem: HeddleError | undefined;
  /** The problem is not one that passes by itself. */
  #isStopped = false;
  #failures = 0;
  #rebuild: Rebuild | undefined;
  #wantedRebuild: string | undefined;
  #taintedSince: number | undefined;
  #waiters: Waiter[] = [];
  #operations: Operation[] = [];
  #caughtUpAt: number | undefined;
  #rate: EventRate;
  #rebuildRate: EventRate;
  #eventsBefore = 0;
  /** Entities that were set aside when that was last reported. */
  #setAsideTold = 0;
  /** Of foldings that are no more. */
  #erasuresBefore = 0;

  constructor(options: TrackOptions) {
    this.#options = options;
    this.#limits = { ...defaultTrackLimits, ...options.limits };
    const { random, clock } = options;
    this.#writer = `${random.safeInteger().toString(36)}${random.safeInteger().toString(36)}`;
    this.#turn = options.turn ?? nextTurn;
    this.#pause = options.pause ?? timer;
    this.#rate = new EventRate(clock.monotonic(), 0);
    this.#rebuildRate = new EventRate(clock.monotonic(), 0);
  }

  get projection(): CompiledProjection {
    return this.#options.projection;
  }

  get sink(): Sink {
    return this.#options.sink;
  }

  /** Begins to follow the feed, by itself. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends after the write that is under way. */
  async stop(): Promise<void> {
    this.#stop.abort();
    // Nobody is kept waiting, and no timer of theirs holds the thread up.
    for (const { resolve } of this.#waiters) resolve();
    this.#wake();
    await this.#running;
    this.#running = undefined;
    const closed = new HeddleError("CLOSED", { what: `the projection ${this.projection.name}` });
    for (const operation of this.#operations.splice(0)) operation.fail(closed);
  }

  get state(): TrackState {
    if (this.#isPaused) return "paused";
    if (this.#isStopped && this.#rebuild === undefined) return "stopped";
    if (this.#failures > 0) return "waiting";
    if (!this.#isReady) return "starting";
    return this.#rebuild === undefined ? "live" : "rebuilding";
  }

  /** Why it does not go on now; undefined when it does. */
  get problem(): HeddleError | undefined {
    if (this.#isPaused) return this.#lags(0);
    return this.#problem;
  }

  /**
   * Everything of the shard's feed below it is in the sink, durably, in every generation that has rows there; and what was to be
   * gone with what stands below it is gone.
   */
  passed(shard: number): number {
    if (!this.#isReady) return 0;
    const of = (folding: Folding | undefined, stored: GenerationState | undefined) =>
      folding?.passed(shard) ?? (stored === undefined ? Number.POSITIVE_INFINITY : (stored.positions[shard] ?? 0));
    const passed = Math.min(of(this.#live, this.#stored?.live), of(this.#next, this.#stored?.next));
    return passed === Number.POSITIVE_INFINITY ? 0 : passed;
  }

  /** Entities that began anew, and so lost rows, since the track was made. */
  get erasures(): number {
    return this.#erasuresBefore + (this.#live?.erasures ?? 0) + (this.#next?.erasures ?? 0);
  }

  /** Position of what is read under the projection's name. */
  position(shard: number): number {
    if (this.#live !== undefined) return this.#live.positions[shard]!;
    return this.#stored?.live?.positions[shard] ?? 0;
  }

  /**
   * Resolves when the rows have seen what stands at a position: a receipt's. Errors: `PROJECTION_LAGS`: after so long, or at once
   * when nothing is to be expected.
   */
  async waitFor(place: { readonly shard: number; readonly position: number }, timeoutMs: number): Promise<void> {
    const { shard, position } = place;
    const hasSeen = () => this.#live !== undefined && this.position(shard) > position;
    if (hasSeen()) return;
    const goesOn = () => this.state !== "paused" && this.state !== "stopped";
    if (!goesOn()) throw this.#lags(0);
    const start = this.#options.clock.monotonic();
    const timeout = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { shard, position, resolve };
    this.#waiters.push(waiter);
    this.#wake();
    try {
      await Promise.race([promise, this.#pause(timeoutMs, timeout.signal)]);
    } finally {
      timeout.abort();
      this.#waiters = this.#waiters.filter((one) => one !== waiter);
    }
    if (!hasSeen()) throw this.#lags(Math.round(this.#options.clock.monotonic() - start));
  }

  /** Builds the rows anew, beside those that are read. Resolves when it has begun; `status` tells how far it is. */
  async rebuild(reason = "an operator asked for it"): Promise<void> {
    await this.#operate(async () => {
      this.#wantedRebuild = reason;
      this.#isStopped = false;
    });
  }

  async pause(): Promise<void> {
    await this.#operate(() => this.#setPaused(true));
  }

  /** Goes on after a pause, or after it stopped. */
  async resume(): Promise<void> {
    await this.#operate(async () => {
      await this.#setPaused(false);
      this.#begin();
    });
  }

  /** Tries the event again at which an entity was set aside. Gives what is set aside then: undefined when all of it went well. */
  retrySetAside(entity: string): Promise<SetAside | undefined> {
    return this.#mend(entity, "same");
  }

  /** Leaves the event out at which an entity was set aside, for good, and goes on behind it. */
  skipSetAside(entity: string): Promise<SetAside | undefined> {
    return this.#mend(entity, "next");
  }

  /** What is set aside, without an end to the list. */
  setAside(): readonly SetAside[] {
    return [...(this.#live?.held ?? [])].filter(({ reason }) => reason === "error").map(toSetAside);
  }

  status(): TrackStatus {
    const { projection, sink, source, clock } = this.#options;
    const live = this.#live;
    const stored = this.#stored?.live;
    const lagBytes = this.#lagBytes();
    const { problem } = this;
    return {
      projection: projection.name,
      sink: sink.name,
      table: projection.table,
      state: this.state,
      problem:
        problem === undefined
          ? undefined
          : {
              code: problem.code,
              message: this.#isPaused ? `heddle projections resume ${projection.name} lets it go on` : problem.message,
              facts: toWireError(problem).facts,
            },
      version: stored?.version ?? 0,
      generation: live?.ref.generation ?? stored?.generation ?? 0,
      positions: Array.from({ length: source.shardCount }, (_, shard) => this.position(shard)),
      lagBytes,
      lagMs: lagBytes === 0 ? 0 : this.#lagMs(),
      events: live?.facts.events ?? 0,
      eventsPerSecond: this.#rate.at(clock.monotonic(), this.#eventsBefore + (live?.events ?? 0)),
      setAside: live?.setAside ?? 0,
      setAsideFirst: this.setAside().slice(0, setAsideShown),
      waitingForSagas: live?.waiting ?? 0,
      rebuild: this.#rebuildStatus(),
    };
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#operations.shift()?.run();
        if (this.#isPaused || (this.#isStopped && this.#wantedRebuild === undefined && this.#rebuild === undefined)) {
          if (this.#operations.length === 0) await this.#rest(this.#limits.idleMs);
          continue;
        }
        const { mark } = this.#options.source;
        if (await this.work()) await this.#linger();
        else if (this.#operations.length === 0) await this.#idle(mark);
      } catch (thrown) {
        await this.#recover(thrown);
      }
    }
    await this.#live?.flush().catch(() => undefined);
  }

  /**
   * Does what is to be done next; false when there is nothing. `start` calls it again and again; specs call it themselves.
   * Errors: those of sink and source; the next call begins from what the sink has.
   */
  async work(): Promise<boolean> {
    if (!this.#isReady) {
      await this.#prepare();
      if (this.#isPaused || this.#isStopped) this.#tellWaiters();
    }
    if (this.#isPaused) return false;
    if (this.#isStopped && this.#next === undefined && this.#wantedRebuild === undefined) return false;
    if (this.#wantsRebuild()) await this.#beginRebuild();
    const live = this.#live;
    let hasMoved = false;
    // Rows that have set too much aside wait for those that take their place.
    if (live !== undefined && (this.#next === undefined || live.setAside <= this.#limits.setAsideMax)) {
      const done = await live.step(this.#budget());
      hasMoved = done.bytes > 0 || done.hasWritten;
      this.#tellSetAside(live);
      this.#checkSetAside(live);
      if (done.bytes === 0) this.#caughtUpAt = this.#options.clock.monotonic();
    }
    if (this.#next !== undefined) {
      await this.#advanceNext(this.#next);
      hasMoved = true;
    }
    this.#failures = 0;
    if (!this.#isStopped) this.#problem = undefined;
    this.#tellWaiters();
    return hasMoved;
  }

  // What the sink has, and what is to become of it (T4).
  async #prepare(): Promise<void> {
    const { sink, projection } = this.#options;
    await sink.open();
    let stored = await sink.describe(projection.name);
    this.#isPaused = readSettings(stored?.settings ?? "").paused;
    if (stored?.live === undefined) {
      await sink.create({ projection, generation: 1 }, this.#newState(1));
      stored = (await sink.describe(projection.name))!;
    }
    this.#stored = stored;
    const { live, next } = stored;
    const why = this.#whyNot(live!);
    if (why?.kind === "foreign") {
      throw new StopTrack(new HeddleError("SINK_REFUSED", { sink: sink.name, message: why.reason }));
    }
    if (next !== undefined && !(this.#isOwn(next) && projection.ownKey)) {
      // Built by another definition; or without knowing which entities begin anew since.
      this.#wantedRebuild ??= this.#isOwn(next) ? "it was being built anew when the process ended" : undefined;
      await sink.dropNext(projection.name);
      this.#stored = stored = { ...stored, next: undefined };
    }
    if (stored.next !== undefined) {
      this.#next = await this.#openFolding(stored.next);
      this.#noteRebuild("it was being built anew when the process ended");
    }
    if (why === undefined) {
      this.#live = await this.#openFolding(live!);
      this.#eventsBefore = 0;
      this.#rate = new EventRate(this.#options.clock.monotonic(), this.#live.events);
    } else if (why.kind === "rebuild") {
      if (this.#next === undefined) this.#wantedRebuild ??= why.reason;
    } else if (this.#next === undefined && this.#wantedRebuild === undefined) {
      this.#problem = new HeddleError("PROJECTION_CHANGED", {
        projection: projection.name,
        sink: sink.name,
        problem: why.reason,
      });
      this.#isStopped = true;
      this.#options.report?.(this.#problem.message);
    }
    this.#isReady = true;
  }

  /** Why stored rows are not those of the definition and the history at hand; undefined when they are. */
  #whyNot(
    state: GenerationState,
  ): { readonly kind: "rebuild" | "changed" | "foreign"; readonly reason: string } | undefined {
    const { projection, source, origin } = this.#options;
    const found = readFacts(state.facts).origin;
    if (contextOf(found) !== contextOf(origin)) {
      const reason = `it has a projection ${projection.name} of the context ${contextOf(found)}; give one of them another name, or another store`;
      return { kind: "foreign", reason };
    }
    if (state.version < projection.version) {
      return {
        kind: "rebuild",
        reason: `its version is ${projection.version}, the rows were made by ${state.version}`,
      };
    }
    if (state.version > projection.version) {
      const reason = `its rows were made by version ${state.version}, the domain module has version ${projection.version}`;
      return { kind: "changed", reason };
    }
    if (state.shape !== projection.shape) {
      return { kind: "changed", reason: `at the same version, ${difference(state.shape, projection.shape)}` };
    }
    if (found !== origin) return { kind: "rebuild", reason: "its rows are of another history" };
    const { positions } = state;
    if (positions.length !== source.shardCount) return { kind: "rebuild", reason: "the number of shards is another" };
    const isAhead = positions.some((position, shard) => source.end(shard) > 0 && position > source.end(shard));
    return isAhead ? { kind: "rebuild", reason: "its rows have seen more than the log has" } : undefined;
  }

  #isOwn(state: GenerationState): boolean {
    return this.#whyNot(state) === undefined;
  }

  #newState(generation: number): GenerationState {
    const { projection, source, origin } = this.#options;
    const positions = Array<number>(source.shardCount).fill(0);
    const { version, shape } = projection;
    return { generation, version, shape, revision: 0, positions, facts: JSON.stringify(newFacts(origin)) };
  }

  async #openFolding(state: GenerationState, resets?: ReadonlyMap<string, number>): Promise<Folding> {
    const { domain, projection, source, sink, clock, crashPoint = () => undefined } = this.#options;
    const { rowsMax, outcomesKept, replayEventsMax } = this.#limits;
    return Folding.open(
      {
        domain,
        projection,
        source,
        sink,
        clock,
        crashPoint,
        rowsMax,
        outcomesKept,
        replayEventsMax,
        writer: this.#writer,
        resets,
      },
      state,
    );
  }

  #wantsRebuild(): boolean {
    if (this.#wantedRebuild !== undefined) return true;
    const live = this.#live;
    if (this.#next !== undefined || live === undefined || Object.keys(live.facts.tainted).length === 0) return false;
    const now = this.#options.clock.monotonic();
    this.#taintedSince ??= now;
    if (now - this.#taintedSince < this.#limits.rebuildDelayMs) return false;
    this.#wantedRebuild = "an entity that has written to shared rows was erased or restored";
    return true;
  }

  async #beginRebuild(): Promise<void> {
    const { sink, projection, domain, source, report } = this.#options;
    const reason = this.#wantedRebuild!;
    const stored = this.#stored!;
    const generation = Math.max(stored.live?.generation ?? 0, stored.next?.generation ?? 0) + 1;
    // Rows that several entities write to are built knowing which of them begin anew, and where.
    const resets = projection.ownKey ? undefined : await findResets(domain, source, () => this.#stepAside());
    const state = this.#newState(generation);
    this.#next = undefined;
    await sink.create({ projection, generation }, state);
    this.#stored = { ...stored, next: state };
    this.#next = await this.#openFolding(state, resets);
    this.#wantedRebuild = undefined;
    this.#taintedSince = undefined;
    this.#isStopped = false;
    this.#problem = undefined;
    this.#noteRebuild(reason);
    report?.(`the projection ${projection.name} in ${sink.name} is built anew: ${reason}`);
  }

  // The rows that are read go on while the log is looked through.
  async #stepAside(): Promise<void> {
    await this.#turn();
    if (this.#stop.signal.aborted) throw new HeddleError("CLOSED", { what: `the projection ${this.projection.name}` });
    const live = this.#live;
    if (live === undefined || live.setAside > this.#limits.setAsideMax) return;
    await live.step(this.#budget());
    this.#tellWaiters();
  }

  #noteRebuild(reason: string): void {
    const { clock } = this.#options;
    this.#rebuild = { reason, startedMs: clock.monotonic(), startBytes: sum(this.#next!.positions) };
    this.#rebuildRate = new EventRate(clock.monotonic(), this.#next!.events);
  }

  async #advanceNext(next: Folding): Promise<void> {
    const { source } = this.#options;
    const ends = Array.from({ length: source.shardCount }, (_, shard) => source.end(shard));
    await next.step(this.#budget());
    this.#checkSetAside(next);
    // As much as the rows that are read have seen; where those do not move, as much as there was.
    const wanted = this.#live?.positions ?? ends;
    if (next.positions.every((position, shard) => position >= wanted[shard]!)) await this.#swap(next);
  }

  async #swap(next: Folding): Promise<void> {
    const { sink, projection, crashPoint, report } = this.#options;
    await next.flush();
    crashPoint?.("projection:before-swap");
    await sink.swap(next.ref);
    crashPoint?.("projection:after-swap");
    this.#eventsBefore += this.#live?.events ?? 0;
    // Dropping a table is an erasure of all that was in it.
    this.#erasuresBefore += (this.#live?.erasures ?? 0) + 1;
    this.#eventsBefore -= next.events;
    this.#live = next;
    this.#next = undefined;
    this.#rebuild = undefined;
    this.#isStopped = false;
    this.#problem = undefined;
    this.#stored = await sink.describe(projection.name);
    report?.(`the projection ${projection.name} in ${sink.name} was built anew`);
  }

  #tellSetAside(live: Folding): void {
    const { projection, sink, report } = this.#options;
    if (live.setAside > this.#setAsideTold) {
      const entities = live.setAside === 1 ? "1 entity" : `${live.setAside} entities`;
      report?.(
        `the projection ${projection.name} in ${sink.name} has ${entities} set aside; heddle projections ls tells why`,
      );
    }
    this.#setAsideTold = live.setAside;
  }

  #checkSetAside(folding: Folding): void {
    const { setAsideMax } = this.#limits;
    if (folding.setAside <= setAsideMax) return;
    const { name } = this.projection;
    const message = `${folding.setAside} entities are set aside, more than ${setAsideMax}: it is stopped; mend it, and raise its version`;
    throw new StopTrack(new HeddleError("DOMAIN_FAILED", { where: `the projection ${name}`, message }));
  }

  #budget(): StepBudget {
    return { events: this.#limits.eventsMax, bytes: this.#limits.bytesMax };
  }

  async #recover(thrown: unknown): Promise<void> {
    const stops = thrown instanceof StopTrack || !(thrown instanceof HeddleError);
    const error =
      thrown instanceof StopTrack ? thrown.error : thrown instanceof HeddleError ? thrown : unexpected(thrown);
    if (this.#problem?.message !== error.message) {
      this.#options.report?.(`the projection ${this.projection.name} in ${this.sink.name}: ${error.message}`);
    }
    this.#problem = error;
    this.#letGo();
    for (const operation of this.#operations.splice(0)) operation.fail(error);
    if (stops) {
      this.#isStopped = true;
      this.#tellWaiters();
      return;
    }
    this.#failures++;
    const { backoffMinMs, backoffMaxMs } = this.#limits;
    await this.#rest(Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(20, this.#failures - 1)));
  }

  // What is known of the sink may not be true any more.
  #letGo(): void {
    this.#erasuresBefore = this.erasures;
    this.#isReady = false;
    this.#live = undefined;
    this.#next = undefined;
    this.#rebuild = undefined;
  }

  /** Forgets what stopped it: it begins from what the sink has. */
  #begin(): void {
    this.#isStopped = false;
    this.#letGo();
    this.#problem = undefined;
    this.#failures = 0;
  }

  async #setPaused(paused: boolean): Promise<void> {
    const { sink, projection } = this.#options;
    await sink.open();
    await sink.settings(projection.name, JSON.stringify({ paused }));
    await this.#live?.flush();
    this.#isPaused = paused;
    this.#tellWaiters();
  }

  async #mend(entity: string, from: "same" | "next"): Promise<SetAside | undefined> {
    let after: Held | undefined;
    await this.#operate(async () => {
      const { name } = this.projection;
      if (!this.#isReady) await this.#prepare();
      const held = this.#live?.heldOf(entity);
      const canGoOn = held !== undefined && (held.reason === "error" || (held.reason === "saga" && from === "next"));
      if (!canGoOn) throw new HeddleError("NOT_SET_ASIDE", { projection: name, entity });
      const live = this.#live!;
      live.goOn(entity, from);
      do await live.step(this.#budget());
      while (live.heldOf(entity)?.reason === "retry");
      after = live.heldOf(entity);
    });
    return after?.reason === "error" ? toSetAside(after) : undefined;
  }

  // Between two steps (T1). Errors: what `run` throws; the track's problem when it fails before.
  #operate(run: () => Promise<void>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const operation: Operation = {
      run: async () => {
        try {
          await run();
          resolve();
        } catch (thrown) {
          reject(thrown);
          // A folding whose step failed cannot go on.
          if (!isHeddleError(thrown, "NOT_SET_ASIDE")) throw thrown;
        }
      },
      fail: reject,
    };
    if (this.#running === undefined)
      return operation.run().then(
        () => promise,
        () => promise,
      );
    this.#operations.push(operation);
    this.#wake();
    return promise;
  }

  async #linger(): Promise<void> {
    await this.#turn();
    const isBehind = this.#next !== undefined || this.#lagBytes() > this.#limits.bytesMax;
    if (isBehind || this.#waiters.length > 0 || this.#operations.length > 0) return;
    await this.#rest(this.#limits.lingerMs);
  }

  async #idle(mark: number): Promise<void> {
    const { source } = this.#options;
    const wakeUp = this.#freshWakeUp();
    await Promise.race([source.changedSince(mark, this.#limits.idleMs), aborted(wakeUp.signal)]);
    wakeUp.abort();
  }

  async #rest(ms: number): Promise<void> {
    await this.#pause(ms, this.#freshWakeUp().signal);
  }

  #freshWakeUp(): AbortController {
    this.#wakeUp = new AbortController();
    if (this.#stop.signal.aborted) this.#wakeUp.abort();
    return this.#wakeUp;
  }

  #wake(): void {
    this.#wakeUp.abort();
  }

  #tellWaiters(): void {
    const isOver = this.#isPaused || this.#isStopped;
    for (const { shard, position, resolve } of this.#waiters) if (isOver || this.position(shard) > position) resolve();
  }

  #lags(waitedMs: number): HeddleError {
    return new HeddleError("PROJECTION_LAGS", {
      projection: this.projection.name,
      sink: this.sink.name,
      waitedMs,
      state: this.state,
    });
  }

  #lagBytes(): number {
    const { source } = this.#options;
    let bytes = 0;
    for (let shard = 0; shard < source.shardCount; shard++) {
      bytes += Math.max(0, source.end(shard) - this.position(shard));
    }
    return bytes;
  }

  #lagMs(): number {
    const { clock } = this.#options;
    const sinceLast =
      this.#live === undefined || this.#live.lastTime === 0
        ? Number.POSITIVE_INFINITY
        : clock.now() - this.#live.lastTime;
    const sinceCaughtUp =
      this.#caughtUpAt === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() - this.#caughtUpAt;
    const lag = Math.min(sinceLast, sinceCaughtUp);
    return lag === Number.POSITIVE_INFINITY ? 0 : Math.max(0, Math.round(lag));
  }

  #rebuildStatus(): RebuildStatus | undefined {
    const next = this.#next;
    const rebuild = this.#rebuild;
    if (next === undefined || rebuild === undefined) return undefined;
    const { source, clock } = this.#options;
    const doneBytes = sum(next.positions);
    let totalBytes = 0;
    for (let shard = 0; shard < source.shardCount; shard++) totalBytes += source.end(shard);
    const passedMs = clock.monotonic() - rebuild.startedMs;
    const bytesPerMs = passedMs <= 0 ? 0 : (doneBytes - rebuild.startBytes) / passedMs;
    return {
      reason: rebuild.reason,
      doneBytes,
      totalBytes,
      events: next.facts.events,
      eventsPerSecond: this.#rebuildRate.at(clock.monotonic(), next.events),
      secondsLeft: bytesPerMs <= 0 ? undefined : Math.max(0, totalBytes - doneBytes) / bytesPerMs / 1_000,
    };
  }
}

/** Ends a track until an operator has it go on. */
class StopTrack extends Error {
  readonly error: HeddleError;

  constructor(error: HeddleError) {
    super(error.message);
    this.error = error;
  }
}

function unexpected(thrown: unknown): HeddleError {
  const message = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  return new HeddleError("DOMAIN_FAILED", { where: "a projection's track", message }, { cause: thrown });
}

function toSetAside({ entity, aggregate, type, seq, shard, position, error, since }: Held): SetAside {
  return { entity, aggregate, type, seq, shard, position, error, since };
}

function contextOf(origin: string): string {
  return origin.slice(0, origin.indexOf(":"));
}

/** What differs between two shapes, in words. */
function difference(stored: string, defined: string): string {
  const before = JSON.parse(stored) as Record<string, unknown>;
  const now = JSON.parse(defined) as Record<string, unknown>;
  for (const part of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [a, b] = [JSON.stringify(before[part]), JSON.stringify(now[part])];
    if (a !== b) return `${part} was ${a ?? "nothing"}, and is ${b ?? "nothing"}`;
  }
  return "its shape is another";
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function timer(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timeout);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timeout = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
